using System.Diagnostics;
using ArmoFlow.Cli;
using ArmoFlow.Persistence;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;

namespace ArmoFlow.Bench;

/// <summary>A private Postgres and RabbitMQ in a folder that is removed at the end, with the schema in place.</summary>
internal sealed class Servers : IAsyncDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("armoflow-bench-").FullName;
    private readonly DevServers _servers;
    private readonly List<Process> _processes = [];

    public string Postgres => _servers.PostgresConnection + ";Maximum Pool Size=60";
    public string RabbitMq => _servers.RabbitMqAddress;

    /// <summary>Where a build puts the program, compiled ahead as its users have it.</summary>
    public static string Executable { get; } = Path.Combine(
        AppContext.BaseDirectory, "..", "..", "Cli", Path.GetFileName(AppContext.BaseDirectory.TrimEnd('/')), "armoflow.dll");

    public string Artifacts => Path.Combine(_folder, "artifacts");

    private Servers()
    {
        if (!OperatingSystem.IsWindows()) File.SetUnixFileMode(_folder, (UnixFileMode)0b111_101_101); // the servers have users of their own
        _servers = new DevServers(Path.Combine(_folder, "dev"));
    }

    public static async Task<Servers> Start()
    {
        Servers servers = new();
        await servers._servers.Up(default);
        await using ServiceProvider services = servers.Database();
        await using ArmoFlowDbContext db = await services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>().CreateDbContextAsync();
        await db.Database.MigrateAsync();
        return servers;
    }

    public ServiceProvider Database() =>
        new ServiceCollection().AddLogging().AddServerPersistence(Postgres, Artifacts, CacheOptions.Default).BuildServiceProvider();

    /// <summary>Starts the program itself and returns when it says that it is there.</summary>
    public async Task<Process> Program(string sign, params string[] arguments)
    {
        ProcessStartInfo start = new("dotnet",
            [Executable, .. arguments, "--postgres", Postgres, "--rabbitmq", RabbitMq, "--artifacts", Artifacts])
        {
            RedirectStandardError = true
        };
        start.Environment[arguments[0] == "worker" ? "DOTNET_TieredCompilation" : "DOTNET_TC_QuickJit"] = "0"; // as ./armoflow starts them
        Process process = Process.Start(start)!;
        _processes.Add(process);
        TaskCompletionSource announced = new();
        process.ErrorDataReceived += (_, e) =>
        {
            if (e.Data?.StartsWith(sign, StringComparison.Ordinal) == true) announced.TrySetResult();
            else if (e.Data is not null) Console.Error.WriteLine($"  {arguments[0]}: {e.Data}");
            else announced.TrySetException(new InvalidOperationException($"{arguments[0]} ended"));
        };
        process.BeginErrorReadLine();
        await announced.Task;
        return process;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (Process process in _processes)
        {
            if (!process.HasExited) process.Kill();
            process.Dispose();
        }
        await _servers.Down(default);
        Directory.Delete(_folder, recursive: true);
    }
}

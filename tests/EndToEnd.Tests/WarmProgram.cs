using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Xunit;
using Xunit.Runner.InProc.SystemConsole;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>
/// The armoflow program for scripts: one process, that is warm, runs command after command, each in the folder and with the settings of
/// its caller. A server, and what reads its input, is a process of its own.
/// </summary>
public sealed class WarmProgram : IAsyncLifetime
{
    private const string Role = "--warm-program";
    private readonly string _folder = Directory.CreateTempSubdirectory("armoflow-warm-").FullName;
    private Process? _process;

    /// <summary>The folder of a program 'armoflow', to begin a PATH with.</summary>
    public string Folder => _folder;

    /// <summary>The entry point: in a process that <see cref="InitializeAsync"/> started, the program; else the test runner.</summary>
    public static Task<int> Main(string[] arguments) => arguments is [Role] ? Serve() : ConsoleRunner.Run(arguments);

    public async ValueTask InitializeAsync()
    {
        ProcessStartInfo start = new("dotnet", [typeof(WarmProgram).Assembly.Location, Role])
        {
            RedirectStandardInput = true, // it ends with its parent
            RedirectStandardOutput = true,
        };
        start.Environment["OMP_WAIT_POLICY"] = "passive";
        _process = Process.Start(start)!;
        string port = await _process.StandardOutput.ReadLineAsync() ?? throw new InvalidOperationException("the warm program ended");
        string script = Path.Combine(_folder, "armoflow");
        await File.WriteAllTextAsync(script, $$"""
            #!/usr/bin/env bash
            [[ ${1:-} == serve || " $* " == *" - "* ]] && exec dotnet {{Path.GetFullPath(CommandLine.Program)}} "$@"
            out=$(mktemp) err=$(mktemp)
            exec 3<> /dev/tcp/127.0.0.1/{{port}}
            printf '%s\0' $(($# + 5)) "$PWD" "${ARMOFLOW_URL:-}" "${ARMOFLOW_WORKSPACE:-}" "$out" "$err" "$@" >&3
            read -r code <&3
            cat "$out"
            cat "$err" >&2
            rm "$out" "$err"
            exit "$code"

            """);
        File.SetUnixFileMode(script, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }

    public async ValueTask DisposeAsync()
    {
        _process!.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private static async Task<int> Serve()
    {
        using TcpListener listener = new(IPAddress.Loopback, 0);
        listener.Start();
        Console.Out.WriteLine(((IPEndPoint)listener.LocalEndpoint).Port);
        Task<string> parent = Task.Run(Console.In.ReadToEnd);
        while (true)
        {
            Task<TcpClient> caller = listener.AcceptTcpClientAsync();
            if (await Task.WhenAny(parent, caller) == parent) return 0;
            using TcpClient connection = await caller;
            await Answer(connection.GetStream());
        }
    }

    private static async Task Answer(NetworkStream stream)
    {
        using BinaryReader reader = new(stream, Encoding.UTF8, leaveOpen: true);
        string[] words = new string[int.Parse(ReadWord(reader), CultureInfo.InvariantCulture)];
        for (int i = 0; i < words.Length; i++) words[i] = ReadWord(reader);
        Directory.SetCurrentDirectory(words[0]);
        Environment.SetEnvironmentVariable("ARMOFLOW_URL", words[1]);
        Environment.SetEnvironmentVariable("ARMOFLOW_WORKSPACE", words[2].Length > 0 ? words[2] : null);
        StringBuilder error = new();
        (int exitCode, string output) =
            await CommandLine.RunHere(words[5..], line => error.AppendLine(line), CancellationToken.None);
        await File.WriteAllTextAsync(words[3], output);
        await File.WriteAllTextAsync(words[4], error.ToString());
        await stream.WriteAsync(Encoding.UTF8.GetBytes($"{exitCode}\n"));
    }

    private static string ReadWord(BinaryReader reader)
    {
        List<byte> bytes = [];
        for (byte next = reader.ReadByte(); next != 0; next = reader.ReadByte()) bytes.Add(next);
        return Encoding.UTF8.GetString([.. bytes]);
    }
}

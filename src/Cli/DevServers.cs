using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using ArmoFlow.Persistence;

namespace ArmoFlow.Cli;

/// <summary>
/// A private Postgres and RabbitMQ in a folder, on ports of their own and on this machine's loopback alone; both come from the
/// system's packages and are started without a service manager.
/// </summary>
internal sealed class DevServers(string folder)
{
    private const string PostgresUser = "postgres", RabbitUser = "rabbitmq";
    private static readonly TimeSpan StartLimit = TimeSpan.FromMinutes(3);
    private readonly string _folder = Path.GetFullPath(folder);

    private string Data => Path.Combine(_folder, "postgres");
    private string Rabbit => Path.Combine(_folder, "rabbitmq");
    private string Ports => Path.Combine(_folder, "ports");
    public string NodeName => $"armoflow{Port(1)}@localhost";
    private static bool IsRoot => Environment.UserName == "root";

    /// <summary>The user's own; of root, whose home the servers' users cannot enter, a place where only root makes folders.</summary>
    public static string DefaultFolder => IsRoot ? "/var/lib/armoflow-dev" : PrivateFolder.PathOf("dev");

    public string PostgresConnection => $"Host=127.0.0.1;Port={Port(0)};Username={PostgresUser};Database=postgres";
    public string RabbitMqAddress => $"amqp://guest:guest@127.0.0.1:{Port(1)}/";

    private int Port(int which) => int.Parse(File.ReadAllLines(Ports)[which], CultureInfo.InvariantCulture);

    /// <summary>Starts both and waits until they answer.</summary>
    public async Task Up(CancellationToken cancel)
    {
        PostgresBin();
        RabbitProgram("rabbitmq-server");
        if (_folder == DefaultFolder && !IsRoot) PrivateFolder.Require(_folder);
        else Directory.CreateDirectory(_folder);
        if (!File.Exists(Ports))
        {
            await File.WriteAllLinesAsync(Ports,
                Enumerable.Range(0, 4).Select(_ => FreePorts.Next().ToString(CultureInfo.InvariantCulture)), cancel);
        }
        await StartPostgres(cancel);
        await StartRabbitMq(cancel);
    }

    public async Task StartPostgres(CancellationToken cancel)
    {
        if (!Directory.Exists(Data))
        {
            Directory.CreateDirectory(Data);
            await Own(Data, PostgresUser, cancel);
            await Run(PostgresUser, Path.Combine(PostgresBin(), "initdb"), ["-A", "trust", "-U", PostgresUser, "-D", Data], cancel);
        }
        await Run(PostgresUser, Path.Combine(PostgresBin(), "pg_ctl"),
            [
                "-D",
                Data,
                "-w",
                "-l",
                Path.Combine(Data, "log"),
                "-o",
                $"-p {Port(0)} -k {Data} -c listen_addresses=127.0.0.1 -c max_connections=300",
                "start"
            ],
            cancel);
    }

    public async Task StartRabbitMq(CancellationToken cancel)
    {
        Directory.CreateDirectory(Rabbit);
        await File.WriteAllTextAsync(Path.Combine(Rabbit, "rabbitmq.conf"), $"listeners.tcp.1 = 127.0.0.1:{Port(1)}\n", cancel);
        await File.WriteAllTextAsync(Path.Combine(Rabbit, "plugins"), "[].\n", cancel);
        await Own(Rabbit, RabbitUser, cancel);
        await Run(RabbitUser, RabbitProgram("rabbitmq-server"), ["-detached"], cancel);
        await UntilListening(Port(1), cancel); // rabbitmqctl does not wait for a node that has not yet registered itself
        await RabbitControl(["await_startup", "--timeout", "60"], cancel);
    }

    public Task RabbitControl(string[] arguments, CancellationToken cancel) =>
        Run(RabbitUser, RabbitProgram("rabbitmqctl"), arguments, cancel);

    private async Task UntilListening(int port, CancellationToken cancel)
    {
        for (long start = Stopwatch.GetTimestamp(); ; await Task.Delay(100, cancel))
        {
            try
            {
                using TcpClient client = new();
                await client.ConnectAsync(IPAddress.Loopback, port, cancel);
                return;
            }
            catch (SocketException) when (Stopwatch.GetElapsedTime(start) < StartLimit) { continue; }
            catch (SocketException)
            {
                throw new UsageException($"RabbitMQ did not start within {StartLimit.TotalSeconds} s. See the logs in {Rabbit}.");
            }
        }
    }

    public async Task Down(CancellationToken cancel)
    {
        if (!File.Exists(Ports))
            throw new UsageException($"no servers in {_folder}: expected a folder that 'armoflow dev up' wrote. Give its --folder.");
        await RabbitControl(["shutdown"], cancel);
        await Run(RabbitUser, "epmd", ["-kill"], cancel); // Erlang's port mapper, started with the node and on a port of its own
        await StopPostgres("fast", cancel);
    }

    /// <param name="mode">fast, or immediate as in a crash.</param>
    /// <param name="cancel">Gives up waiting.</param>
    public Task StopPostgres(string mode, CancellationToken cancel) =>
        Run(PostgresUser, Path.Combine(PostgresBin(), "pg_ctl"), ["-D", Data, "-m", mode, "stop"], cancel);

    /// <summary>Runs one of Postgres' own programs, as the user that Postgres runs as.</summary>
    public Task PostgresProgram(string name, string[] arguments, CancellationToken cancel) =>
        Run(PostgresUser, Path.Combine(PostgresBin(), name), arguments, cancel);

    /// <summary>RabbitMQ's own settings, all within the folder and none of the system's.</summary>
    private Dictionary<string, string> RabbitEnvironment() => new()
    {
        ["HOME"] = Rabbit,
        ["RABBITMQ_NODENAME"] = NodeName,
        ["RABBITMQ_MNESIA_BASE"] = Path.Combine(Rabbit, "mnesia"),
        ["RABBITMQ_LOG_BASE"] = Path.Combine(Rabbit, "log"),
        ["RABBITMQ_CONFIG_FILE"] = Path.Combine(Rabbit, "rabbitmq.conf"),
        ["RABBITMQ_ENABLED_PLUGINS_FILE"] = Path.Combine(Rabbit, "plugins"),
        ["RABBITMQ_DIST_PORT"] = Port(2).ToString(CultureInfo.InvariantCulture),
        ["ERL_EPMD_PORT"] = Port(3).ToString(CultureInfo.InvariantCulture),
        ["ERL_EPMD_ADDRESS"] = "127.0.0.1",
    };

    private async Task Run(string user, string program, string[] arguments, CancellationToken cancel)
    {
        Dictionary<string, string> environment = user == RabbitUser ? RabbitEnvironment() : new() { ["HOME"] = Data };
        string[] line =
        [
            .. IsRoot ? ["runuser", "-u", user, "--", "env", .. environment.Select(e => $"{e.Key}={e.Value}")] : Array.Empty<string>(),
            program,
            .. arguments
        ];
        ProcessStartInfo start =
            new(line[0], line[1..]) { RedirectStandardError = true, RedirectStandardOutput = true, WorkingDirectory = _folder };
        foreach ((string key, string value) in environment) start.Environment[key] = value;
        using Process process = Process.Start(start)!;
        // A server that stays inherits the pipes: what it says is read as it comes, and only the program itself is waited for.
        System.Text.StringBuilder said = new();
        process.OutputDataReceived += (_, e) => { lock (said) said.AppendLine(e.Data); };
        process.ErrorDataReceived += (_, e) => { lock (said) said.AppendLine(e.Data); };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        while (!process.HasExited) await Task.Delay(50, cancel);
        if (process.ExitCode == 0) return;
        lock (said)
        {
            throw new UsageException(
            $"{program} ended with {process.ExitCode}: {said.ToString().Trim()}\nSee the logs in {_folder}.");
        }
    }

    private static async Task Own(string path, string user, CancellationToken cancel)
    {
        if (!IsRoot) return;
        using Process process = Process.Start(new ProcessStartInfo("chown", ["-R", $"{user}:", path]))!;
        await process.WaitForExitAsync(cancel);
    }

    private static string PostgresBin()
    {
        string? newest = Directory.Exists("/usr/lib/postgresql")
            ? Directory.EnumerateDirectories("/usr/lib/postgresql")
                .Order(StringComparer.Ordinal)
                .LastOrDefault(d => File.Exists(Path.Combine(d, "bin", "initdb")))
            : null;
        return newest is not null ? Path.Combine(newest, "bin") : throw Missing("postgresql");
    }

    /// <summary>The programs behind Debian's wrappers, which would set a home, and so a cookie, of their own.</summary>
    private static string RabbitProgram(string name) =>
        ((string[])["/usr/lib/rabbitmq/bin", .. (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':')])
            .Select(d => Path.Combine(d, name))
            .FirstOrDefault(File.Exists)
            ?? throw Missing("rabbitmq-server");

    private static UsageException Missing(string package) =>
        new($"{package} is not installed. On Debian or Ubuntu: apt-get install postgresql rabbitmq-server; or use docker and give "
            + "--postgres and --rabbitmq.");
}

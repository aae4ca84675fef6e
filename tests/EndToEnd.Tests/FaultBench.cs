using ArmoFlow.Cli;
using ArmoFlow.EndToEnd.Tests;
using Xunit;

[assembly: AssemblyFixture(typeof(FaultBench))]

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>
/// The servers of all tests that need them, started by the first that does, and what the run makes when nothing happens to it: embedded,
/// in one process. Tests run side by side on them, each on a database and a virtual host of its own.
/// </summary>
public class FaultBench : IAsyncDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("armoflow-faults-").FullName;
    private readonly Lazy<Task> _started;
    private SmallProject? _project;

    public FaultBench() => _started = new Lazy<Task>(Start);

    private static bool Installed => Directory.Exists("/usr/lib/postgresql") && File.Exists("/usr/lib/rabbitmq/bin/rabbitmq-server");

    internal DevServers Servers { get; private set; } = null!;
    public string Spec { get; private set; } = "";
    public SortedDictionary<string, string> Embedded { get; private set; } = [];

    /// <summary>Skips the test where there are no servers.</summary>
    public Task Require()
    {
        Assert.SkipUnless(Installed, "needs Debian's postgresql and rabbitmq-server (test.sh installs them)");
        return _started.Value;
    }

    private async Task Start()
    {
        // Another spec, such as one on real data, can be given from outside.
        if (Environment.GetEnvironmentVariable("ARMOFLOW_FAULT_SPEC") is { Length: > 0 } given) Spec = given;
        else
        {
            _project = new SmallProject(ratings: 1000, pairs: 700, gatingSteps: 600);
            Spec = _project.Spec;
        }
        File.SetUnixFileMode(_folder, (UnixFileMode)0b111_101_101);
        Servers = new DevServers(Path.Combine(_folder, "dev"));
        await Servers.Up(default);
        await Cluster.Prepare(Servers);
        Embedded =
            RunTests.Artifacts((await CommandLine.Succeed("run", Spec, "--workspace", Path.Combine(_folder, "embedded"), "--json")).Json);
    }

    public async ValueTask DisposeAsync()
    {
        if (_started.IsValueCreated) await Servers.Down(default);
        _project?.Dispose();
        Directory.Delete(_folder, recursive: true);
        GC.SuppressFinalize(this);
    }
}

/// <summary>Servers for tests that stop them, which do so one after the other.</summary>
[CollectionDefinition(Collection)]
public sealed class OutageBench : FaultBench, ICollectionFixture<OutageBench>
{
    public const string Collection = "outages";
}

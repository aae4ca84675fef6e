using System.Diagnostics;
using System.Text.Json.Nodes;
using ArmoFlow.Cli;
using Shouldly;
using Xunit;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>A private Postgres and RabbitMQ for the tests of this class.</summary>
public sealed class Servers : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("armoflow-servers-").FullName;
    private DevServers? _servers;

    public string Postgres => _servers!.PostgresConnection;
    public string RabbitMq => _servers!.RabbitMqAddress;
    public string Artifacts => Path.Combine(_folder, "artifacts");

    public static bool Installed => Directory.Exists("/usr/lib/postgresql") && File.Exists("/usr/lib/rabbitmq/bin/rabbitmq-server");

    public async ValueTask InitializeAsync()
    {
        if (!Installed) return;
        // The servers run as users of their own, who must reach their folders.
        File.SetUnixFileMode(_folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.GroupRead | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute);
        _servers = new DevServers(Path.Combine(_folder, "dev"));
        await _servers.Up(default);
        await CommandLine.Succeed("db", "migrate", "--postgres", Postgres);
    }

    public async ValueTask DisposeAsync()
    {
        if (_servers is not null) await _servers.Down(default);
        Directory.Delete(_folder, recursive: true);
    }
}

/// <summary>Orchestrator and workers as processes of their own on real servers: the run ends with the embedded run's bytes, whoever dies.</summary>
public class ServersTests(Servers servers) : IClassFixture<Servers>
{
    [Fact]
    public async Task Processes_on_rabbitmq_and_postgres_give_the_embedded_run_s_bytes()
    {
        RequireServers();
        using SmallProject project = NewSpace(511);
        SortedDictionary<string, string> embedded = RunTests.Artifacts((await project.Run()).Json);
        using Role orchestrator = await Orchestrator(), first = await Worker("--steps", "ingestion,features,evaluation"), second = await Worker("--steps", "regression", "decorrelation", "gating");
        JsonNode run = (await CommandLine.Succeed("run", project.Spec, "--server", orchestrator.Url, "--json")).Json;
        run["status"]!.GetValue<string>().ShouldBe("Completed");
        RunTests.Artifacts(run).ShouldBe(embedded);
        RunTests.Reused((await CommandLine.Succeed("run", project.Spec, "--server", orchestrator.Url, "--json")).Json).ShouldBe(RunTests.Steps(run));
    }

    [Theory]
    [InlineData("ExtractingFeatures")]
    [InlineData("TrainingGating")]
    public async Task A_killed_worker_s_step_is_taken_over_by_another(string state)
    {
        RequireServers();
        using SmallProject project = NewSpace(state == "TrainingGating" ? 510 : 509);
        SortedDictionary<string, string> embedded = RunTests.Artifacts((await project.Run()).Json);
        using Role orchestrator = await Orchestrator(), victim = await Worker();
        using Process client = CommandLine.Start("run", project.Spec, "--server", orchestrator.Url, "--json");
        Task<string> output = client.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        client.BeginErrorReadLine();
        await orchestrator.UntilNewestRunIs(state);
        victim.Kill();
        using Role heir = await Worker();
        RunTests.Artifacts(JsonNode.Parse(await output)!).ShouldBe(embedded);
    }

    [Fact]
    public async Task A_killed_orchestrator_s_runs_go_on_when_one_starts_again()
    {
        RequireServers();
        using SmallProject project = NewSpace(508);
        SortedDictionary<string, string> embedded = RunTests.Artifacts((await project.Run()).Json);
        using Role worker = await Worker();
        string id;
        using (Role orchestrator = await Orchestrator())
        {
            using Process client = CommandLine.Start("run", project.Spec, "--server", orchestrator.Url);
            client.BeginErrorReadLine();
            client.BeginOutputReadLine();
            id = await orchestrator.UntilNewestRunIs("ExtractingFeatures");
            orchestrator.Kill();
            client.Kill();
        }
        using Role next = await Orchestrator();
        RunTests.Artifacts((await CommandLine.Succeed("runs", "watch", id, "--server", next.Url, "--json")).Json).ShouldBe(embedded);
    }

    [Fact]
    public async Task Wrong_addresses_and_a_schema_that_is_behind_are_refused_with_a_remedy()
    {
        RequireServers();
        string[] common = ["orchestrator", "--artifacts", servers.Artifacts, "--wait", "1"];
        await CommandLine.Refused([.. common, "--postgres", servers.Postgres], "--rabbitmq is missing", "armoflow dev up");
        await CommandLine.Refused([.. common, "--rabbitmq", "localhost", "--postgres", servers.Postgres], "not an address");
        await CommandLine.Fails([.. common, "--rabbitmq", servers.RabbitMq, "--postgres", "Host=127.0.0.1;Port=1;Username=x"], "waiting for Postgres", "Postgres does not answer", "ARMOFLOW_POSTGRES");
        await CommandLine.Fails([.. common, "--rabbitmq", "amqp://guest:guest@127.0.0.1:1/", "--postgres", servers.Postgres], "waiting for RabbitMQ", "RabbitMQ does not answer", "ARMOFLOW_RABBITMQ");
        await CommandLine.Refused([.. common, "--rabbitmq", servers.RabbitMq.Replace("guest:guest", "guest:wrong", StringComparison.Ordinal), "--postgres", servers.Postgres], "RabbitMQ refuses the user");
        await CommandLine.Refused(["orchestrator", "--artifacts", "/proc/nothing", "--rabbitmq", servers.RabbitMq, "--postgres", servers.Postgres], "--artifacts /proc/nothing", "can write");
        await CommandLine.Refused([.. common, "--rabbitmq", servers.RabbitMq, "--postgres", servers.Postgres.Replace("Database=postgres", "Database=template1", StringComparison.Ordinal)], "schema is not up to date", "db migrate");
        await CommandLine.Refused(["worker", "--artifacts", servers.Artifacts, "--rabbitmq", servers.RabbitMq, "--postgres", servers.Postgres, "--steps", "gatting"], "--steps gatting", "gating");
    }

    /// <summary>
    /// A project whose features no other test has: these tests share their books, and a conversation extracted in another batch
    /// differs in its last digits.
    /// </summary>
    private static SmallProject NewSpace(int maxTokens)
    {
        SmallProject project = new(ratings: 1500, pairs: 1000, gatingSteps: 1000);
        project.Edit("maxTokens: 512", $"maxTokens: {maxTokens}");
        return project;
    }

    private static void RequireServers() => Assert.SkipUnless(Servers.Installed, "needs Debian's postgresql and rabbitmq-server (test.sh installs them)");

    private Task<Role> Orchestrator() => Role.Start("orchestrator on ", ["orchestrator", "--urls", "http://127.0.0.1:0", .. Common]);
    private Task<Role> Worker(params string[] more) => Role.Start("worker for ", ["worker", .. Common, .. more]);
    private string[] Common => ["--postgres", servers.Postgres, "--rabbitmq", servers.RabbitMq, "--artifacts", servers.Artifacts];

    /// <summary>A server process, started when it says so.</summary>
    private sealed class Role(Process process, string announcement) : IDisposable
    {
        public string Url => announcement.Split(" on ")[1].Split(';')[0];

        public static async Task<Role> Start(string sign, params string[] arguments)
        {
            Process process = CommandLine.Start(arguments);
            TaskCompletionSource<string> announced = new();
            System.Text.StringBuilder said = new();
            process.ErrorDataReceived += (_, e) =>
            {
                said.AppendLine(e.Data);
                if (e.Data?.StartsWith(sign, StringComparison.Ordinal) == true) announced.TrySetResult(e.Data);
                if (e.Data is null) announced.TrySetException(new InvalidOperationException($"{arguments[0]} ended: {said}"));
            };
            process.BeginErrorReadLine();
            process.BeginOutputReadLine();
            return new Role(process, await announced.Task.WaitAsync(TimeSpan.FromMinutes(1)));
        }

        /// <summary>Asks until the newest run is in a state; for features, until some are extracted.</summary>
        public async Task<string> UntilNewestRunIs(string state)
        {
            using HttpClient http = new() { BaseAddress = new Uri(Url) };
            while (true)
            {
                JsonNode? newest = JsonNode.Parse(await http.GetStringAsync(new Uri("/api/v1/runs?limit=1", UriKind.Relative)))!["runs"]!.AsArray().FirstOrDefault();
                string? status = newest?["status"]!.GetValue<string>();
                if (status == state) return newest!["runId"]!.GetValue<string>();
                (status is "Failed" or "Cancelled").ShouldBeFalse(newest?["error"]?.GetValue<string>());
            }
        }

        public void Kill()
        {
            process.Kill();
            process.WaitForExit();
        }

        public void Dispose()
        {
            if (!process.HasExited) Kill();
            process.Dispose();
        }
    }
}

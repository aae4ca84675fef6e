using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using ArmoFlow.Cli;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Faults;
using ArmoFlow.Persistence.Models;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;
using Shouldly;
using Spectre.Console;
using Xunit;
using static ArmoFlow.EndToEnd.Tests.Waiting;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>
/// Workspaces after kills. <c>tests/kills.sh</c> does the same with thirty kills of each kind.
/// </summary>
public sealed class KillTests
{
    private static readonly int Kills =
        int.TryParse(Environment.GetEnvironmentVariable("ARMOFLOW_KILLS"), NumberStyles.None, CultureInfo.InvariantCulture, out int kills)
            ? kills
            : 2;

    [Fact]
    public async Task A_run_that_is_killed_blindly_goes_on_to_the_same_bytes_and_says_meanwhile_that_it_is_interrupted()
    {
        using SmallProject undisturbed = new(), project = new();
        long start = Stopwatch.GetTimestamp();
        CommandResult alone = await CommandLine.RunApart("run", undisturbed.Spec, "--workspace", undisturbed.Workspace, "--json");
        SortedDictionary<string, string> expected = RunTests.Artifacts(alone.Json);
        TimeSpan whole = Stopwatch.GetElapsedTime(start);
        Random random = new(17);

        for (int i = 0; i < Kills; i++) // while it starts up: the runtime, the schema, the bus
        {
            if (i % 2 == 0 && Directory.Exists(project.Workspace)) Directory.Delete(project.Workspace, recursive: true);
            await KillAfter(project, whole * 0.35 * random.NextDouble());
        }
        for (int i = 0; i < Kills; i++) await KillAfter(project, whole * (0.3 + (0.5 * random.NextDouble()))); // while it works
        if (await Listed(project) is { Count: > 0 } runs && runs[0]!["status"]!.GetValue<string>() is not "Completed")
            await SaysThatItIsInterrupted(project, runs[0]!["runId"]!.GetValue<string>());

        JsonNode run = (await project.Run()).Json;
        run["status"]!.GetValue<string>().ShouldBe("Completed");
        RunTests.Artifacts(run).ShouldBe(expected);
        (await CommandLine.Succeed("audit", "verify", "--workspace", project.Workspace)).Error.ShouldNotContain("altered");
        await NotesAreShownAndNotObeyed(project);
        await ReadersNeedNotWrite(project);
    }

    private static async Task KillAfter(SmallProject project, TimeSpan pause)
    {
        using Process process = CommandLine.Start("run", project.Spec, "--workspace", project.Workspace, "--json");
        Task<string> output = process.StandardOutput.ReadToEndAsync(), error = process.StandardError.ReadToEndAsync();
        if (!process.WaitForExit(pause)) process.Kill(entireProcessTree: true);
        await process.WaitForExitAsync();
        await Task.WhenAll(output, error);
    }

    private static async Task<JsonArray> Listed(SmallProject project) =>
        File.Exists(Path.Combine(project.Workspace, "armoflow.db"))
            ? (await CommandLine.Succeed("runs", "list", "--workspace", project.Workspace, "--json")).Json["runs"]!.AsArray()
            : [];

    private static async Task SaysThatItIsInterrupted(SmallProject project, string id)
    {
        string[] workspace = ["--workspace", project.Workspace];
        JsonNode shown = (await CommandLine.Succeed(["runs", "show", id, .. workspace, "--json"])).Json;
        shown["status"]!.GetValue<string>().ShouldBe("Interrupted");
        JsonNode again = (await CommandLine.Succeed(["runs", "show", id, .. workspace, "--json"])).Json;
        again.ToJsonString().ShouldBe(shown.ToJsonString(), "nothing grows while nobody works");
        (await CommandLine.Succeed(["runs", "show", id, .. workspace])).Output.ShouldContain($"armoflow runs resume {id}");
        (await CommandLine.Succeed(["runs", "list", "--status", "Interrupted", .. workspace, "--json"])).Json["runs"]!.AsArray().Count
            .ShouldBe(1);
        await CommandLine.Fails(["runs", "watch", id, .. workspace], "interrupted: no process works on it", $"armoflow runs resume {id}");
    }

    private static async Task NotesAreShownAndNotObeyed(SmallProject project)
    {
        string[] workspace = ["--workspace", project.Workspace];
        string name = (await CommandLine.Succeed(["models", "list", .. workspace, "--json"])).Json[0]!["model"]!.GetValue<string>();
        await CommandLine.Succeed(["models", "describe", $"{name}@1", "--notes", "\u001b[2Jgone\u202Eback", .. workspace]);
        string shown = (await CommandLine.Succeed(["models", "show", name, .. workspace])).Output;
        shown.ShouldContain(@"\u001b[2Jgone\u202eback");
        shown.ShouldNotContain("\u001b[2J");
        (await CommandLine.Succeed(
            ["models", "show", name, .. workspace, "--json"])).Json["versions"]![0]!["version"]!["notes"]!.GetValue<string>()
            .ShouldBe("\u001b[2Jgone\u202Eback");
    }

    /// <summary>By a user without a name, who may read the workspace and not write to it.</summary>
    private static async Task ReadersNeedNotWrite(SmallProject project)
    {
        if (!await SmallDisk.Succeeds("setpriv", "--reuid", "12345", "--clear-groups", "true"))
            Assert.Skip("setpriv needs root to become another user");
        foreach (string folder in new[] { Path.GetDirectoryName(project.Folder)!, project.Folder, project.Workspace })
            File.SetUnixFileMode(folder, (UnixFileMode)0b111_101_101);
        string[] workspace = ["--workspace", project.Workspace];
        foreach (string[] reading in new string[][] { ["runs", "list"], ["audit", "query"], ["gc", "--dry-run"] })
        {
            CommandResult read = await CommandLine.RunAs("12345", [.. reading, .. workspace]);
            read.ExitCode.ShouldBe(0, read.Error);
        }
        string id = (await Listed(project))[0]!["runId"]!.GetValue<string>();
        CommandResult written = await CommandLine.RunAs("12345", ["holds", "put", $"run/{id}", "--reason", "r", .. workspace]);
        written.ExitCode.ShouldBe(2, written.Error);
        written.Error.ShouldContain("can only be read here");
        (await CommandLine.RunAs("12345", ["run", project.Spec, .. workspace])).ExitCode.ShouldBe(2);

        string own = Path.Combine(Directory.CreateTempSubdirectory("armoflow-own-").FullName, "w");
        File.SetUnixFileMode(Path.GetDirectoryName(own)!, (UnixFileMode)0b111_111_111);
        CommandResult made =
            await CommandLine.RunAs("12345", ["datasets", "add", "judge", project.Data("ratings.jsonl"), "--workspace", own]);
        made.ExitCode.ShouldBe(0, made.Error);
        JsonNode events = (await CommandLine.Succeed("audit", "query", "--workspace", own, "--json")).Json["events"]!;
        events.AsArray().ShouldAllBe(e => e!["actor"]!.GetValue<string>() == $"uid 12345@{Environment.MachineName}");
        Directory.Delete(Path.GetDirectoryName(own)!, recursive: true);
    }
}

/// <summary>What is shown, and what never is.</summary>
public sealed class ShownTests
{
    private const string Password = "S3cret";

    [Theory]
    [InlineData("orchestrator", "--help")]
    [InlineData("doctor", "--help")]
    [InlineData("runs", "list", "--help")]
    public async Task Help_shows_no_password(params string[] arguments)
    {
        CommandResult help =
            await CommandLine.Run(arguments, Settings("amqp://svc:S3cret@localhost/", "Host=localhost;Username=svc;Password=S3cret"));
        help.ExitCode.ShouldBe(0);
        help.Output.ShouldContain(arguments[0] == "runs" ? "ARMOFLOW_URL" : "ARMOFLOW_POSTGRES");
        (help.Output + help.Error).ShouldNotContain(Password);
    }

    [Theory]
    [InlineData("amqp:svc:S3cret", "Host=localhost;Username=svc;Password=S3cret", "worker", "--artifacts", "/tmp", "--wait", "0")]
    [InlineData("amqp://svc:S3cret@localhost:1/", "Hos=localhost;Pass word=S3cret", "worker", "--artifacts", "/tmp", "--wait", "0")]
    [InlineData("amqp://svc:S3cret@localhost:1/", "Host=localhost;Port=S3cret", "db", "migrate")]
    public async Task An_address_that_is_none_is_refused_without_its_password(string rabbit, string postgres, params string[] arguments)
    {
        CommandResult result = await CommandLine.Run(arguments, Settings(rabbit, postgres));
        result.ExitCode.ShouldBe(2, result.Error);
        (result.Output + result.Error).ShouldNotContain(Password);
        result.Error.ShouldContain("expected");
    }

    [Fact]
    public async Task Doctor_shows_no_password()
    {
        CommandResult result = await CommandLine.Run(["doctor"],
            Settings("amqp://svc:S3cret@localhost:1/", "Host=localhost;Port=1;Username=svc;Password=S3cret;Timeout=1"));
        result.ExitCode.ShouldBe(1, result.Error);
        (result.Output + result.Error).ShouldNotContain(Password);
        result.Output.ShouldContain("RabbitMQ");
    }

    [Fact]
    public void A_table_shows_control_characters_and_keeps_its_own_colours()
    {
        StringWriter text = new(CultureInfo.InvariantCulture);
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Ansi = AnsiSupport.Yes,
            ColorSystem = ColorSystemSupport.Standard,
            Out = new AnsiConsoleOutput(text)
        });
        console.Pipeline.Attach(new HarmlessHook());
        console.Write(new Table().AddColumn("name").AddRow($"[red]{Markup.Escape("\u001b]0;title\u0007x")}[/]"));
        text.ToString().ShouldContain(@"\u001b]0;title\u0007x");
        text.ToString().ShouldContain("\u001b[", Case.Sensitive, "the table's own");
    }

    [Theory]
    [InlineData("a\u001b[31mb", @"a\u001b[31mb")]
    [InlineData("a\rb\u0007\u009b\u202E\u2066", @"a\u000db\u0007\u009b\u202e\u2066")]
    [InlineData("two\nlines\tand grüße 😀", "two\nlines\tand grüße 😀")]
    public void Lines_show_control_characters(string text, string shown) => Terminal.Harmless(text).ShouldBe(shown);

    private static (string, string)[] Settings(string rabbit, string postgres) =>
        [("ARMOFLOW_RABBITMQ", rabbit), ("ARMOFLOW_POSTGRES", postgres), ("ARMOFLOW_URL", "http://key:S3cret@localhost:1/")];
}

/// <summary>A server on a workspace: what it may read, and what it says when its disk is full.</summary>
public sealed class ServedWorkspaceTests
{
    private static readonly TimeSpan StartLimit = TimeSpan.FromMinutes(2);

    [Fact]
    public async Task A_spec_over_HTTP_reads_only_from_the_roots_and_follows_no_link_out_of_them()
    {
        using SmallProject project = new();
        string link = project.Data("link.jsonl");
        File.CreateSymbolicLink(link, "/etc/passwd");
        await using Served served = await Served.Start(project.Workspace, ("ARMOFLOW_DATA_ROOTS", project.Folder));
        string spec = await File.ReadAllTextAsync(project.Spec, TestContext.Current.CancellationToken);
        foreach (string outside in new[] { "/etc/passwd", "../../../etc/passwd", "data/link.jsonl", "/etc/*" })
        {
            using HttpResponseMessage refused =
                await served.Submit(spec.Replace("data/ratings.jsonl", outside, StringComparison.Ordinal), project.Folder);
            ((int)refused.StatusCode).ShouldBe(400);
            string problem = await refused.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
            problem.ShouldContain("ARMOFLOW_DATA_ROOTS");
            problem.ShouldNotContain("root:");
        }
        using HttpResponseMessage accepted = await served.Submit(spec, project.Folder);
        ((int)accepted.StatusCode).ShouldBe(202);
    }

    [Fact]
    public async Task On_a_full_disk_servers_say_so_and_what_helps_works()
    {
        string disk = Directory.CreateTempSubdirectory("armoflow-disk-").FullName;
        if (!await SmallDisk.Succeeds("mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", disk))
            Assert.Skip("a small disk can only be mounted as root");
        try
        {
            using SmallProject project = new();
            string workspace = Path.Combine(disk, "w");
            await CommandLine.Succeed("run", project.Spec, "--workspace", workspace);
            await using (Served served = await Served.Start(workspace))
            {
                (await served.Ready()).ShouldBe(200);
                Fill(disk);
                using HttpResponseMessage refused = await served.Put("big.jsonl", string.Concat(Enumerable.Repeat("{\"a\":1}\n", 100_000)));
                ((int)refused.StatusCode).ShouldBe(507);
                string problem = await refused.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
                problem.ShouldContain("no space left");
                problem.ShouldContain("armoflow gc");
                await Eventually(async () => await served.Ready() == 503);
            }
            Fill(disk);
            foreach (string[] reading in new string[][] { ["runs", "list"], ["audit", "query"], ["gc", "--dry-run"], ["models", "list"] })
                await CommandLine.Succeed([.. reading, "--workspace", workspace]);
            CommandResult doctor = await CommandLine.Run("doctor", "--workspace", workspace);
            doctor.ExitCode.ShouldBe(1, doctor.Error);
            doctor.Output.ShouldContain("disk");
            await CommandLine.Refused(["holds", "put", "model/none", "--reason", "r", "--workspace", workspace], "");
            CommandResult freed = await CommandLine.Succeed("gc", "--older-than", "0", "--keep-last", "0", "--workspace", workspace);
            freed.Error.ShouldContain("are gone");
        }
        finally { await SmallDisk.Succeeds("umount", "-l", disk); }
    }

    private static void Fill(string disk)
    {
        string filler = Path.Combine(disk, $"filler-{Guid.NewGuid():N}");
        try
        {
            using FileStream stream = new(filler, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 1);
            while (true) stream.Write(new byte[4096]);
        }
        catch (IOException) { } // which was the aim
    }

    private sealed class Served : IAsyncDisposable
    {
        private readonly Process _process;
        private readonly HttpClient _http;

        private Served(Process process, string url) => (_process, _http) = (process, new HttpClient { BaseAddress = new Uri(url) });

        public static async Task<Served> Start(string workspace, params (string, string)[] environment)
        {
            string url = $"http://127.0.0.1:{FreePorts.Next()}";
            Served served = new(CommandLine.Start(["serve", "--workspace", workspace, "--urls", url], environment), url);
            _ = served._process.StandardError.ReadToEndAsync();
            _ = served._process.StandardOutput.ReadToEndAsync();
            await Eventually(async () => await served.Ready() == 200);
            return served;
        }

        public async Task<int> Ready()
        {
            try
            {
                using HttpResponseMessage response = await _http.GetAsync("health/ready");
                return (int)response.StatusCode;
            }
            catch (HttpRequestException) { return 0; }
        }

        public async Task<HttpResponseMessage> Submit(string spec, string folder)
        {
            using HttpRequestMessage request =
                new(HttpMethod.Post, "api/v1/runs") { Content = new StringContent(spec, Encoding.UTF8, "application/yaml") };
            request.Headers.Add("X-Spec-Folder", folder);
            return await _http.SendAsync(request);
        }

        public Task<HttpResponseMessage> Put(string file, string text) =>
            _http.PostAsync($"api/v1/datasets/d/files?fileName={file}", new StringContent(text));

        public async ValueTask DisposeAsync()
        {
            _process.Kill(entireProcessTree: true);
            await _process.WaitForExitAsync();
            _process.Dispose();
            _http.Dispose();
        }
    }
}

/// <summary>The servers' database, asked for by several at once and told what they cannot keep.</summary>
public class ServerDatabaseTests(FaultBench bench)
{
    [Fact]
    public async Task Six_migrations_at_once_all_end_well_and_texts_that_Postgres_refuses_are_kept_without_what_it_refuses()
    {
        await bench.Require();
        await using (NpgsqlConnection connection = new(bench.Servers.PostgresConnection))
        {
            await connection.OpenAsync(TestContext.Current.CancellationToken);
            await using NpgsqlCommand create = new("create database six_migrations", connection);
            await create.ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
        }
        string postgres =
            bench.Servers.PostgresConnection.Replace("Database=postgres", "Database=six_migrations", StringComparison.Ordinal);
        CommandResult[] results =
            await Task.WhenAll(Enumerable.Range(0, 6).Select(_ => CommandLine.Run("db", "migrate", "--postgres", postgres)));
        results.ShouldAllBe(r => r.ExitCode == 0);
        results.ShouldAllBe(r => r.Error.Contains("up to date"));
        results.Count(r => r.Error.Contains("waiting for another process")).ShouldBeGreaterThan(0, "nobody waits in silence");

        await using ServiceProvider services = new ServiceCollection()
            .AddLogging()
            .AddServerPersistence(postgres, Path.GetTempPath(), CacheOptions.Default)
            .BuildServiceProvider();
        await using ArmoFlowDbContext db = await services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>()
            .CreateDbContextAsync(TestContext.Current.CancellationToken);
        db.Faults.Add(new FaultRow { Fingerprint = "f", Queue = "q", Body = "b\0", Reason = "a\0b\uD800c" });
        await db.SaveChangesAsync(TestContext.Current.CancellationToken);
        db.ChangeTracker.Clear();
        (await db.Faults.SingleAsync(f => f.Body == "b\0", TestContext.Current.CancellationToken)).Reason.ShouldBe("a\uFFFDb\uFFFDc");
        await APromotionThatWaitedIsOfTheTimeAfterTheWait(services, postgres);
    }

    private static async Task APromotionThatWaitedIsOfTheTimeAfterTheWait(ServiceProvider services, string postgres)
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        await using (ArmoFlowDbContext db =
            await services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>().CreateDbContextAsync(cancel))
        {
            foreach (int version in new[] { 1, 2 })
                db.ModelVersions.Add(new ModelVersion { Model = "m", Version = version, Digest = $"{version}" });
            await db.SaveChangesAsync(cancel);
        }
        ModelRegistry registry = services.GetRequiredService<ModelRegistry>();
        await using NpgsqlConnection holder = new(postgres);
        await holder.OpenAsync(cancel);
        await using NpgsqlTransaction transaction = await holder.BeginTransactionAsync(cancel);
        await Scalar("select pg_advisory_xact_lock(hashtextextended('aliases of m', 0))");
        ModelVersion newest = (await registry.Versions("m", cancel))[0];
        Task<AliasPeriod> waiting = registry.MoveAlias(newest, "champion", null, Array.Empty<object>(), "model.promoted", cancel);
        while ((long)(await Scalar("select count(*) from pg_locks where locktype = 'advisory' and not granted"))! == 0)
            await Task.Delay(20, cancel);
        DateTimeOffset whileItWaited = DateTimeOffset.UtcNow;
        await transaction.CommitAsync(cancel);
        (await waiting).ValidFrom.ShouldBeGreaterThanOrEqualTo(whileItWaited);

        async Task<object?> Scalar(string sql)
        {
            await using NpgsqlCommand command = new(sql, holder, transaction);
            return await command.ExecuteScalarAsync(cancel);
        }
    }
}

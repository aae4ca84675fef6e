using System.Text;
using System.Text.Json.Nodes;
using ArmoFlow.Cli;
using Npgsql;
using RabbitMQ.Client;
using Shouldly;
using Xunit;
using static ArmoFlow.EndToEnd.Tests.Waiting;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>A server is away, or another takes its place: what was asked for in between counts, and what was set aside is shown.</summary>
[Collection(OutageBench.Collection)]
public class FailoverTests(OutageBench bench)
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(5), ReadOnly = TimeSpan.FromSeconds(6);

    [Fact]
    public async Task A_cancel_while_the_broker_is_away_counts_though_the_submission_was_not_sent_yet()
    {
        await bench.Require();
        await using Cluster cluster = await Cluster.Make(bench.Servers, "overtaken");
        await Task.WhenAll(cluster.Orchestrator(), cluster.Worker());
        await bench.Servers.RabbitControl(["stop_app"], default);
        string run;
        Task cancelling;
        try
        {
            run = await cluster.Submit(bench.Spec);
            // answered when it is carried out
            cancelling = Task.Run(() => cluster.Post($"/api/v1/runs/{run}/cancel"), TestContext.Current.CancellationToken);
            await Eventually(async () => await cluster.Count("select count(*) from outbox_state") == 2);
        }
        finally { await bench.Servers.RabbitControl(["start_app"], default); }
        (await cluster.Finished(run, Limit))["status"]!.GetValue<string>().ShouldBe("Cancelled");
        try { await cancelling; }
        catch (TaskCanceledException) { } // the client's patience ended first
        await Eventually(async () => await cluster.Count("select count(*) from outbox_state") == 0);
        (await cluster.StateOf(run)).ShouldBe("Cancelled", "the submission came afterwards and is ignored");
        (await cluster.Count("select count(*) from faults")).ShouldBe(0);
    }

    [Fact]
    public async Task What_lies_in_the_brokers_error_queues_is_taken_into_the_books_with_its_reason_and_its_origin()
    {
        await bench.Require();
        await using Cluster cluster = await Cluster.Make(bench.Servers, "error_queues");
        string[] queues = ["broadcast-progress_error", "regression_error", "runs_skipped"];
        // A row that the database does not take: its message lies before the others of its queue.
        await cluster.Do("alter table faults add constraint no_poison check (body not like '%poison%')");
        await using IConnection connection = await new ConnectionFactory { Uri = new Uri(cluster.RabbitMq) }.CreateConnectionAsync();
        await using IChannel channel = await connection.CreateChannelAsync();
        foreach (string queue in queues)
        {
            await channel.QueueDeclareAsync(queue, durable: true, exclusive: false, autoDelete: false);
            BasicProperties properties = new()
            {
                MessageId = Guid.NewGuid().ToString(),
                ContentType = "application/vnd.masstransit+json",
                Headers = queue == "runs_skipped" ? null : new Dictionary<string, object?>
                {
                    ["MT-Fault-ExceptionType"] = "Npgsql.PostgresException",
                    ["MT-Fault-Message"] = "25006: cannot execute INSERT in a read-only transaction",
                    ["MT-Fault-Timestamp"] = "2026-01-02T03:04:05.0000000Z",
                    ["MT-Host-MachineName"] = "worker-7",
                },
            };
            if (queue == "regression_error") await channel.BasicPublishAsync("", queue, mandatory: true, properties, "poison"u8.ToArray());
            await channel.BasicPublishAsync("", queue, mandatory: true, properties,
                Encoding.UTF8.GetBytes("""{"messageType":["urn:message:Lost"],"message":{}}"""));
        }
        await cluster.Orchestrator();
        await Eventually(async () => (await Faults(cluster)).Count == queues.Length);
        JsonArray faults = await Faults(cluster);
        faults.Select(f => f!["queue"]!.GetValue<string>()).ShouldBe(["broadcast-progress", "regression", "runs"], ignoreOrder: true);
        faults.Single(f => f!["queue"]!.GetValue<string>() == "regression")!["reason"]!.GetValue<string>()
            .ShouldBe("PostgresException: 25006: cannot execute INSERT in a read-only transaction");
        string origin = "machine = 'worker-7' and faulted_at = '2026-01-02T03:04:05Z'";
        (await cluster.Count($"select count(*) from faults where {origin}")).ShouldBe(2);
        foreach (string queue in queues)
            await Eventually(async () => await channel.MessageCountAsync(queue) == (queue == "regression_error" ? 1 : 0));
    }

    [Fact]
    public async Task A_standby_takes_over_from_the_primary_and_the_run_goes_on()
    {
        await bench.Require();
        await using Cluster cluster = await Cluster.Make(bench.Servers, "failover");
        NpgsqlConnectionStringBuilder primary = new(cluster.Postgres);
        using Proxy proxy = new(primary.Port);
        cluster.Postgres = new NpgsqlConnectionStringBuilder(cluster.Postgres) { Port = proxy.Port }.ToString();
        await using Standby standby = await Standby.Of(bench, primary);
        await Task.WhenAll(cluster.Orchestrator(), cluster.Worker(), cluster.Worker());
        string run = await cluster.Submit(bench.Spec);
        await cluster.UntilState(run, "ExtractingFeatures");
        proxy.TurnTo(FreePorts.Next()); // nobody writes to the primary any more
        await standby.CatchUp(primary);
        proxy.TurnTo(standby.Port);
        await Task.Delay(ReadOnly, TestContext.Current.CancellationToken); // as long as it takes to notice that the primary is gone
        await standby.Promote();
        JsonNode document = await cluster.Finished(run, Limit);
        document["status"]!.GetValue<string>().ShouldBe("Completed", document["error"]?.GetValue<string>());
        RunTests.Artifacts(document).ShouldBe(bench.Embedded);
        (await cluster.Count("select count(*) from faults")).ShouldBe(0);
        cluster.Members.ShouldAllBe(m => m.IsRunning);
    }

    /// <summary>A copy of the primary, that follows it and can take its place.</summary>
    private sealed class Standby(FaultBench bench, string folder, int port) : IAsyncDisposable
    {
        public int Port => port;

        public static async Task<Standby> Of(FaultBench bench, NpgsqlConnectionStringBuilder primary)
        {
            string folder = Path.Combine(Path.GetTempPath(), $"armoflow-standby-{Guid.NewGuid():N}");
            int port = FreePorts.Next();
            string[] from = ["-h", "127.0.0.1", "-p", $"{primary.Port}", "-U", primary.Username!];
            await bench.Servers.PostgresProgram("pg_basebackup", [.. from, "-D", folder, "-R", "-X", "stream", "-c", "fast"], default);
            string options = $"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c max_connections=300 -c hot_standby=on";
            await bench.Servers.PostgresProgram("pg_ctl", ["-D", folder, "-w", "-l", Path.Combine(folder, "log"), "-o", options, "start"],
                default);
            return new Standby(bench, folder, port);
        }

        public async Task CatchUp(NpgsqlConnectionStringBuilder primary)
        {
            string written = await Ask<string>(primary, "select pg_current_wal_lsn()::text");
            NpgsqlConnectionStringBuilder own = new(primary.ConnectionString) { Port = port };
            await Eventually(() => Ask<bool>(own, $"select pg_last_wal_replay_lsn() >= '{written}'::pg_lsn"));
        }

        public Task Promote() => bench.Servers.PostgresProgram("pg_ctl", ["-D", folder, "-w", "promote"], default);

        public async ValueTask DisposeAsync()
        {
            NpgsqlConnection.ClearAllPools();
            await bench.Servers.PostgresProgram("pg_ctl", ["-D", folder, "-m", "immediate", "stop"], default);
            Directory.Delete(folder, recursive: true);
        }

        private static async Task<T> Ask<T>(NpgsqlConnectionStringBuilder server, string sql)
        {
            await using NpgsqlConnection connection = new(server.ConnectionString);
            await connection.OpenAsync();
            await using NpgsqlCommand command = new(sql, connection);
            return (T)(await command.ExecuteScalarAsync())!;
        }
    }

    private static async Task<JsonArray> Faults(Cluster cluster) => JsonNode.Parse(await cluster.Get("/api/v1/faults"))!.AsArray();
}

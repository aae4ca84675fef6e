using System.Diagnostics;
using System.Globalization;
using System.Text;
using ArmoFlow.Cli;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Decorrelation;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Evaluation;
using ArmoFlow.Contracts.Features;
using ArmoFlow.Contracts.Gating;
using ArmoFlow.Contracts.Ingestion;
using ArmoFlow.Contracts.Regression;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Workers;
using MassTransit;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Npgsql;
using RabbitMQ.Client;
using RabbitMQ.Client.Events;

namespace ArmoFlow.Bench;

/// <summary>A step without work of its own, in the glue that all steps have: what the workflow itself costs.</summary>
internal abstract class TrivialConsumer<TCommand, TCompleted>(StepServices services) : StepConsumer<TCommand, TCompleted>(services)
    where TCommand : StepCommand
    where TCompleted : StepCompleted, new()
{
    protected override Task<StepPlan> Plan(StepRun run) =>
        Task.FromResult(new StepPlan(new { run.Spec.Name }, new Dictionary<string, ArtifactRef>()));
    protected override Task<StepWork> Work(StepRun run, ConsumeContext context) =>
        Task.FromResult<StepWork>(new StepWork.Done(new Dictionary<string, ArtifactRef>(), "nothing to do", new { }));
}

internal sealed class TrivialIngestion(StepServices services) : TrivialConsumer<IngestData, DataIngested>(services);

internal sealed class TrivialFeatures(StepServices services) : TrivialConsumer<ExtractFeatures, FeaturesExtracted>(services);

internal sealed class TrivialRegression(StepServices services) : TrivialConsumer<FitRegression, RegressionFitted>(services);

internal sealed class TrivialDecorrelation(StepServices services) : TrivialConsumer<FitDecorrelation, DecorrelationFitted>(services);

internal sealed class TrivialGating(StepServices services) : TrivialConsumer<TrainGating, GatingTrained>(services);

internal sealed class TrivialEvaluation(StepServices services) : TrivialConsumer<EvaluateModel, ModelEvaluated>(services);

/// <summary>
/// Thousands of runs submitted at once through the API of a real orchestrator process, on RabbitMQ and Postgres, with steps that
/// do nothing; beside what the same broker and database do with bare messages and bare transactions.
/// </summary>
internal static class WorkflowBench
{
    private const int Submitters = 16, StepsAtOnce = 8, MessagesPerRun = 13, CeilingMessages = 20_000, CeilingTransactions = 5_000,
        QuietRuns = 100;

    public static async Task<int> Run(int runs)
    {
        await using Servers servers = await Servers.Start();
        double messages = await MessageCeiling(servers.RabbitMq), transactions = await TransactionCeiling(servers.Postgres);
        int port = FreePorts.Next();
        Process orchestrator = await servers.Program("orchestrator on ", "orchestrator", "--urls", $"http://127.0.0.1:{port}");
        using IHost worker = await StartWorker(servers);
        using HttpClient http = new() { BaseAddress = new Uri($"http://127.0.0.1:{port}") };

        await Submit(http, QuietRuns, 1, "quiet", async () => await Until(servers.Postgres, "quiet-%"));
        (double quietMedian, double quiet99) = await Latencies(servers.Postgres, "quiet-%");

        (double submitted, double seconds, List<long> memory) = await Load(http, servers.Postgres, orchestrator, runs);
        (double median, double p99) = await Latencies(servers.Postgres, "load-%");
        long results = await Count(servers.Postgres, "select count(*) from step_results where parameters like '%load-%'"),
            asked = await Count(servers.Postgres, "select count(*) from runs where name like 'load-%' and attempt = 6"),
            faults = await Count(servers.Postgres, "select count(*) from faults");
        await Task.Delay(2000);
        await using ServiceProvider store = servers.Database();
        AuditVerdict trail = await store.GetRequiredService<AuditStore>().Verify(default);
        long unsent = await Count(servers.Postgres, "select count(*) from outbox_message");

        double rate = runs * MessagesPerRun / seconds;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"""
            {runs:N0} runs of six empty steps: all completed in {seconds:f0} s (submitted in {submitted:f0} s)
              runs/s                {runs / seconds,10:f1}
              bus messages/s        {rate,10:f0}    bare publish and consume {messages:f0}, ours ÷ bare {rate / messages:f2}
              transactions/s        {rate,10:f0}    bare single-row transactions {transactions:f0}, ours ÷ bare {rate / transactions:f2}
              command → event       {quietMedian * 1000,10:f0} ms median, {quiet99 * 1000:f0} ms p99, one run at a time
                                    {median,10:f1} s median, {p99:f1} s p99, with all {runs:N0} in the queues
              each step's effects   {results,10:N0} results of {6 * runs:N0} steps, {asked:N0} runs asked for each step once,
                                    {faults} faults, {unsent} messages unsent
              audit trail           {trail.Events,10:N0} events, {(trail.IsWhole ? "whole" : $"broken at {trail.BrokenAt}: {trail.What}")}
              orchestrator memory   {string.Join(" ", memory.Where((_, i) => i % Math.Max(1, memory.Count / 8) == 0))} MiB
            """));
        await worker.StopAsync();
        return results == 6L * runs && asked == runs && faults == 0 && unsent == 0 && trail.IsWhole ? 0 : 1;
    }

    /// <summary>Submits so many runs and waits for them; the orchestrator's memory (MiB) is looked at every five seconds.</summary>
    private static async Task<(double Submitted, double Seconds, List<long> Memory)> Load(HttpClient http, string postgres,
        Process orchestrator, int runs)
    {
        long start = Stopwatch.GetTimestamp();
        await Submit(http, runs, Submitters, "load", null);
        double submitted = Stopwatch.GetElapsedTime(start).TotalSeconds;
        List<long> memory = [];
        const string Completed = "select count(*) from runs where name like 'load-%' and current_state = 'Completed'";
        for (long done = 0; done < runs; done = await Count(postgres, Completed))
        {
            orchestrator.Refresh();
            memory.Add(orchestrator.WorkingSet64 >> 20);
            Console.Error.WriteLine($"  {done} of {runs} runs, orchestrator {memory[^1]} MiB");
            await Task.Delay(5000);
        }
        return (submitted, Stopwatch.GetElapsedTime(start).TotalSeconds, memory);
    }

    private static async Task<IHost> StartWorker(Servers servers)
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
        builder.Services.AddWorkers();
        ServerHost.Configure(builder.Services, builder.Logging, new ServerSettings(servers.RabbitMq, servers.Postgres, servers.Artifacts,
            TimeSpan.FromMinutes(1)), bus =>
        {
            Add<TrivialIngestion>(StepNames.Ingestion);
            Add<TrivialFeatures>(StepNames.Features);
            Add<TrivialRegression>(StepNames.Regression);
            Add<TrivialDecorrelation>(StepNames.Decorrelation);
            Add<TrivialGating>(StepNames.Gating);
            Add<TrivialEvaluation>(StepNames.Evaluation);

            void Add<T>(string queue)
                where T : class, IConsumer =>
                    bus.AddConsumer<T>().Endpoint(e =>
                    {
                        e.Name = queue;
                        e.PrefetchCount = 2 * StepsAtOnce;
                        e.ConcurrentMessageLimit = StepsAtOnce;
                    });
        });
        IHost host = builder.Build();
        await host.StartAsync();
        return host;
    }

    private static async Task Submit(HttpClient http, int runs, int atOnce, string name, Func<Task>? after) =>
        await Parallel.ForAsync(0, runs, new ParallelOptions { MaxDegreeOfParallelism = atOnce }, async (i, cancel) =>
        {
            using StringContent spec = new($$"""
                name: {{name}}-{{i}}
                objectives: [a, verbosity]
                backbone: { path: backbone }
                ratings: [{ name: r, files: [r.jsonl] }]
                preferences: [{ name: p, files: [p.jsonl] }]
                decorrelation: { verbosity: verbosity }
                """, Encoding.UTF8, "application/yaml");
            using HttpResponseMessage response = await http.PostAsync("/api/v1/runs", spec, cancel);
            if (!response.IsSuccessStatusCode) throw new InvalidOperationException(await response.Content.ReadAsStringAsync(cancel));
            if (after is not null) await after();
        });

    private static async Task Until(string postgres, string names)
    {
        while (await Count(postgres, $"select count(*) from runs where name like '{names}' and current_state <> 'Completed'") > 0)
            await Task.Delay(10);
    }

    /// <summary>From the saga's asking for a step to its hearing of it, over all steps of some runs.</summary>
    private static async Task<(double Median, double P99)> Latencies(string postgres, string names)
    {
        await using NpgsqlConnection connection = new(postgres);
        await connection.OpenAsync();
        await using NpgsqlCommand query = new($"""
            select percentile_cont(array[0.5, 0.99]) within group (
                order by extract(epoch from (step ->> 'endedAt')::timestamptz - (step ->> 'startedAt')::timestamptz))
            from runs, jsonb_array_elements(steps::jsonb) step where name like '{names}'
            """, connection);
        double[] found = (double[])(await query.ExecuteScalarAsync())!;
        return (found[0], found[1]);
    }

    private static async Task<long> Count(string postgres, string sql)
    {
        await using NpgsqlConnection connection = new(postgres);
        await connection.OpenAsync();
        await using NpgsqlCommand query = new(sql, connection) { CommandTimeout = 300 };
        return (long)(await query.ExecuteScalarAsync())!;
    }

    /// <summary>Persistent, confirmed messages of a command's size through one durable queue: published and consumed a second.</summary>
    private static async Task<double> MessageCeiling(string rabbitMq)
    {
        await using IConnection connection = await new ConnectionFactory { Uri = new Uri(rabbitMq) }.CreateConnectionAsync();
        await using IChannel publisher = await connection.CreateChannelAsync(new CreateChannelOptions(publisherConfirmationsEnabled: true,
            publisherConfirmationTrackingEnabled: true, outstandingPublisherConfirmationsRateLimiter: new ThrottlingRateLimiter(256)));
        await using IChannel consumer = await connection.CreateChannelAsync();
        await publisher.QueueDeclareAsync("ceiling", durable: true, exclusive: false, autoDelete: false);
        await consumer.BasicQosAsync(0, 64, false);
        TaskCompletionSource all = new();
        int received = 0;
        AsyncEventingBasicConsumer receiver = new(consumer);
        receiver.ReceivedAsync += async (_, e) =>
        {
            await consumer.BasicAckAsync(e.DeliveryTag, false);
            if (++received == CeilingMessages) all.SetResult();
        };
        long start = Stopwatch.GetTimestamp();
        await consumer.BasicConsumeAsync("ceiling", false, receiver);
        byte[] body = new byte[2500];
        BasicProperties properties = new() { Persistent = true };
        List<Task> sent = [];
        for (int i = 0; i < CeilingMessages; i++)
        {
            sent.Add(publisher.BasicPublishAsync("", "ceiling", false, properties, body).AsTask());
            if (sent.Count < 256) continue;
            await Task.WhenAll(sent);
            sent.Clear();
        }
        await Task.WhenAll(sent);
        await all.Task;
        return CeilingMessages / Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    /// <summary>Transactions that insert one row, on as many connections as there are steps at once.</summary>
    private static async Task<double> TransactionCeiling(string postgres)
    {
        await using NpgsqlDataSource source = NpgsqlDataSource.Create(postgres);
        await using (NpgsqlCommand create = source.CreateCommand("create table ceiling (id bigserial primary key, body text)"))
            await create.ExecuteNonQueryAsync();
        long start = Stopwatch.GetTimestamp();
        await Parallel.ForAsync(0, CeilingTransactions, new ParallelOptions { MaxDegreeOfParallelism = StepsAtOnce }, async (_, cancel) =>
        {
            await using NpgsqlCommand insert = source.CreateCommand("insert into ceiling (body) values ('a row')");
            await insert.ExecuteNonQueryAsync(cancel);
        });
        return CeilingTransactions / Stopwatch.GetElapsedTime(start).TotalSeconds;
    }
}

using System.Data.Common;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Decorrelation;
using ArmoFlow.Contracts.Evaluation;
using ArmoFlow.Contracts.Features;
using ArmoFlow.Contracts.Gating;
using ArmoFlow.Contracts.Ingestion;
using ArmoFlow.Contracts.Regression;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Runs;
using ArmoFlow.Orchestrator.Schedules;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Outbox;
using ArmoFlow.Persistence.Runs;
using MassTransit;
using MassTransit.Serialization;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Shouldly;
using Xunit;

namespace ArmoFlow.Orchestrator.Tests;

/// <summary>
/// Runs and messages as older versions left them (Fixtures/workflow-N.json: for each state a run's row and the message that was
/// on its way): this version finishes them.
/// </summary>
public sealed class OldRunsTests : IAsyncDisposable
{
    private static readonly JsonSerializerOptions Indented = new(JsonSerializerDefaults.Web)
    {
        WriteIndented = true,
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping
    };
    private static readonly string FixtureFolder = Path.Combine(AppContext.BaseDirectory, "Fixtures");
    private readonly string _folder = Directory.CreateTempSubdirectory("armoflow-old-").FullName;
    private readonly Answers _answers = new();
    private IHost? _host;

    /// <summary>A run's row, column by column, and the envelope that it waits for.</summary>
    public sealed record OldRun(string State, JsonObject Row, OldMessage Message);

    /// <summary>A message as the transport carried it.</summary>
    public sealed record OldMessage(string Type, string Destination, JsonObject Body);

    /// <summary>What the consumers of steps were asked, as it came.</summary>
    public sealed class Answers
    {
        public List<OldMessage> Heard { get; } = [];
        public bool Answer { get; set; } = true;

        public bool Holds<T>(int attempt) where T : StepCommand
        {
            lock (Heard)
            {
                return Heard.Any(h => h.Type == MessageUrn.ForTypeString<T>()
                && h.Body["message"]!["attempt"]!.GetValue<int>() == attempt);
            }
        }

        public void Hear<T>(ConsumeContext<T> context) where T : class
        {
            lock (Heard)
            {
                Heard.Add(new OldMessage(MessageUrn.ForTypeString<T>(), context.DestinationAddress!.ToString(),
                    Envelope(context.ReceiveContext.Body.GetString())));
            }
        }
    }

    /// <summary>A worker that finds every step done.</summary>
    public sealed class Worker<TCommand, TCompleted>(Answers answers) : IConsumer<TCommand>
        where TCommand : StepCommand
        where TCompleted : StepCompleted, new()
    {
        public Task Consume(ConsumeContext<TCommand> context)
        {
            answers.Hear(context);
            return answers.Answer
                ? context.Publish(Completed<TCompleted>(context.Message.RunId, context.Message.Attempt))
                : Task.CompletedTask;
        }
    }

    /// <summary>A message's envelope, without what names the machine that sent it.</summary>
    private static JsonObject Envelope(string body)
    {
        JsonObject envelope = JsonNode.Parse(body)!.AsObject();
        foreach (string name in new[] { "host", "sourceAddress", "destinationAddress", "headers" }) envelope.Remove(name);
        return envelope;
    }

    private static T Completed<T>(Guid run, int attempt) where T : StepCompleted, new() => new()
    {
        RunId = run,
        Attempt = attempt,
        StepKey = "key",
        Detail = "done",
        Outputs = new Dictionary<string, ArtifactRef> { [typeof(T).Name] = new("ab", 1) },
        Metrics = JsonElement.Parse("""{"figure":1.5}"""),
    };

    public static IEnumerable<TheoryDataRow<string, string>> OldRuns() =>
        Fixtures().SelectMany(f => f.Runs.Select(r => new TheoryDataRow<string, string>(f.Name, r.State)));

    [Theory, MemberData(nameof(OldRuns))]
    public async Task A_run_of_an_older_version_is_finished_from_whatever_state_it_was_in(string fixture, string state)
    {
        OldRun old = Fixtures().Single(f => f.Name == fixture).Runs.Single(r => r.State == state);
        await Start(async db =>
        {
            DbConnection connection = db.Database.GetDbConnection();
            await connection.OpenAsync();
            await using DbCommand insert = connection.CreateCommand();
            insert.CommandText =
                $"insert into runs ({string.Join(", ", old.Row.Select(c => c.Key))}) values "
                    + $"({string.Join(", ", old.Row.Select((_, i) => $"@p{i}"))})";
            foreach (((_, JsonNode? value), int i) in old.Row.Select((c, i) => (c, i)))
            {
                DbParameter parameter = insert.CreateParameter();
                parameter.ParameterName = $"@p{i}";
                parameter.Value = value?.GetValueKind() switch
                {
                    null => DBNull.Value,
                    JsonValueKind.Number => value.GetValue<long>(),
                    _ => value.GetValue<string>()
                };
                insert.Parameters.Add(parameter);
            }
            (await insert.ExecuteNonQueryAsync()).ShouldBe(1);
        });
        await Deliver(old.Message);
        Guid run = old.Message.Body["message"]!["runId"]!.GetValue<Guid>();
        RunDocument document = await Ended(run, unless: state);
        (document.Status, document.Error).ShouldBe((RunStatus.Completed, null));
        document.Steps.ShouldAllBe(s => s.Status == StepStatus.Completed);
    }

    public static IEnumerable<TheoryDataRow<string, int>> OldMessages() =>
        Fixtures().SelectMany(f => f.Runs.Select(r => r.Message)
            .Concat(f.Commands)
            .Select((_, i) => new TheoryDataRow<string, int>(f.Name, i)));

    [Theory, MemberData(nameof(OldMessages))]
    public void A_message_of_an_older_version_loses_nothing_in_this_one(string fixture, int index)
    {
        Fixture old = Fixtures().Single(f => f.Name == fixture);
        OldMessage message = old.Runs.Select(r => r.Message).Concat(old.Commands).ElementAt(index);
        Type type = typeof(StepCommand).Assembly.GetType(message.Type["urn:message:".Length..].Replace(':', '.'), throwOnError: true)!;
        JsonNode sent = message.Body["message"]!,
            read = JsonSerializer.SerializeToNode(sent.Deserialize(type, SystemTextJsonMessageSerializer.Options), type,
                SystemTextJsonMessageSerializer.Options)!;
        Holds(read, sent, message.Type);
    }

    /// <summary>A new version of the workflow, or a changed message, begins with a record of what this one writes.</summary>
    [Fact]
    public async Task What_this_version_writes_is_on_record()
    {
        string file = $"workflow-{RunState.Workflow}.json";
        Fixture recorded = await Record(file);
        if (Fixtures().SingleOrDefault(f => f.Name == file) is not { } known)
        {
            string at = Path.Combine(FixtureFolder, file);
            Directory.CreateDirectory(FixtureFolder);
            await File.WriteAllTextAsync(at, JsonSerializer.Serialize(recorded, Indented), TestContext.Current.CancellationToken);
            throw new InvalidOperationException($"there was no record of workflow version {RunState.Workflow}; it was written to {at}: "
                + "copy it to tests/Orchestrator.Tests/Fixtures and commit it");
        }
        recorded.Runs.Select(r => r.State).ShouldBe(known.Runs.Select(r => r.State));
        recorded.Commands.Select(c => c.Type).ShouldBe(known.Commands.Select(c => c.Type));
        foreach ((OldRun now, OldRun then) in recorded.Runs.Zip(known.Runs))
            then.Row.Select(c => c.Key).Except(now.Row.Select(c => c.Key)).ShouldBeEmpty("a column that older rows have is gone");
    }

    /// <summary>Goes through a run and takes down, in each state, its row and the message that it waits for.</summary>
    private async Task<Fixture> Record(string name)
    {
        _answers.Answer = false;
        await Start(_ => Task.CompletedTask, delivers: false);
        Guid id = new("11111111-2222-3333-4444-555555555555");
        RunSpec spec = SpecReader.Parse(await File.ReadAllTextAsync(Path.Combine(AppContext.BaseDirectory, "Fixtures", "spec.yaml")),
            "spec.yaml", "/data");
        List<OldRun> runs = [];
        await using (ArmoFlowDbContext db = await Context())
        {
            RunState run = new() { CorrelationId = id };
            run.Open(spec, DateTimeOffset.UnixEpoch);
            db.Runs.Add(run);
            await db.SaveChangesAsync();
        }
        await Take("Initial", new SubmitRun { RunId = id, Spec = spec });
        await Publish(new PauseRun(id), "Paused");
        await Take("Paused", new ResumeRun(id), "Ingesting");
        await Publish(new CancelRun(id), "Cancelled");
        await Take("Cancelled", new RetryRun(id), "Ingesting");
        await Publish(new StepFailed
        {
            RunId = id,
            Attempt = await Attempt(),
            Step = StepNames.Ingestion,
            Error = "no such file",
            BadInput = true
        }, "Failed");
        await Take("Failed", new RetryRun(id), "Ingesting");
        await Take("Ingesting", Completed<DataIngested>(id, await Asked<IngestData>()));
        await Take("ExtractingFeatures", Completed<FeaturesExtracted>(id, await Asked<ExtractFeatures>()));
        await Take("FittingRegression", Completed<RegressionFitted>(id, await Asked<FitRegression>()));
        await Take("FittingDecorrelation", Completed<DecorrelationFitted>(id, await Asked<FitDecorrelation>()));
        await Take("TrainingGating", Completed<GatingTrained>(id, await Asked<TrainGating>()));
        await Take("Evaluating", Completed<ModelEvaluated>(id, await Asked<EvaluateModel>()), "Completed");
        List<OldMessage> commands = [.. _answers.Heard.GroupBy(h => h.Type).Select(g => g.Last())];
        commands.Count.ShouldBe(StepCatalogue.Names.Count);
        return new Fixture(name, runs, commands);

        async Task<int> Attempt()
        {
            await using ArmoFlowDbContext db = await Context();
            return await db.Runs.Select(r => r.Attempt).SingleAsync();
        }

        async Task<int> Asked<TCommand>() where TCommand : StepCommand
        {
            int attempt = await Attempt();
            await Until(() => _answers.Holds<TCommand>(attempt));
            return attempt;
        }

        async Task Publish<T>(T message, string next) where T : class
        {
            await _host!.Services.GetRequiredService<IBus>().Publish(message);
            await Reach(next);
        }

        // The row as it waits, the message as the outbox keeps it; then the message is sent, and the run goes on.
        async Task Take<T>(string state, T message, string? next = null) where T : class
        {
            await Reach(state);
            await using (ArmoFlowDbContext db = await Context())
            {
                await _host!.Services.GetRequiredService<BusOutbox>().Save(db, message, default);
                OutboxMessage kept = await db.OutboxMessages.Where(m => m.OutboxId != null).SingleAsync();
                runs.Add(new OldRun(state, await RowOf(db),
                    new OldMessage(kept.MessageType.Split(';')[0], kept.DestinationAddress!.ToString(), Envelope(kept.Body))));
                await db.OutboxMessages.Where(m => m.OutboxId != null).ExecuteDeleteAsync();
                await db.OutboxStates.ExecuteDeleteAsync();
            }
            int before = await Attempt();
            await _host!.Services.GetRequiredService<IBus>().Publish(message);
            if (next is not null) await Reach(next);
            else await UntilAsync(async () => await Attempt() > before);
        }

        async Task Reach(string state) => await UntilAsync(async () =>
        {
            await using ArmoFlowDbContext db = await Context();
            return await db.Runs.AnyAsync(r => r.CurrentState == state);
        });
    }

    private static async Task<JsonObject> RowOf(ArmoFlowDbContext db)
    {
        await using DbCommand select = db.Database.GetDbConnection().CreateCommand();
        select.CommandText = "select * from runs";
        if (select.Connection!.State != System.Data.ConnectionState.Open) await select.Connection.OpenAsync();
        await using DbDataReader reader = await select.ExecuteReaderAsync();
        (await reader.ReadAsync()).ShouldBeTrue();
        return [.. Enumerable.Range(0, reader.FieldCount).Select(i => KeyValuePair.Create(reader.GetName(i), reader.GetValue(i) switch
        {
            DBNull => (JsonNode?)null,
            long number => JsonValue.Create(number),
            object other => JsonValue.Create(Convert.ToString(other, CultureInfo.InvariantCulture)),
        }))];
    }

    private async Task Start(Func<ArmoFlowDbContext, Task> prepare, bool delivers = true)
    {
        Workspace workspace = new(_folder);
        workspace.TryLock().ShouldBeTrue();
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
        builder.Services.AddEmbeddedPersistence(workspace)
            .AddRunQueries()
            .AddSingleton<RunService>()
            .AddSingleton<ScheduleRunner>()
            .AddSingleton(_answers);
        if (delivers) builder.Services.AddHostedService<OutboxDelivery>();
        builder.Services.AddOptions<MassTransitHostOptions>().Configure(o => o.WaitUntilStarted = true);
        builder.Services.AddMassTransit(bus =>
        {
            bus.UseConsumerOutbox();
            bus.AddRunSaga();
            bus.AddConsumer<Worker<IngestData, DataIngested>>().Endpoint(e => e.Name = StepNames.Ingestion);
            bus.AddConsumer<Worker<ExtractFeatures, FeaturesExtracted>>().Endpoint(e => e.Name = StepNames.Features);
            bus.AddConsumer<Worker<FitRegression, RegressionFitted>>().Endpoint(e => e.Name = StepNames.Regression);
            bus.AddConsumer<Worker<FitDecorrelation, DecorrelationFitted>>().Endpoint(e => e.Name = StepNames.Decorrelation);
            bus.AddConsumer<Worker<TrainGating, GatingTrained>>().Endpoint(e => e.Name = StepNames.Gating);
            bus.AddConsumer<Worker<EvaluateModel, ModelEvaluated>>().Endpoint(e => e.Name = StepNames.Evaluation);
            bus.UsingInMemory((context, transport) => transport.ConfigureEndpoints(context));
        });
        _host = builder.Build();
        await using (ArmoFlowDbContext db = await Context())
        {
            await db.Database.MigrateAsync();
            await prepare(db);
        }
        await _host.StartAsync();
    }

    private async Task Deliver(OldMessage message)
    {
        await using ArmoFlowDbContext db = await Context();
        OutboxState outbox = new() { OutboxId = NewId.NextGuid(), Created = DateTime.UtcNow };
        db.OutboxStates.Add(outbox);
        db.OutboxMessages.Add(new OutboxMessage
        {
            OutboxId = outbox.OutboxId,
            MessageId = message.Body["messageId"]!.GetValue<Guid>(),
            SentTime = DateTime.UtcNow,
            DestinationAddress = new Uri(message.Destination),
            ContentType = SystemTextJsonMessageSerializer.JsonContentType.ToString(),
            MessageType = message.Type,
            Body = message.Body.ToJsonString(),
        });
        await db.SaveChangesAsync();
        _host!.Services.GetRequiredService<OutboxSignal>().Raise();
    }

    private async Task<RunDocument> Ended(Guid id, string unless)
    {
        RunDocument? run = null;
        await UntilAsync(
            async () => (run = await _host!.Services.GetRequiredService<RunQueries>().Find(id, default)) is { HasEnded: true } ended
                && ended.Status.ToString() != unless);
        return run!;
    }

    /// <summary>Every value that was written is there in what is read.</summary>
    private static void Holds(JsonNode? read, JsonNode? written, string at)
    {
        if (written is JsonObject fields)
            foreach ((string name, JsonNode? value) in fields) Holds(read.ShouldNotBeNull(at)[name], value, $"{at}.{name}");
        else if (written is JsonArray items)
            for (int i = 0; i < items.Count; i++) Holds(read.ShouldNotBeNull(at)[i], items[i], $"{at}[{i}]");
        else if (written is not null)
        {
            JsonNode.DeepEquals(read, written)
                .ShouldBeTrue($"{at}: {written.ToJsonString()} was read as {read?.ToJsonString() ?? "nothing"}");
        }
    }

    private sealed record Fixture(string Name, IReadOnlyList<OldRun> Runs, IReadOnlyList<OldMessage> Commands);

    private static IEnumerable<Fixture> Fixtures() => Directory.Exists(FixtureFolder)
        ? Directory.EnumerateFiles(FixtureFolder, "workflow-*.json")
            .Order(StringComparer.Ordinal)
            .Select(f => JsonSerializer.Deserialize<Fixture>(File.ReadAllText(f), JsonSerializerOptions.Web)!)
            : [];

    private async Task<ArmoFlowDbContext> Context() =>
        await _host!.Services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>().CreateDbContextAsync();

    private static Task Until(Func<bool> condition) => UntilAsync(() => Task.FromResult(condition()));

    private static async Task UntilAsync(Func<Task<bool>> condition)
    {
        for (int i = 0; i < 1000; i++)
        {
            if (await condition()) return;
            await Task.Delay(20);
        }
        throw new TimeoutException("it did not come to pass");
    }

    public async ValueTask DisposeAsync()
    {
        if (_host is not null)
        {
            await _host.StopAsync();
            _host.Dispose();
        }
        Directory.Delete(_folder, recursive: true);
    }
}

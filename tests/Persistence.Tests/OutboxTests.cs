using System.Collections.Concurrent;
using System.Diagnostics;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Faults;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Faults;
using ArmoFlow.Persistence.Outbox;
using ArmoFlow.Persistence.Steps;
using MassTransit;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Shouldly;
using Xunit;

namespace ArmoFlow.Persistence.Tests;

/// <summary>
/// Effects, inbox and outgoing messages are one transaction; copies of a message change nothing; what no retry helps is kept.
/// </summary>
public sealed class OutboxTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("armoflow-outbox-").FullName;
    private const string TooLarge = "too large";
    private readonly Notes _notes = new();
    private IHost _host = null!;

    public sealed record Order(string Name, bool FailAfterEffects, bool FailTwice);

    public sealed record Done(string Name);

    /// <summary>A message about a run.</summary>
    public sealed record Said(Guid RunId, string Name);

    /// <summary>Another, which the broker may refuse.</summary>
    public sealed record Refused(Guid RunId, string Name);

    public sealed class SaidConsumer(Notes notes) : IConsumer<Said>, IConsumer<Refused>, IConsumer<MessageUnsent>
    {
        public Task Consume(ConsumeContext<Said> context) => notes.Hear(context.Message.Name);

        public Task Consume(ConsumeContext<Refused> context) => notes.Hear(context.Message.Name);

        public Task Consume(ConsumeContext<MessageUnsent> context) =>
            notes.Hear($"unsent {context.Message.RunId}: {context.Message.Reason}");
    }

    public sealed class Notes
    {
        public ConcurrentQueue<string> Heard { get; } = [];

        /// <summary>Stands for a broker that does not take one kind of message.</summary>
        public bool RefusesSome { get => Volatile.Read(ref _refusesSome); set => Volatile.Write(ref _refusesSome, value); }

        private bool _refusesSome;

        public Task Hear(string name)
        {
            Heard.Enqueue(name);
            return Task.CompletedTask;
        }

        public ConcurrentQueue<ActivityTraceId> Traces { get; } = [];

        public ConcurrentQueue<string> Done { get; } = [];

        /// <summary>Consumers count at the same time, the test reads.</summary>
        public int Tries => Volatile.Read(ref _tries);

        private int _tries;

        public int CountTry() => Interlocked.Increment(ref _tries);
    }

    /// <summary>Enters a setting and publishes.</summary>
    public sealed class OrderConsumer(Notes notes) : IConsumer<Order>
    {
        public async Task Consume(ConsumeContext<Order> context)
        {
            int tries = notes.CountTry();
            MessageTransaction transaction = context.GetPayload<MessageTransaction>();
            await context.Publish(new Done(context.Message.Name));
            if (context.Message.Name.StartsWith(TooLarge, StringComparison.Ordinal))
                await context.Publish(new Said(Guid.Empty, new string('x', MessageBounds.MostBytes)));
            if (!await transaction.TryBegin(context.CancellationToken)) return;
            transaction.Database.Settings.Add(new Setting { Key = context.Message.Name, Value = "done" });
            await transaction.Database.SaveChangesAsync(context.CancellationToken);
            if (context.Message.FailAfterEffects || (context.Message.FailTwice && tries < 3))
                throw new ArithmeticException($"order {tries} cannot be met");
        }
    }

    public sealed class OrderDefinition : ConsumerDefinition<OrderConsumer>
    {
        protected override void ConfigureConsumer(IReceiveEndpointConfigurator endpointConfigurator,
            IConsumerConfigurator<OrderConsumer> consumerConfigurator, IRegistrationContext context) =>
            endpointConfigurator.UseMessageRetry(retry => retry.Immediate(3));
    }

    public sealed class DoneConsumer(Notes notes) : IConsumer<Done>
    {
        public async Task Consume(ConsumeContext<Done> context)
        {
            // a second copy, between its commit and its being struck out
            if (!await context.GetPayload<MessageTransaction>().TryBegin(context.CancellationToken)) return;
            // the trace first: a test that sees the name reads the trace at once
            notes.Traces.Enqueue(Activity.Current?.TraceId ?? default);
            notes.Done.Enqueue(context.Message.Name);
        }
    }

    public async ValueTask InitializeAsync()
    {
        Workspace workspace = new(_folder);
        workspace.TryLock().ShouldBeTrue();
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
        builder.Services.AddEmbeddedPersistence(workspace).AddSingleton(_notes).AddHostedService<OutboxDelivery>();
        builder.Services.AddOptions<MassTransitHostOptions>().Configure(o => o.WaitUntilStarted = true);
        builder.Services.AddMassTransit(bus =>
        {
            bus.UseConsumerOutbox();
            bus.AddConsumer<OrderConsumer, OrderDefinition>();
            bus.AddConsumer<DoneConsumer>();
            bus.AddConsumer<SaidConsumer>();
            bus.UsingInMemory((context, transport) =>
            {
                transport.ConfigureSend(pipe => pipe.UseExecute(sent =>
                {
                    if (_notes.RefusesSome && sent.DestinationAddress!.ToString().Contains(nameof(Refused), StringComparison.Ordinal))
                        throw new IOException("not now");
                }));
                transport.ConfigureEndpoints(context);
            });
        });
        _host = builder.Build();
        await using (ArmoFlowDbContext db = await Context()) await db.Database.MigrateAsync();
        await _host.StartAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await _host.StopAsync();
        _host.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task What_a_request_causes_is_one_trace_through_the_outbox_and_consumer_after_consumer()
    {
        using ActivityListener listener = new()
        {
            ShouldListenTo = source => source.Name is "MassTransit" or Instruments.MeterName,
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllData
        };
        ActivitySource.AddActivityListener(listener);
        ActivityTraceId trace;
        using (Activity request = new Activity("request").SetIdFormat(ActivityIdFormat.W3C).Start())
        {
            trace = request.TraceId;
            await using ArmoFlowDbContext db = await Context();
            await _host.Services.GetRequiredService<BusOutbox>().Save(db, new Order("traced", false, false), default);
        }
        await Eventually(() => _notes.Done.Count == 1);
        _notes.Traces.ShouldBe([trace]);
    }

    [Fact]
    public async Task Effects_and_messages_happen_together_and_once_for_two_copies_of_a_message()
    {
        Guid id = NewId.NextGuid();
        for (int copy = 0; copy < 2; copy++) await Send(new Order("one", false, false), id);
        await Eventually(() => !_notes.Done.IsEmpty && _notes.Tries == 2);
        await Task.Delay(300, TestContext.Current.CancellationToken);
        _notes.Done.ShouldBe(["one"]);
        await using ArmoFlowDbContext db = await Context();
        (await db.Settings.CountAsync(s => s.Key == "one", TestContext.Current.CancellationToken)).ShouldBe(1);
        (await db.InboxStates.CountAsync(i => i.MessageId == id && i.Delivered != null, TestContext.Current.CancellationToken)).ShouldBe(1);
        (await db.OutboxMessages.CountAsync(TestContext.Current.CancellationToken)).ShouldBe(0);
    }

    [Fact]
    public async Task A_try_that_fails_leaves_neither_effects_nor_messages_behind()
    {
        await Send(new Order("third time", false, FailTwice: true));
        await Eventually(() => _notes.Done.Count == 1);
        _notes.Tries.ShouldBe(3);
        await using ArmoFlowDbContext db = await Context();
        (await db.Faults.CountAsync(TestContext.Current.CancellationToken)).ShouldBe(0);
    }

    [Fact]
    public async Task What_no_retry_helps_is_kept_grouped_and_can_be_sent_again_or_archived()
    {
        Caller.Current = new Caller("tester");
        FaultStore store = _host.Services.GetRequiredService<FaultStore>();
        await Send(new Order("a", FailAfterEffects: true, false));
        await Send(new Order("b", FailAfterEffects: true, false));
        await EventuallyAsync(async () => (await store.Groups(default)) is [{ Open: 2 }]);
        FaultGroup group = (await store.Groups(default)).Single(); // the numbers in the two reasons differ
        group.Queue.ShouldBe("Order");
        group.Reason.ShouldStartWith("ArithmeticException: order");
        _notes.Done.ShouldBeEmpty();
        await using (ArmoFlowDbContext db = await Context())
            (await db.Settings.CountAsync(TestContext.Current.CancellationToken)).ShouldBe(0);

        for (int round = 1; round <= 5; round++)
        {
            (await store.Decide(group.Fingerprint, FaultDecision.Redeliver, default)).ShouldBe(2);
            _host.Services.GetRequiredService<OutboxSignal>().Raise();
            await EventuallyAsync(async () => (await store.Groups(default)).Single() is { Open: 2 } g && g.Redelivered == 2 * round);
        }
        await Should.ThrowAsync<WornOutException>(() => store.Decide(group.Fingerprint, FaultDecision.Redeliver, default));
        (await store.Decide("all", FaultDecision.Archive, default)).ShouldBe(2);
        FaultRow archived = (await store.Find(group.Fingerprint, default))[0];
        (archived.Status, archived.DecidedBy, archived.Redeliveries).ShouldBe((FaultStatus.Archived, "tester", 5));
    }

    [Fact]
    public async Task A_message_of_an_unknown_kind_is_kept_and_one_that_is_no_message_too()
    {
        FaultStore store = _host.Services.GetRequiredService<FaultStore>();
        ISendEndpoint queue = await _host.Services.GetRequiredService<IBus>().GetSendEndpoint(new Uri("queue:Order"));
        await queue.Send(new UnknownOrder(3), TestContext.Current.CancellationToken);
        await EventuallyAsync(async () => (await store.Groups(default)).Count == 1);
        FaultGroup skipped = (await store.Groups(default)).Single();
        skipped.Reason.ShouldContain("no consumer of this version");
        skipped.MessageType.ShouldContain("UnknownOrder");
    }

    [Fact]
    public async Task What_the_api_commits_is_sent_and_what_it_does_not_commit_is_not()
    {
        BusOutbox outbox = _host.Services.GetRequiredService<BusOutbox>();
        await using (ArmoFlowDbContext db = await Context())
        {
            db.Settings.Add(new Setting { Key = "api", Value = "1" });
            await outbox.Save(db, new Done("api"), default);
        }
        await Eventually(() => _notes.Done.Contains("api"));
        await using (ArmoFlowDbContext db = await Context())
        {
            db.Settings.Add(new Setting { Key = "api", Value = "a second row of one key" });
            await Should.ThrowAsync<DbUpdateException>(() => outbox.Save(db, new Done("never"), default));
        }
        await Task.Delay(300, TestContext.Current.CancellationToken);
        _notes.Done.ShouldBe(["api"]);
    }

    [Fact]
    public async Task What_a_consumer_committed_and_never_came_to_send_is_sent_by_the_upkeep()
    {
        Guid id = NewId.NextGuid(), consumer = Guid.NewGuid();
        await using (ArmoFlowDbContext db = await Context())
        {
            // As a process leaves it that dies between its commit and its sends.
            db.InboxStates.Add(new InboxState
            {
                MessageId = id,
                ConsumerId = consumer,
                Received = DateTime.UtcNow.AddMinutes(-5),
                Consumed = DateTime.UtcNow.AddMinutes(-5),
                ReceiveCount = 1
            });
            db.OutboxMessages.Add(new OutboxMessage
            {
                InboxMessageId = id,
                InboxConsumerId = consumer,
                MessageId = NewId.NextGuid(),
                SentTime = DateTime.UtcNow,
                DestinationAddress = new Uri("queue:Done"),
                ContentType = "application/vnd.masstransit+json",
                MessageType = MessageUrn.ForTypeString<Done>(),
                Body = $$"""
                    {
                      "messageId": "{{NewId.NextGuid()}}",
                      "messageType": ["{{MessageUrn.ForTypeString<Done>()}}"],
                      "message": { "name": "orphan" }
                    }
                    """,
            });
            await db.SaveChangesAsync(TestContext.Current.CancellationToken);
        }
        using OutboxDelivery upkeep = ActivatorUtilities.CreateInstance<OutboxDelivery>(_host.Services);
        await upkeep.StartAsync(TestContext.Current.CancellationToken);
        await EventuallyAsync(async () =>
        {
            await using ArmoFlowDbContext db = await Context();
            return await db.InboxStates.AnyAsync(i => i.MessageId == id && i.Delivered != null, TestContext.Current.CancellationToken);
        });
        await Eventually(() => _notes.Done.Contains("orphan"));
        await upkeep.StopAsync(TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task A_message_that_the_broker_does_not_take_now_holds_up_its_own_run_and_no_other()
    {
        Guid run = Guid.NewGuid(), other = Guid.NewGuid();
        _notes.RefusesSome = true;
        await Save(new Refused(run, "first"), new Said(other, "another run's"));
        await Save(new Said(run, "second"));
        await Eventually(() => _notes.Heard.Count == 1);
        await EventuallyAsync(async () =>
        {
            await using ArmoFlowDbContext db = await Context();
            return await db.OutboxStates.CountAsync(TestContext.Current.CancellationToken) == 2;
        });
        _notes.Heard.ShouldBe(["another run's"]);
        _notes.RefusesSome = false;
        await EventuallyAsync(async () =>
        {
            _host.Services.GetRequiredService<OutboxSignal>().Raise();
            return await Task.FromResult(_notes.Heard.Count == 3);
        });
        _notes.Heard.ShouldBe(["another run's", "first", "second"]);
    }

    [Fact]
    public async Task What_is_redelivered_waits_its_turn_among_its_runs_messages()
    {
        Guid run = Guid.NewGuid(), other = Guid.NewGuid();
        _notes.RefusesSome = true;
        await Save(new Refused(run, "first"), new Said(other, "another run's"));
        await Eventually(() => _notes.Heard.Count == 1);
        await using (ArmoFlowDbContext db = await Context())
        {
            db.Faults.Add(SetAside(run, "set aside"));
            db.Faults.Add(SetAside(other, "another run's, set aside"));
            await db.SaveChangesAsync(TestContext.Current.CancellationToken);
        }
        Caller.Current = new Caller("tester");
        FaultStore store = _host.Services.GetRequiredService<FaultStore>();
        (await store.Decide("all", FaultDecision.Redeliver, TestContext.Current.CancellationToken)).ShouldBe(2);
        _host.Services.GetRequiredService<OutboxSignal>().Raise();
        await Eventually(() => _notes.Heard.Count == 2);
        _notes.Heard.ShouldBe(["another run's", "another run's, set aside"]);
        _notes.RefusesSome = false;
        await EventuallyAsync(() =>
        {
            _host.Services.GetRequiredService<OutboxSignal>().Raise();
            return Task.FromResult(_notes.Heard.Count == 4);
        });
        _notes.Heard.ShouldBe(["another run's", "another run's, set aside", "first", "set aside"]);
    }

    [Fact]
    public async Task What_can_never_be_sent_is_set_aside_and_its_run_is_told_and_others_go_on()
    {
        Guid large = Guid.NewGuid(), lost = Guid.NewGuid(), garbled = Guid.NewGuid(), other = Guid.NewGuid();
        await using (ArmoFlowDbContext db = await Context())
        {
            Leave(db, large, new Uri("queue:Said"), new string('x', MessageBounds.MostBytes));
            Leave(db, lost, new Uri("ftp://nowhere/Said"), "no such address");
            Leave(db, garbled, new Uri("queue:garbled"), "no address at all");
            await using IDbContextTransaction transaction = await db.Database.BeginTransactionAsync(TestContext.Current.CancellationToken);
            await db.SaveChangesAsync(TestContext.Current.CancellationToken);
            await db.Database.ExecuteSqlAsync(
                $"update outbox_message set destination_address = 'http://[' where destination_address = 'queue:garbled'",
                TestContext.Current.CancellationToken);
            await transaction.CommitAsync(TestContext.Current.CancellationToken);
        }
        await Save(new Said(other, "goes on"));
        await Eventually(() => _notes.Heard.Count == 4);
        _notes.Heard.ShouldContain("goes on");
        _notes.Heard.Single(h => h.StartsWith($"unsent {large}", StringComparison.Ordinal)).ShouldContain("expected at most");
        _notes.Heard.ShouldContain(h => h.StartsWith($"unsent {lost}", StringComparison.Ordinal));
        _notes.Heard.ShouldContain(h => h.StartsWith($"unsent {garbled}", StringComparison.Ordinal));
        FaultStore store = _host.Services.GetRequiredService<FaultStore>();
        (await store.Groups(default)).Count.ShouldBe(3);
        FaultGroup cut = (await store.Groups(default)).Single(g => g.Reason.Contains("expected at most", StringComparison.Ordinal));
        (await store.Find(cut.Fingerprint, default)).Single().Body.Length.ShouldBeLessThan(FaultRow.LongestBody);
        (await Should.ThrowAsync<WornOutException>(
            () => store.Decide(cut.Fingerprint, FaultDecision.Redeliver, default))).Message.ShouldContain("Archive it");
        await EventuallyAsync(async () =>
        {
            await using ArmoFlowDbContext db = await Context();
            return !await db.OutboxMessages.AnyAsync(TestContext.Current.CancellationToken)
                && !await db.OutboxStates.AnyAsync(TestContext.Current.CancellationToken);
        });
    }

    [Fact]
    public async Task A_consumers_message_that_is_too_large_is_set_aside_with_its_effects_entered()
    {
        await Send(new Order(TooLarge, false, false));
        await Eventually(() => _notes.Done.Count == 1 && _notes.Heard.Count == 1);
        _notes.Heard.Single().ShouldStartWith($"unsent {Guid.Empty}: Said: the message has");
        (await _host.Services.GetRequiredService<FaultStore>().Groups(default)).Single().Reason.ShouldContain("cannot be sent");
        await using ArmoFlowDbContext db = await Context();
        (await db.Settings.CountAsync(s => s.Key == TooLarge, TestContext.Current.CancellationToken)).ShouldBe(1);
    }

    [Fact]
    public async Task A_callers_message_that_is_too_large_is_refused_and_nothing_is_entered()
    {
        await using ArmoFlowDbContext db = await Context();
        BusOutbox outbox = _host.Services.GetRequiredService<BusOutbox>();
        await Should.ThrowAsync<MessageTooLargeException>(() => outbox.Save(db,
            new Said(Guid.NewGuid(), new string('x', MessageBounds.MostBytes)), default));
        (await db.OutboxStates.CountAsync(TestContext.Current.CancellationToken)).ShouldBe(0);
    }

    /// <summary>In one commit, so that one batch takes them.</summary>
    private async Task Save(params object[] messages)
    {
        await using ArmoFlowDbContext db = await Context();
        IBus bus = _host.Services.GetRequiredService<IBus>();
        foreach (object message in messages)
        {
            if (message is Said said) await BusOutbox.Enter(bus, db, said, DateTimeOffset.UtcNow, default);
            else await BusOutbox.Enter(bus, db, (Refused)message, DateTimeOffset.UtcNow, default);
        }
        await db.SaveChangesAsync();
        _host.Services.GetRequiredService<OutboxSignal>().Raise();
    }

    private static FaultRow SetAside(Guid run, string name)
    {
        string type = MessageUrn.ForTypeString<Said>();
        string message = $$"""{"runId":"{{run}}","name":"{{name}}"}""";
        string body = $$"""{"messageId":"{{NewId.NextGuid()}}","messageType":["{{type}}"],"message":{{message}} }""";
        return FaultRow.Of("Said", NewId.NextGuid(), type, "application/vnd.masstransit+json", body, "IOException: not then", null,
            DateTimeOffset.UtcNow);
    }

    private static void Leave(ArmoFlowDbContext db, Guid run, Uri address, string name)
    {
        OutboxState state = new() { OutboxId = NewId.NextGuid(), LockId = run, Created = DateTime.UtcNow };
        db.OutboxStates.Add(state);
        db.OutboxMessages.Add(new OutboxMessage
        {
            OutboxId = state.OutboxId,
            MessageId = NewId.NextGuid(),
            SentTime = DateTime.UtcNow,
            DestinationAddress = address,
            ContentType = "application/vnd.masstransit+json",
            MessageType = MessageUrn.ForTypeString<Said>(),
            Body = $$"""
                {
                  "messageId": "{{NewId.NextGuid()}}",
                  "messageType": ["{{MessageUrn.ForTypeString<Said>()}}"],
                  "message": { "runId": "{{run}}", "name": "{{name}}" }
                }
                """,
        });
    }

    public sealed record UnknownOrder(int Number);

    private async Task<ArmoFlowDbContext> Context() =>
        await _host.Services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>().CreateDbContextAsync();

    private async Task Send(Order order, Guid? id = null) =>
        await (await _host.Services.GetRequiredService<IBus>().GetSendEndpoint(new Uri("queue:Order"))).Send(order,
            context => context.MessageId = id ?? context.MessageId);

    private static Task Eventually(Func<bool> condition) => EventuallyAsync(() => Task.FromResult(condition()));

    private static async Task EventuallyAsync(Func<Task<bool>> condition)
    {
        for (int i = 0; i < 1000; i++)
        {
            if (await condition()) return;
            await Task.Delay(20);
        }
        throw new TimeoutException("it did not come to pass");
    }
}

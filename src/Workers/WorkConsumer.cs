using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Outbox;
using ArmoFlow.Persistence.Steps;
using ArmoFlow.Persistence.Work;
using ArmoFlow.RewardModel;
using ArmoFlow.RewardModel.Features;
using MassTransit;

namespace ArmoFlow.Workers;

/// <summary>
/// What all work on steps shares: an asking that the run has gone past is dropped; bad input fails the step at once, a lost
/// artifact is asked for again, anything else is retried with back-off and then fails the step; a stopped run's work ends
/// without a word, and an ending process puts its work back into the queue.
/// </summary>
public abstract class WorkConsumer<TCommand>(string step, StepServices services) : IConsumer<TCommand>
    where TCommand : StepCommand
{
    private static readonly TimeSpan BusStops = TimeSpan.FromSeconds(1);

    protected StepServices Services { get; } = services;
    protected string Step { get; } = step;

    /// <summary>The work itself. What it sends and enters is committed together when it returns.</summary>
    protected abstract Task Do(ConsumeContext<TCommand> context, StepRun run);

    /// <summary>Tells several pieces of one step's work apart.</summary>
    protected virtual int SlotOf(TCommand command) => 0;

    public async Task Consume(ConsumeContext<TCommand> context)
    {
        TCommand command = context.Message;
        RunSpec? spec;
        try { spec = await Services.Work.SpecOf(command, context.CancellationToken); }
        catch (OtherSpecException e) // no retry helps
        {
            await context.Publish(Failed(command, e.Message, badInput: false));
            return;
        }
        if (spec is null) return;
        WorkInHand work = Services.Running.Begin(command.RunId, Step, SlotOf(command), command.Attempt, context.CancellationToken);
        work.Log.Write(Heading(command, context.ReceiveContext.Redelivered));
        try { await Attempt(context, spec, work); }
        finally
        {
            Services.Running.End(work);
            Instruments.Work.Record(work.Age.TotalSeconds, Instruments.Tag("step", Step),
                Instruments.Tag("outcome", work.Log.Outcome.Text()));
        }
    }

    /// <summary>Does the work, and says what came of it where it fails: to the saga, or by throwing, for another attempt.</summary>
    private async Task Attempt(ConsumeContext<TCommand> context, RunSpec spec, WorkInHand work)
    {
        TCommand command = context.Message;
        try
        {
            await Do(context, new StepRun(Step, command, spec, Services, work.Log, work.Stop.Token));
            work.Log.End(LogOutcome.Done, "this slice of work");
        }
        catch (OperationCanceledException) when (work.Stop.IsCancellationRequested)
        {
            work.Log.End(Services.Running.IsEnding ? LogOutcome.HandedBack : LogOutcome.Stopped,
                Services.Running.IsEnding ? "this process was asked to end; the work goes back to its queue" : "the run was stopped");
            await StartOver(context);
            if (Services.Running.IsEnding) await HandBack(context);
        }
        catch (Exception e) when (AsBadInput(e) is { } bad)
        {
            work.Log.End(LogOutcome.Failed, bad.Message);
            await StartOver(context);
            await context.Publish(Failed(command, bad.Message, badInput: true));
        }
        catch (Exception e) when (AsLost(e) is { } lost)
        {
            work.Log.End(LogOutcome.Failed, lost.Message);
            await StartOver(context);
            await Distrust(context, lost);
        }
        catch (Exception e)
        {
            bool givenUp = context.GetRetryAttempt() >= RetryPolicy.Retries && !DatabaseFault.IsTransient(e);
            work.Log.End(givenUp ? LogOutcome.Failed : LogOutcome.Retried, e.ToString());
            if (!givenUp) throw;
            await StartOver(context);
            await context.Publish(Failed(command, $"{e.GetType().Name}: {e.Message}", badInput: false));
        }
    }

    private string Heading(TCommand command, bool isRedelivered)
    {
        string shard = SlotOf(command) > 0 ? $", shard {SlotOf(command)}" : "";
        string again = isRedelivered ? "; delivered again: the worker before did not answer" : "";
        return $"{Step} of run {command.RunId}, attempt {command.Attempt}, slice {command.Slice}{shard}: process "
            + $"{Environment.ProcessId} on {Environment.MachineName}, armoflow {Services.Worker.Version}, {ComputeType.Hardware}{again}";
    }

    private static async Task HandBack(ConsumeContext<TCommand> context)
    {
        await Task.Delay(BusStops, CancellationToken.None); // or this process would take it up again
        await context.Send(context.ReceiveContext.InputAddress, context.Message);
    }

    /// <summary>Says that an artifact is lost, once its maker's result is forgotten.</summary>
    private static async Task Distrust(ConsumeContext<TCommand> context, ArtifactLostException lost)
    {
        TCommand command = context.Message;
        if (!await TryDistrust(context, lost.Sha256, command)) return;
        await context.Publish(new ArtifactLost
        {
            RunId = command.RunId,
            Attempt = command.Attempt,
            MadeBy = MakerOf(lost.Sha256, command),
            Error = lost.Message
        });
    }

    /// <summary>What failed half-way leaves nothing: only what is said of it afterwards is entered and sent.</summary>
    private static Task StartOver(ConsumeContext context) => context.GetPayload<MessageTransaction>().StartOver();

    /// <summary>Forgets the result of the step that made a lost artifact, so that it is made again when it is next asked for.</summary>
    private static async Task<bool> TryDistrust(ConsumeContext context, string sha256, TCommand command)
    {
        MessageTransaction transaction = context.GetPayload<MessageTransaction>();
        if (!await transaction.TryBegin(context.CancellationToken)) return false;
        bool isShard = command.Inputs.Values.All(i => i.Sha256 != sha256);
        string? table = isShard && command.Inputs.TryGetValue(ArtifactNames.Features, out ArtifactRef? features) ? features.Sha256 : null;
        await StepStore.Distrust(transaction.Database, table is null ? [sha256] : [sha256, table], context.CancellationToken);
        return true;
    }

    private StepFailed Failed(TCommand command, string error, bool badInput) =>
        new() { RunId = command.RunId, Attempt = command.Attempt, Step = Step, Error = error, BadInput = badInput };

    /// <summary>An artifact that is not an input of the step is a shard of features.</summary>
    private static string MakerOf(string sha256, TCommand command) =>
        command.Inputs.FirstOrDefault(i => i.Value.Sha256 == sha256) is { Key: { } name }
            ? StepCatalogue.MakerOf(name)
            : StepNames.Features;

    private static ArtifactLostException? AsLost(Exception e) =>
        e as ArtifactLostException ?? (e is AggregateException { InnerException: { } inner } ? AsLost(inner) : null);

    private InvalidInputException? AsBadInput(Exception e)
    {
        if (e is InvalidInputException bad) return bad;
        if (e is AggregateException { InnerException: { } inner }) return AsBadInput(inner);
        if (DiskFull.Is(e))
        {
            Services.Scratch.SpendReserve();
            return new InvalidInputException(Services.Artifacts.Folder, "no space left on the disk", "room for the run's artifacts",
                "Free some space and run the same command again: it goes on where it stopped.");
        }
        return null;
    }
}

/// <summary>One message at a time for each queue: a step uses the whole machine. Faults of the work are retried with back-off.</summary>
public abstract class StepConsumerDefinition<T> : ConsumerDefinition<T>
    where T : class, IConsumer
{
    protected StepConsumerDefinition(string queue)
    {
        EndpointName = queue;
        ConcurrentMessageLimit = 1;
        Endpoint(endpoint => endpoint.PrefetchCount = 1); // what a worker does not work on is another's to take
    }

    protected override void ConfigureConsumer(IReceiveEndpointConfigurator endpointConfigurator,
        IConsumerConfigurator<T> consumerConfigurator, IRegistrationContext context) =>
        endpointConfigurator.UseMessageRetry(RetryPolicy.Configure);
}

internal static class RetryPolicy
{
    public const int Retries = 4;

    public static void Configure(IRetryConfigurator retry)
    {
        retry.Ignore<Exception>(DatabaseFault.IsTransient); // the bus itself has more patience with these
        retry.Exponential(Retries, TimeSpan.FromMilliseconds(500), TimeSpan.FromSeconds(30), TimeSpan.FromMilliseconds(500));
    }
}

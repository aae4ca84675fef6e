using System.Text.Json;
using ArmoFlow.Contracts;
using ArmoFlow.Persistence.Steps;
using ArmoFlow.RewardModel;
using ArmoFlow.RewardModel.Features;
using MassTransit;
using Microsoft.Data.Sqlite;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Workers;

/// <summary>
/// The glue of all steps: reuse by key, a slice of work, the books, the event. Bad input fails the step at once; anything
/// else is retried with back-off (<see cref="StepConsumerDefinition{T}"/>) and then fails it.
/// </summary>
public abstract class StepConsumer<TCommand, TCompleted>(string step, int version, StepServices services) : IConsumer<TCommand>
    where TCommand : StepCommand
    where TCompleted : StepCompleted, new()
{
    private const int DiskFullError = 28, SqliteFull = 13; // ENOSPC; SQLITE_FULL

    protected StepServices Services { get; } = services;

    /// <summary>Everything that the outputs depend on.</summary>
    protected abstract Task<StepPlan> Plan(StepRun run);

    /// <summary>One slice of the work; null if there is more to do.</summary>
    protected abstract Task<StepOutcome?> Work(StepRun run);

    public async Task Consume(ConsumeContext<TCommand> context)
    {
        TCommand command = context.Message;
        CancellationTokenSource stop = Services.Running.Begin(command.RunId, context.CancellationToken);
        try
        {
            StepRun run = new(step, command, Services, stop.Token);
            StepPlan plan = await Plan(run);
            run.Key = StepRun.KeyOf(step, version, plan.Parameters, plan.Inputs);
            if (await Services.Books.Find(run.Key, stop.Token) is { } known)
            {
                // Found at a later slice, it is this run's own work, finished just before a crash.
                await context.Publish(Completed(command, known, reused: command.Slice == 0));
                return;
            }
            if (await Work(run) is not { } outcome)
            {
                stop.Token.ThrowIfCancellationRequested();
                await context.Send(context.ReceiveContext.InputAddress, (TCommand)((StepCommand)command with { Slice = command.Slice + 1 }));
                return;
            }
            StepResult result = Enter(run, plan, outcome);
            await Services.Books.Enter(result, stop.Token);
            if (Directory.Exists(run.Scratch)) Directory.Delete(run.Scratch, recursive: true);
            await context.Publish(Completed(command, result, reused: false));
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // The saga has moved on, or the process is ending; what is finished is in the books.
        }
        catch (Exception e) when (AsBadInput(e) is { } bad)
        {
            await context.Publish(new StepFailed { RunId = command.RunId, Attempt = command.Attempt, Step = step, Error = bad.Message, BadInput = true });
        }
        catch (Exception e) when (context.GetRetryAttempt() >= RetryPolicy.Retries)
        {
            await context.Publish(new StepFailed { RunId = command.RunId, Attempt = command.Attempt, Step = step, Error = $"{e.GetType().Name}: {e.Message}", BadInput = false });
        }
        finally
        {
            Services.Running.End(command.RunId, stop);
        }
    }

    private StepResult Enter(StepRun run, StepPlan plan, StepOutcome outcome) => new()
    {
        Key = run.Key.Value,
        Step = step,
        Version = version,
        Parameters = JsonSerializer.Serialize(plan.Parameters, StepRun.Json),
        Detail = outcome.Detail,
        Metrics = JsonSerializer.Serialize(outcome.Metrics, StepRun.Json),
        Hardware = ComputeType.Hardware,
        Artifacts =
        [
            .. plan.Inputs.Select(i => new StepArtifact { IsOutput = false, Name = i.Key, Sha256 = i.Value.Sha256, Bytes = i.Value.Bytes }),
            .. outcome.Outputs.Select(o => new StepArtifact { IsOutput = true, Name = o.Key, Sha256 = o.Value.Sha256, Bytes = o.Value.Bytes }),
        ],
    };

    private static TCompleted Completed(TCommand command, StepResult result, bool reused) => new()
    {
        RunId = command.RunId,
        Attempt = command.Attempt,
        StepKey = result.Key,
        Reused = reused,
        Detail = result.Detail,
        Outputs = result.Artifacts.Where(a => a.IsOutput).ToDictionary(a => a.Name, a => new ArtifactRef(a.Sha256, a.Bytes)),
        Metrics = JsonElement.Parse(result.Metrics),
    };

    private InvalidInputException? AsBadInput(Exception e)
    {
        if (e is InvalidInputException bad) return bad;
        if (e is AggregateException { InnerException: { } inner }) return AsBadInput(inner);
        if (e is DbUpdateException { InnerException: { } cause }) return AsBadInput(cause);
        if ((e is IOException && (e.HResult & 0xffff) == DiskFullError) || e is SqliteException { SqliteErrorCode: SqliteFull })
        {
            Services.Scratch.SpendReserve();
            return new InvalidInputException(Services.Artifacts.Folder, "no space left on the disk", "room for the run's artifacts", "Free some space and run the same command again: it goes on where it stopped.");
        }
        return null;
    }
}

/// <summary>One message at a time for each step: a step uses the whole machine. Transient faults are retried with back-off.</summary>
public abstract class StepConsumerDefinition<T> : ConsumerDefinition<T>
    where T : class, IConsumer
{
    protected StepConsumerDefinition(string queue)
    {
        EndpointName = queue;
        ConcurrentMessageLimit = 1;
        Endpoint(endpoint => endpoint.PrefetchCount = 1); // what a worker does not work on is another's to take
    }

    protected override void ConfigureConsumer(IReceiveEndpointConfigurator endpointConfigurator, IConsumerConfigurator<T> consumerConfigurator, IRegistrationContext context) =>
        endpointConfigurator.UseMessageRetry(RetryPolicy.Configure);
}

internal static class RetryPolicy
{
    public const int Retries = 4;

    public static void Configure(IRetryConfigurator retry) => retry.Exponential(Retries, TimeSpan.FromMilliseconds(500), TimeSpan.FromSeconds(30), TimeSpan.FromMilliseconds(500));
}

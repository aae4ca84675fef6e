using System.Text.Json;
using ArmoFlow.Contracts;
using ArmoFlow.Persistence.Outbox;
using ArmoFlow.Persistence.Steps;
using ArmoFlow.Persistence.Work;
using ArmoFlow.RewardModel.Features;
using MassTransit;

namespace ArmoFlow.Workers;

/// <summary>The glue of all steps: reuse by key, a slice of work, the database, the event.</summary>
public abstract class StepConsumer<TCommand, TCompleted>(StepServices services)
    : WorkConsumer<TCommand>(StepCatalogue.Of<TCommand>().Name, services)
    where TCommand : StepCommand
    where TCompleted : StepCompleted, new()
{
    private static readonly int Version = StepCatalogue.Of<TCommand>().Version;

    /// <summary>Everything that the outputs depend on.</summary>
    protected abstract Task<StepPlan> Plan(StepRun run);

    /// <summary>One slice of the work.</summary>
    protected abstract Task<StepWork> Work(StepRun run, ConsumeContext context);

    protected override async Task Do(ConsumeContext<TCommand> context, StepRun run)
    {
        TCommand command = context.Message;
        StepPlan plan = await Plan(run);
        run.Key = StepRun.KeyOf(Step, Version, plan.Parameters, plan.Inputs);
        if (command.Slice == 0)
        {
            run.Log.Write($"step key {run.Key.Value}, version {Version}, parameters "
                + $"{JsonSerializer.Serialize(plan.Parameters, JsonSerializerOptions.Web)}");
        }
        if (await FindOrClaim(run) is not { } found) return;
        if (found.Result is { } known)
        {
            // Found at a later slice, it is this run's own work, finished just before a crash.
            run.Log.Write("found finished in the database");
            await Complete(context, run, known, reused: command.Slice == 0);
            return;
        }
        StepWork work = await Work(run, context);
        run.Cancel.ThrowIfCancellationRequested();
        if (work == StepWork.More)
            await context.Send(context.ReceiveContext.InputAddress, (TCommand)((StepCommand)command with { Slice = command.Slice + 1 }));
        if (work is StepWork.Done done) await Finish(context, run, plan, done);
    }

    /// <summary>Enters what the step made, and tells.</summary>
    private async Task Finish(ConsumeContext<TCommand> context, StepRun run, StepPlan plan, StepWork.Done outcome)
    {
        StepResult result = Result(run, plan, outcome);
        run.Log.Write(result.Detail);
        foreach ((string name, ArtifactRef artifact) in outcome.Outputs)
            run.Log.Write($"made {name}: {artifact.Sha256}, {artifact.Bytes} bytes");
        MessageTransaction transaction = context.GetPayload<MessageTransaction>();
        if (!await transaction.TryBegin(run.Cancel)) return;
        StepResult standing = await Services.Steps.Enter(transaction.Database, result, run.Cancel);
        await Complete(context, run, standing, reused: false);
    }

    /// <summary>
    /// The step's result, if it is in the database, or nothing, if this run is to do the work; null if there is nothing to do now.
    /// </summary>
    private async Task<Finding?> FindOrClaim(StepRun run)
    {
        if (await Services.Steps.Find(run.Key, run.Cancel) is { } known) return new Finding(known);
        switch (await Services.Claims.Take(run.Key, run.Id, run.Attempt, run.Cancel))
        {
            case ClaimOutcome.Superseded:
                run.Log.Write("the run has gone on without this asking");
                return null;
            case ClaimOutcome.Waits:
                run.Log.Write("another run does the same work; this one is asked again when that has ended");
                return null;
            default:
                return new Finding(await Services.Steps.Find(run.Key, run.Cancel)); // finished by another, just before the claim
        }
    }

    /// <summary>Tells the saga, and every other run that waits for the same work, in the transaction that ends the claims on it.</summary>
    private async Task Complete(ConsumeContext<TCommand> context, StepRun run, StepResult result, bool reused)
    {
        MessageTransaction transaction = context.GetPayload<MessageTransaction>();
        if (!await transaction.TryBegin(run.Cancel)) return;
        foreach (StepClaim other in await StepClaims.Finish(transaction.Database, run.Key, run.Id, run.Attempt, run.Cancel))
            await context.Publish(new StepReleased(other.RunId, other.Attempt));
        await context.Publish(Completed(context.Message, result, reused));
        transaction.AfterCommit = () => Services.Scratch.Forget(run.Key, CancellationToken.None);
    }

    private sealed record Finding(StepResult? Result);

    private StepResult Result(StepRun run, StepPlan plan, StepWork.Done outcome) => new()
    {
        Key = run.Key.Value,
        Step = Step,
        Version = Version,
        Parameters = JsonSerializer.Serialize(plan.Parameters, StepRun.Json),
        Detail = outcome.Detail,
        Metrics = JsonSerializer.Serialize(outcome.Metrics, StepRun.Json),
        Hardware = ComputeType.Hardware,
        Artifacts = [
            .. plan.Inputs.Select(i => new StepArtifact { IsOutput = false, Name = i.Key, Sha256 = i.Value.Sha256, Bytes = i.Value.Bytes }),
            .. outcome.Outputs.Select(o => new StepArtifact
            {
                IsOutput = true,
                Name = o.Key,
                Sha256 = o.Value.Sha256,
                Bytes = o.Value.Bytes
            }),
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
}

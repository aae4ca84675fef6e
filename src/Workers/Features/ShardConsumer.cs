using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Features;
using ArmoFlow.Persistence.Features;
using ArmoFlow.Persistence.Outbox;
using ArmoFlow.Persistence.Work;
using ArmoFlow.RewardModel;
using MassTransit;

namespace ArmoFlow.Workers.Features;

public sealed class ShardConsumerDefinition() : StepConsumerDefinition<ShardConsumer>(ExtractShard.Queue);

/// <summary>Extracts one shard. Done twice, by a worker that was thought lost, it changes nothing.</summary>
public sealed class ShardConsumer(
    StepServices services,
    ExtractorCache extractors) : WorkConsumer<ExtractShard>(StepNames.Features, services)
{
    protected override int SlotOf(ExtractShard command) => command.Shard + 1;

    protected override async Task Do(ConsumeContext<ExtractShard> context, StepRun run)
    {
        ExtractShard command = context.Message;
        run.Key = new StepKey(command.StepKey);
        ShardFeatures? features = null;
        if (!await Services.Work.IsFinished(run.Key, command.Shard, run.Cancel))
        {
            if (await ShardPlan.Find(run, command.Plan) is not { } plan)
            {
                await AskForTheStep(context); // it was finished, or is being planned anew
                return;
            }
            string here = await FeatureSpace.DigestOf(plan.Space.Folder, run);
            if (here != plan.Space.Digest)
            {
                throw new InvalidInputException(plan.Space.Folder, $"a backbone with digest {here[..12]} on {Environment.MachineName}",
                    $"{plan.Space.Digest[..12]}, as where the step was planned",
                    "Bring the backbone's files on all machines to the same state.");
            }
            features = await plan.Extract(run, command.Shard, extractors.Get(plan.Space.Folder, plan.Space.Digest, plan.Space.Dtype));
        }
        MessageTransaction transaction = context.GetPayload<MessageTransaction>();
        if (!await transaction.TryBegin(run.Cancel)) return;
        if (features is not null) await FeatureIndex.Enter(transaction.Database, features.Shard, run.Cancel);
        int conversations = features?.Conversations ?? 0;
        switch (await WorkStore.FinishShard(transaction.Database, run.Key, command.Plan, command.Shard, conversations, run.Cancel))
        {
            case ShardOutcome.LastIsDone:
                await context.Send(new Uri($"queue:{StepNames.Features}"), Rest(command));
                break;
            case ShardOutcome.OfNoPlan:
                await AskForTheStep(context);
                break;
            case ShardOutcome.MoreAreOpen:
                break;
        }
    }

    private static ExtractFeatures Rest(ExtractShard command) => new()
    {
        RunId = command.RunId,
        SpecDigest = command.SpecDigest,
        Inputs = command.Inputs,
        Attempt = command.Attempt,
        Slice = 1,
    };

    /// <summary>
    /// A shard that is of no use any more must not be the last that is heard of its run: the saga asks for the step again.
    /// </summary>
    private static Task AskForTheStep(ConsumeContext<ExtractShard> context) =>
        context.Publish(new StepReleased(context.Message.RunId, context.Message.Attempt));
}

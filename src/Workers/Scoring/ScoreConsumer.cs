using ArmoFlow.Contracts.Scoring;
using ArmoFlow.Persistence;
using ArmoFlow.RewardModel;
using ArmoFlow.RewardModel.Scoring;
using ArmoFlow.RewardModel.Text;
using MassTransit;

namespace ArmoFlow.Workers.Scoring;

/// <summary>One batch at a time: it uses the whole machine.</summary>
public sealed class ScoreConsumerDefinition : ConsumerDefinition<ScoreConsumer>
{
    public ScoreConsumerDefinition()
    {
        EndpointName = ScoreResponses.Queue;
        ConcurrentMessageLimit = 1;
        Endpoint(endpoint => endpoint.PrefetchCount = 2);
    }
}

/// <summary>Scores responses on request; what is wrong with one of them is said of that one.</summary>
public sealed class ScoreConsumer(ServedModels models) : IConsumer<ScoreResponses>
{
    private const string Place = "the conversation"; // which one, who asked knows: batches mix the items of many

    public async Task Consume(ConsumeContext<ScoreResponses> context) =>
        await context.RespondAsync(new ResponsesScored(await Score(context.Message, context.CancellationToken)));

    private async Task<ScoredResponse[]> Score(ScoreResponses request, CancellationToken cancel)
    {
        ScoredResponse[] scores = new ScoredResponse[request.Items.Count];
        List<(int Item, EncodedConversation Conversation)> usable = [];
        try
        {
            ConversationScorer scorer = await models.Get(request.Spec, request.Artifacts, cancel);
            Steering? steering = Steering.Parse(request.Steer, scorer.Model.Objectives);
            for (int i = 0; i < scores.Length; i++)
            {
                try { usable.Add((i, scorer.Encode(Read(request.Items[i], scorer), Place))); }
                catch (InvalidInputException e) { scores[i] = Refused(e); }
            }
            Explanation?[] explained =
                scorer.Score([.. usable.Select(u => u.Conversation)], steering, (i, e) => scores[usable[i].Item] = Refused(e), cancel);
            foreach (((int item, _), Explanation? found) in usable.Zip(explained))
            {
                if (found is not null) scores[item] = Answer(found);
            }
        }
        catch (InvalidInputException e) { Array.Fill(scores, Refused(e)); } // the model or the steering is at fault, and with it every item
        Instruments.Scores.Add(usable.Count);
        return scores;
    }

    private static ScoredResponse Answer(Explanation found)
    {
        IEnumerable<ScoredObjective> parts = found.Objectives
            .Select(o => new ScoredObjective(o.Objective, o.Reward, o.DebiasedReward, o.Coefficient, o.Contribution));
        return new ScoredResponse(found.Score, [.. parts]) { Rounding = ScoreDifference.Tolerance * found.Magnitude };
    }

    private static Conversation Read(ScoreItem item, ConversationScorer scorer)
    {
        IEnumerable<Message> turns = item.Messages?.Select(m => new Message(m.Role, m.Content))
            ?? scorer.Tokenizer.Template.Parse(item.Templated ?? "", Place);
        return Conversation.Create(turns, Place);
    }

    private static ScoredResponse Refused(InvalidInputException e) => new(null, [], e.Message);
}

using ArmoFlow.Contracts.Scoring;
using MassTransit;

namespace ArmoFlow.Orchestrator.Scoring;

/// <summary>
/// Sends scoring requests to the workers in batches: at once while few are under way, and otherwise whatever has gathered in the
/// meantime, so that a lone request waits for nobody and many share a forward pass.
/// </summary>
public sealed class ScoreBatcher(IBus bus)
{
    private const int LargestBatch = 64, UnderWay = 4;
    private const long MostCharacters = 2 << 20; // of a message: brokers refuse long ones
    private static readonly RequestTimeout Timeout = RequestTimeout.After(m: 10); // a worker may have a large backbone to load first
    private readonly Dictionary<string, Lane> _lanes = [];

    private sealed class Lane
    {
        public Queue<(ScoreItem Item, TaskCompletionSource<ScoredResponse> Answer)> Waiting { get; } = new();
        public int UnderWay { get; set; }
    }

    /// <summary>Scores of items, in their order.</summary>
    /// <param name="key">Equal for requests that may share a batch: same model, same steering.</param>
    /// <param name="batch">A batch without its items.</param>
    /// <param name="items">The items.</param>
    /// <param name="cancel">Gives up waiting; what was sent is scored all the same.</param>
    public async Task<ScoredResponse[]> Score(string key, ScoreResponses batch, IReadOnlyList<ScoreItem> items, CancellationToken cancel)
    {
        TaskCompletionSource<ScoredResponse>[] answers =
            [.. items.Select(_ => new TaskCompletionSource<ScoredResponse>(TaskCreationOptions.RunContinuationsAsynchronously))];
        lock (_lanes)
        {
            if (!_lanes.TryGetValue(key, out Lane? lane)) _lanes[key] = lane = new Lane();
            for (int i = 0; i < items.Count; i++) lane.Waiting.Enqueue((items[i], answers[i]));
            Drive(key, lane, batch);
        }
        return await Task.WhenAll(answers.Select(a => a.Task)).WaitAsync(cancel);
    }

    private void Drive(string key, Lane lane, ScoreResponses batch)
    {
        while (lane.UnderWay < UnderWay && lane.Waiting.Count > 0)
        {
            List<(ScoreItem Item, TaskCompletionSource<ScoredResponse> Answer)> taken = [];
            long characters = 0;
            while (taken.Count < LargestBatch && lane.Waiting.Count > 0)
            {
                characters += lane.Waiting.Peek().Item.Characters;
                if (taken.Count > 0 && characters > MostCharacters) break;
                taken.Add(lane.Waiting.Dequeue());
            }
            lane.UnderWay++;
            _ = Send(key, lane, batch, taken);
        }
    }

    private async Task Send(string key, Lane lane, ScoreResponses batch,
        List<(ScoreItem Item, TaskCompletionSource<ScoredResponse> Answer)> taken)
    {
        try
        {
            IRequestClient<ScoreResponses> workers =
                bus.CreateRequestClient<ScoreResponses>(new Uri($"queue:{ScoreResponses.Queue}"), Timeout);
            Response<ResponsesScored> response =
                await workers.GetResponse<ResponsesScored>(batch with { Items = [.. taken.Select(t => t.Item)] });
            foreach (((_, TaskCompletionSource<ScoredResponse> answer), ScoredResponse score) in taken.Zip(response.Message.Scores))
                answer.TrySetResult(score);
        }
        catch (Exception e)
        {
            foreach ((_, TaskCompletionSource<ScoredResponse> answer) in taken) answer.TrySetException(e);
        }
        lock (_lanes)
        {
            lane.UnderWay--;
            Drive(key, lane, batch);
            if (lane is { UnderWay: 0, Waiting.Count: 0 }) _lanes.Remove(key);
        }
    }
}

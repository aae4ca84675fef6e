using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Schedules;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Datasets;

namespace ArmoFlow.Orchestrator.Datasets;

/// <summary>Adds, removes and pauses retrain policies; needs no bus.</summary>
public sealed class PolicyService(RetrainPolicyStore store, TimeProvider time)
{
    public async Task<IReadOnlyList<PolicyDocument>> List(CancellationToken cancel) =>
        [.. (await store.List(cancel)).Select(Document)];

    /// <summary>Adds a policy, or puts it in place of the one of its name; what the data sets hold now counts as read.</summary>
    /// <exception cref="DatasetException">The spec reads no data set, or one that is not there.</exception>
    public async Task<PolicyDocument> Put(string name, RunSpec spec, CancellationToken cancel)
    {
        if (!DatasetReference.IsName(name))
            throw new DatasetException($"policy '{name}': expected a name of letters, digits, '-', '_' and '.'.");
        if (spec.Retrain?.Cron is { } cron) _ = new ScheduleTimes(cron, "UTC"); // refused here, not at its first time
        string[] read = [.. DatasetReference.FilesOf(spec)
            .Select(DatasetReference.TryParse)
            .OfType<DatasetReference>()
            .Where(r => r.Version is null)
            .Select(r => r.Name)
            .Distinct()];
        if (read.Length == 0)
        {
            throw new DatasetException(
                $"policy '{name}': the spec reads no data set, so nothing would ever set it off. Name one among its files: dataset:NAME.");
        }
        return Document(await store.Put(name, spec, read, Caller.Current.Name, cancel));
    }

    /// <summary>Pauses a policy, or goes on with it: what has arrived in between counts.</summary>
    /// <exception cref="DatasetException">There is no such policy.</exception>
    public async Task<PolicyDocument> Pause(string name, bool pauses, CancellationToken cancel) =>
        Document(await store.SetPause(name, pauses ? time.GetUtcNow() : null, cancel));

    /// <exception cref="DatasetException">There is no such policy.</exception>
    public Task Remove(string name, CancellationToken cancel) => store.Remove(name, cancel);

    private static PolicyDocument Document(RetrainPolicy p) =>
        new(p.Name, p.Spec.Name, p.Spec.Retrain ?? new RetrainSpec(), p.Versions, p.PausedAt, p.CreatedBy, p.LastRunId, p.LastRunAt);
}

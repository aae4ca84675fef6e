using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Faults;
using ArmoFlow.Contracts.Retention;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Models;
using ArmoFlow.Orchestrator.Runs;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Faults;
using ArmoFlow.Persistence.Outbox;
using ArmoFlow.Persistence.Retention;
using ArmoFlow.Persistence.Runs;
using ArmoFlow.Persistence.Steps;
using ArmoFlow.Persistence.Work;
using Microsoft.Extensions.DependencyInjection;

namespace ArmoFlow.Orchestrator.Clients;

/// <content>Runs, what they made, and who works on them.</content>
public partial class RecordsClient
{
    public virtual Task<Guid> Submit(string spec, string folder, CancellationToken cancel) =>
        Get<RunService>().Submit(SpecReader.Parse(spec, "spec", folder), cancel);

    public async Task<RunDocument> FindRun(Guid id, CancellationToken cancel) =>
        await Get<RunQueries>().Find(id, cancel) ?? throw new UnknownRunException(id);

    public async Task<RunSpec> FindSpec(Guid id, bool withoutForgotten, CancellationToken cancel)
    {
        RunSpec spec = await Get<RunQueries>().FindSpec(id, cancel) ?? throw new UnknownRunException(id);
        return withoutForgotten ? await Get<ForgettingStore>().Apply(spec, cancel) : spec;
    }

    public Task<RunPage> ListRuns(RunFilter filter, CancellationToken cancel) => Get<RunQueries>().List(filter, cancel);

    public virtual async Task<RunDocument> Control(Guid id, RunAction action, CancellationToken cancel) =>
        await Get<RunService>().Control(id, action, cancel) ?? throw new UnknownRunException(id);

    public IAsyncEnumerable<RunEvent> Watch(Guid id, CancellationToken cancel) => Get<RunWatch>().Changes(id, cancel);

    public async Task<RunGates> Gates(Guid id, CancellationToken cancel) =>
        await Get<RunVerdicts>().Of(id, cancel) ?? throw new UnknownRunException(id);

    public async Task<IReadOnlyList<StepLogDocument>> Logs(Guid id, string? step, CancellationToken cancel) =>
        [.. (await Get<StepLogStore>().Of(id, step, cancel)).Select(l => l.ToDocument())];

    public Task<string?> TextOf(StepLogDocument log, CancellationToken cancel) =>
        Get<StepLogStore>().TextOf(new StepLog { Text = log.Text, Sha256 = log.Sha256 }, cancel);

    public async Task CopyArtifact(string sha256, Stream to, CancellationToken cancel)
    {
        await using FileStream from = File.OpenRead(await OpenArtifact(sha256, cancel));
        await from.CopyToAsync(to, cancel);
    }

    /// <summary>Where an artifact's bytes lie on this machine.</summary>
    public async Task<string> OpenArtifact(string sha256, CancellationToken cancel)
    {
        try { return await Get<ArtifactStore>().Open(sha256, cancel); }
        catch (ArtifactLostException e) { throw new ArtifactGoneException(await Get<TombstoneStore>().Explain(e, cancel)); }
    }

    public Task<IReadOnlyList<LineageStep>> Trace(string sha256, LineageDirection direction, Guid? run, CancellationToken cancel) =>
        Get<Lineage>().Trace(sha256, direction, run, cancel);

    public Task<IReadOnlyList<UsedBy>> UsersOf(string conversation, CancellationToken cancel) =>
        Get<ForgettingStore>().Users(ExclusionKind.Conversation, conversation, cancel);

    public async Task<IReadOnlyList<WorkerDocument>> Workers(CancellationToken cancel) =>
        [.. (await Get<WorkStore>().Workers(cancel)).Select(w => w.ToDocument())];

    public Task<IReadOnlyList<FaultGroup>> FaultGroups(CancellationToken cancel) => Get<FaultStore>().Groups(cancel);

    public async Task<IReadOnlyList<FaultDocument>> Faults(string which, CancellationToken cancel) =>
        [.. (await Get<FaultStore>().Find(which, cancel)).Select(f => f.ToDocument())];

    public async Task<int> Decide(string which, FaultDecision decision, CancellationToken cancel)
    {
        int count = await Get<FaultStore>().Decide(which, decision, cancel);
        Services.GetService<OutboxSignal>()?.Raise();
        return count;
    }
}

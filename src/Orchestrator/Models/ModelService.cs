using System.Text.Json;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Runs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Models;
using ArmoFlow.Persistence.Runs;

namespace ArmoFlow.Orchestrator.Models;

/// <summary>A promotion that was asked for: what the gates said, and what came of it.</summary>
/// <param name="Model">The model.</param>
/// <param name="Alias">The alias.</param>
/// <param name="Version">The version that the alias was to mean.</param>
/// <param name="Promoted">True if it does now.</param>
/// <param name="Forced">True if it does although a gate did not hold.</param>
/// <param name="Verdicts">Of each gate of the version's own spec.</param>
/// <param name="Waiting">Who has asked for it, while it waits for others to ask too (promotion.approvals).</param>
public sealed record Promotion(string Model, string Alias, int Version, bool Promoted, bool Forced, IReadOnlyList<GateVerdict> Verdicts, IReadOnlyList<string>? Waiting = null);

/// <summary>A version with the figures that promotions look at.</summary>
public sealed record VersionDocument(ModelVersion Version, double? Score, double? HeldOutAccuracy, IReadOnlyList<string> Aliases);

/// <summary>Promotes versions that pass their gates.</summary>
public sealed class ModelService(ModelRegistry registry, RunQueries runs, ArtifactStore artifacts, TimeProvider time)
{
    /// <summary>Runs the gates and lets the alias mean the version if all hold, or if it is forced with a reason.</summary>
    /// <exception cref="RegistryException">There is no such model or version, or force without a reason.</exception>
    public async Task<Promotion> Promote(string reference, string alias, bool force, string? reason, CancellationToken cancel)
    {
        if (force && string.IsNullOrWhiteSpace(reason)) throw new RegistryException("a forced promotion needs a reason: --reason TEXT.");
        ModelVersion candidate = await registry.Resolve(reference, cancel);
        IReadOnlyList<GateVerdict> verdicts = await Judge(candidate, alias, cancel);
        bool holds = verdicts.All(v => v.Holds);
        if (!holds && !force)
        {
            await registry.NoteRefusal(candidate, alias, verdicts, cancel);
            return new Promotion(candidate.Model, alias, candidate.Version, false, false, verdicts);
        }
        int needed = (await runs.FindSpec(candidate.RunId, cancel))?.Promotion?.Approvals ?? 1;
        if (needed > 1)
        {
            IReadOnlyList<string> asked = await registry.Approve(candidate, alias, reason, cancel);
            if (asked.Count < needed) return new Promotion(candidate.Model, alias, candidate.Version, false, false, verdicts, asked);
        }
        await registry.Point(candidate, alias, reason, verdicts, holds ? "model.promoted" : "model.forced", cancel);
        return new Promotion(candidate.Model, alias, candidate.Version, true, !holds, verdicts);
    }

    /// <summary>What the gates would say.</summary>
    public async Task<IReadOnlyList<GateVerdict>> Judge(ModelVersion candidate, string alias, CancellationToken cancel)
    {
        RunSpec? spec = await runs.FindSpec(candidate.RunId, cancel);
        if (spec?.Promotion is not { } gates) return [];
        AliasPeriod? now = await registry.Current(candidate.Model, alias, cancel);
        ModelVersion? champion = now is null || now.Version == candidate.Version ? null : (await registry.Versions(candidate.Model, cancel)).Single(v => v.Version == now.Version);
        return PromotionGates.Judge(gates, await Open(candidate, cancel), champion is null ? null : await Open(champion, cancel));
    }

    /// <summary>What the gates of an evaluation, else those of the model's own spec, say of what it found; sections are compared with those of the run that made the model.</summary>
    public async Task<IReadOnlyList<GateVerdict>> JudgeEvaluation(RunState evaluation, CancellationToken cancel)
    {
        ModelVersion version = await registry.Resolve(evaluation.Spec.Model!, cancel);
        PromotionSpec? gates = evaluation.Spec.Promotion ?? (await runs.FindSpec(version.RunId, cancel))?.Promotion;
        return gates is null ? [] : PromotionGates.Judge(gates, await Open(evaluation.ToDocument(_ => null, time.GetUtcNow()), cancel), await Open(version, cancel));
    }

    public async Task<IReadOnlyList<VersionDocument>> Versions(string model, CancellationToken cancel)
    {
        IReadOnlyList<ModelVersion> versions = await registry.Versions(model, cancel);
        if (versions.Count == 0) throw new RegistryException($"no model '{model}'. See: armoflow models list.", Refusal.Missing);
        ILookup<int, string> aliases = (await registry.History(model, cancel)).Where(p => p.KnownUntil is null && p.ValidUntil is null).ToLookup(p => p.Version, p => p.Alias);
        List<VersionDocument> documents = [];
        foreach (ModelVersion version in versions)
        {
            RunDocument? run = await runs.Find(version.RunId, cancel);
            documents.Add(new VersionDocument(version, PromotionGates.Score(run), PromotionGates.HeldOut(run), [.. aliases[version.Version]]));
        }
        return documents;
    }

    private async Task<JudgedRun> Open(ModelVersion version, CancellationToken cancel) =>
        await Open(await runs.Find(version.RunId, cancel) ?? throw new RegistryException($"version {version.Version} of {version.Model}: its run {version.RunId} is not in the books."), cancel);

    private async Task<JudgedRun> Open(RunDocument run, CancellationToken cancel)
    {
        if (!run.Artifacts.TryGetValue(ArtifactNames.BenchmarkOutcomes, out ArtifactDocument? outcomes)) return new JudgedRun(run, null);
        await using FileStream stream = File.OpenRead(await artifacts.Open(outcomes.Sha256, cancel));
        return new JudgedRun(run, await JsonSerializer.DeserializeAsync<Dictionary<string, string>>(stream, cancellationToken: cancel));
    }
}

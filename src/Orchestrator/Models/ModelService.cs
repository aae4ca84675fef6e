using System.Text.Json;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Features;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Models;
using ArmoFlow.Persistence.Retention;
using ArmoFlow.Persistence.Runs;

namespace ArmoFlow.Orchestrator.Models;

/// <summary>
/// Promotes versions that pass their gates: those of the model's policy and of the version's own spec, whichever is stricter.
/// </summary>
public sealed class ModelService(ModelRegistry registry, PolicyStore policies, BackboneStore backbones, TombstoneStore tombstones,
    RunQueries runs, ArtifactStore artifacts, TimeProvider time)
{
    /// <summary>Runs the gates and lets the alias mean the version if all hold, or if it is forced with a reason.</summary>
    /// <exception cref="RegistryException">There is no such model or version, it cannot be scored, force has no reason, or the policy
    /// leaves it to others.</exception>
    public async Task<Promotion> Promote(string reference, string alias, bool force, string? reason, CancellationToken cancel)
    {
        if (force && string.IsNullOrWhiteSpace(reason)) throw new RegistryException("a forced promotion needs a reason: --reason TEXT.");
        ModelVersion candidate = await registry.Resolve(reference, cancel);
        PolicySpec? policy = (await policies.Current(candidate.Model, cancel))?.Policy;
        RequirePromoter(candidate.Model, policy, force);
        await RequireUsable(candidate, cancel);
        PromotionSpec? gates = PromotionSpec.Stricter(policy, await OwnGates(candidate, cancel));
        IReadOnlyList<GateVerdict> verdicts = await Judge(candidate, alias, gates, cancel);
        bool holds = verdicts.All(v => v.Holds);
        if (!holds && !force)
        {
            await registry.NoteRefusal(candidate, alias, verdicts, cancel);
            return new Promotion(candidate.Model, alias, candidate.Version, false, false, verdicts);
        }
        if (!holds) await RequireMayForce(candidate, alias, policy, cancel);
        int needed = gates?.Approvals ?? 1;
        if (needed > 1)
        {
            IReadOnlyList<string> asked = await registry.Approve(candidate, alias, reason, cancel);
            if (asked.Count < needed) return new Promotion(candidate.Model, alias, candidate.Version, false, false, verdicts, asked);
        }
        await registry.MoveAlias(candidate, alias, reason, verdicts, holds ? "model.promoted" : "model.forced", cancel);
        return new Promotion(candidate.Model, alias, candidate.Version, true, !holds, verdicts);
    }

    /// <summary>Lets an alias mean again what it meant before, or a version further back.</summary>
    /// <param name="model">The model.</param>
    /// <param name="alias">The alias.</param>
    /// <param name="to">The version; null for the one before.</param>
    /// <param name="reason">Why.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="RegistryException">There is nothing to go back to, or what there is cannot be scored.</exception>
    public async Task<AliasPeriod> RollBack(string model, string alias, int? to, string? reason, CancellationToken cancel)
    {
        await RequireUsable(await registry.Before(model, alias, to, cancel), cancel);
        return await registry.RollBack(model, alias, reason, cancel, to);
    }

    /// <summary>What the gates would say: those of the model's policy and of the version's spec.</summary>
    public async Task<IReadOnlyList<GateVerdict>> Judge(ModelVersion candidate, string alias, CancellationToken cancel) =>
        await Judge(candidate, alias, await Gates(candidate, cancel), cancel);

    /// <summary>
    /// What the gates of an evaluation, else those of the model's own spec, and its policy's, say of what it found; sections are compared
    /// with those of the run that made the model.
    /// </summary>
    public async Task<IReadOnlyList<GateVerdict>> JudgeEvaluation(RunState evaluation, CancellationToken cancel)
    {
        ModelVersion version = await registry.Resolve(evaluation.Spec.Model!, cancel);
        PolicySpec? policy = (await policies.Current(version.Model, cancel))?.Policy;
        PromotionSpec? gates = PromotionSpec.Stricter(policy, evaluation.Spec.Promotion ?? await OwnGates(version, cancel));
        RunDocument found = evaluation.ToDocument(_ => null, time.GetUtcNow());
        GateVerdict[] signal = PromotionGates.NoSignal(found) is { } none ? [none] : [];
        if (gates is null) return signal;
        return [.. signal, .. PromotionGates.Judge(gates, await Open(found, cancel), await Open(version, cancel))];
    }

    /// <summary>
    /// What the gates say of the version that a run made, held against what the alias champion means now; null for a run that made none.
    /// </summary>
    public async Task<RunGates?> JudgeRun(Guid run, CancellationToken cancel)
    {
        if (await registry.MadeBy(run, cancel) is not { } version) return null;
        IReadOnlyList<GateVerdict> verdicts = await Judge(version, ModelRegistry.Champion, cancel);
        return new RunGates(run, true, verdicts.All(v => v.Holds), verdicts);
    }

    /// <summary>
    /// The alias that a rule gives a version, without anybody asking, and whose rule it is; null where somebody must ask.
    /// </summary>
    public async Task<(string Alias, bool IsOfPolicy)?> RuleOf(ModelVersion version, CancellationToken cancel)
    {
        PolicySpec? policy = (await policies.Current(version.Model, cancel))?.Policy;
        return PolicySpec.RuleOf(policy, await OwnGates(version, cancel)) is { } alias ? (alias, policy?.Automatic is not null) : null;
    }

    public async Task<IReadOnlyList<VersionDocument>> Versions(string model, CancellationToken cancel)
    {
        IReadOnlyList<ModelVersion> versions = await registry.Versions(model, cancel);
        if (versions.Count == 0) throw new RegistryException($"no model '{model}'. See: armoflow models list.", Refusal.Missing);
        ILookup<int, string> aliases = (await registry.History(model, cancel))
            .Where(p => p.KnownUntil is null && p.ValidUntil is null)
            .ToLookup(p => p.Version, p => p.Alias);
        List<VersionDocument> documents = [];
        foreach (ModelVersion version in versions)
        {
            RunDocument? run = await runs.Find(version.RunId, cancel);
            IReadOnlyList<string> missing = await Missing(version, run, isThorough: false, cancel);
            documents.Add(new VersionDocument(version.ToDocument(), PromotionGates.Score(run), PromotionGates.HeldOut(run),
                [.. aliases[version.Version]], missing.Count == 0, missing, run is null ? null : RunSignal.Missing(run.Metrics)));
        }
        return documents;
    }

    /// <summary>Refuses a version that could not be scored with, and says why.</summary>
    /// <exception cref="RegistryException">A part of it, or its backbone, is not there.</exception>
    public async Task RequireUsable(ModelVersion version, CancellationToken cancel)
    {
        IReadOnlyList<string> missing = await Missing(version, await runs.Find(version.RunId, cancel), isThorough: true, cancel);
        if (missing.Count > 0)
            throw new RegistryException($"{version.Model}@{version.Version} cannot be scored with: {string.Join("; ", missing)}.");
    }

    /// <summary>Enters where a version's backbone lies now.</summary>
    /// <param name="reference">NAME, NAME@ALIAS or NAME@VERSION.</param>
    /// <param name="folder">As the workers see it too.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="RegistryException">There is another backbone, or none.</exception>
    public async Task<PlacedBackbone> PlaceBackbone(string reference, string folder, CancellationToken cancel)
    {
        if (string.IsNullOrWhiteSpace(folder))
        {
            throw new RegistryException("no path; expected the folder that the backbone lies in now.", Refusal.Unusable);
        }
        ModelVersion version = await registry.Resolve(reference, cancel);
        RunDocument? run = await runs.Find(version.RunId, cancel);
        string digest = await BackboneOf(run, cancel)
            ?? throw new RegistryException($"{version.Model}@{version.Version}: its features' report, which names its backbone, is gone. "
                + "Run its spec again, with the backbone's new path.");
        return new PlacedBackbone(version.Model, digest,
            await backbones.Place($"{version.Model}@{version.Version}", digest, folder, cancel));
    }

    private static void RequirePromoter(string model, PolicySpec? policy, bool isForced)
    {
        if (policy is null || policy.Promoters.Count == 0 || policy.Promoters.Contains(Caller.Current.Person)) return;
        if (isForced && Caller.Current.Scope == Scope.Admin) return;
        throw new RegistryException($"{Caller.Current.Person} may not promote versions of '{model}'; its policy names "
            + $"{string.Join(", ", policy.Promoters)}. Ask one of them. See: armoflow models policy show {model}.",
            Refusal.Forbidden);
    }

    /// <summary>
    /// Past the gates of its own spec a version is forced by whoever may promote; past those of the policy by an administrator.
    /// </summary>
    private async Task RequireMayForce(ModelVersion candidate, string alias, PolicySpec? policy, CancellationToken cancel)
    {
        if (policy is null || Caller.Current.Scope == Scope.Admin) return;
        IReadOnlyList<GateVerdict> verdicts = await Judge(candidate, alias, policy, cancel);
        GateVerdict[] refusing = [.. verdicts.Where(v => v is { Holds: false, Gate: not PromotionGates.Signal })];
        if (refusing.Length == 0) return;
        throw new RegistryException($"the policy of '{candidate.Model}' refuses {candidate.Model}@{candidate.Version}: "
            + $"{string.Join("; ", refusing.Select(v => v.Detail))}. Only a key of scope Admin forces past a policy.",
            Refusal.Forbidden);
    }

    private async Task<PromotionSpec?> Gates(ModelVersion version, CancellationToken cancel) =>
        PromotionSpec.Stricter((await policies.Current(version.Model, cancel))?.Policy, await OwnGates(version, cancel));

    private async Task<PromotionSpec?> OwnGates(ModelVersion version, CancellationToken cancel) =>
        version.Gates ?? (await runs.FindSpec(version.RunId, cancel))?.Promotion;

    private async Task<IReadOnlyList<GateVerdict>> Judge(ModelVersion candidate, string alias, PromotionSpec? gates,
        CancellationToken cancel)
    {
        GateVerdict[] signal = PromotionGates.NoSignal(await runs.Find(candidate.RunId, cancel)) is { } none ? [none] : [];
        if (gates is null) return signal;
        AliasPeriod? now = await registry.At(candidate.Model, alias, time.GetUtcNow(), null, cancel);
        ModelVersion? champion = now is null || now.Version == candidate.Version ? null
            : (await registry.Versions(candidate.Model, cancel)).Single(v => v.Version == now.Version);
        return [
            .. signal,
            .. PromotionGates.Judge(gates, await Open(candidate, cancel), champion is null ? null : await Open(champion, cancel))
        ];
    }

    /// <summary>What scoring with a version would look for in vain.</summary>
    /// <param name="version">The version.</param>
    /// <param name="run">The run that made it.</param>
    /// <param name="isThorough">True to read the parts, and find what was altered.</param>
    /// <param name="cancel">Gives up.</param>
    private async Task<IReadOnlyList<string>> Missing(ModelVersion version, RunDocument? run, bool isThorough, CancellationToken cancel)
    {
        if (run is null) return [$"its run {version.RunId} is not in the database"];
        List<string> missing = [];
        foreach (string part in ModelRegistry.Parts)
        {
            if (!run.Artifacts.TryGetValue(part, out ArtifactDocument? artifact)) missing.Add($"its run made no {part}");
            else if (!await IsThere(artifact.Sha256, isThorough,
                cancel)) missing.Add($"its {part} {await WhyGone(artifact.Sha256, cancel)}");
        }
        if (missing.Count > 0)
        {
            missing[^1] += $". Run the spec of run {version.RunId} again: what it makes anew is this version again";
            return missing;
        }
        if (await MissingBackbone(version, run, cancel) is { } backbone) missing.Add(backbone);
        return missing;
    }

    private async Task<bool> IsThere(string sha256, bool isThorough, CancellationToken cancel)
    {
        if (!isThorough) return await artifacts.Has(sha256, cancel);
        try { return (await artifacts.Open(sha256, cancel)).Length > 0; }
        catch (ArtifactLostException) { return false; }
    }

    private async Task<string> WhyGone(string sha256, CancellationToken cancel) =>
        await tombstones.Find(sha256, cancel) is { } tombstone ? $"was removed on {tombstone.At.UtcDateTime:yyyy-MM-dd} ({tombstone.Why})"
            : "is not in the store, or was altered there";

    /// <summary>Only a workspace's process sees what its workers see; of servers' workers nothing is said.</summary>
    private async Task<string?> MissingBackbone(ModelVersion version, RunDocument run, CancellationToken cancel)
    {
        if (!backbones.SeesWhatWorkersSee || await runs.FindSpec(version.RunId, cancel) is not { } spec) return null;
        string recorded = Path.GetFullPath(Path.Combine(spec.Folder, spec.Backbone.Path));
        if (BackboneStore.IsThere(recorded) || await BackboneOf(run, cancel) is not { } digest) return null;
        return BackboneStore.IsThere(await backbones.Locate(recorded, digest, cancel)) ? null
            : $"its backbone is no longer in {recorded}. Say where it lies now: armoflow models backbone "
                + $"{version.Model}@{version.Version} PATH";
    }

    /// <summary>The digest of the backbone that a run's features came from; null where the report that says so is gone.</summary>
    private async Task<string?> BackboneOf(RunDocument? run, CancellationToken cancel)
    {
        if (run?.Artifacts.GetValueOrDefault(ArtifactNames.FeaturesReport) is not { } report) return null;
        try
        {
            await using FileStream stream = File.OpenRead(await artifacts.Open(report.Sha256, cancel));
            return (await JsonSerializer.DeserializeAsync<FeaturesReport>(stream, JsonSerializerOptions.Web, cancel))?.BackboneDigest;
        }
        catch (Exception e) when (e is ArtifactLostException or JsonException) { return null; }
    }

    private async Task<JudgedRun> Open(ModelVersion version, CancellationToken cancel) =>
        await Open(await runs.Find(version.RunId, cancel)
            ?? throw new RegistryException(
                $"version {version.Version} of {version.Model}: its run {version.RunId} is not in the database."),
            cancel);

    private async Task<JudgedRun> Open(RunDocument run, CancellationToken cancel)
    {
        if (!run.Artifacts.TryGetValue(ArtifactNames.BenchmarkOutcomes, out ArtifactDocument? outcomes)) return new JudgedRun(run, null);
        await using FileStream stream = File.OpenRead(await artifacts.Open(outcomes.Sha256, cancel));
        return new JudgedRun(run, await JsonSerializer.DeserializeAsync<Dictionary<string, string>>(stream, cancellationToken: cancel));
    }
}


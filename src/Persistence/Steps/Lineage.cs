using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Persistence.Audit;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Persistence.Steps;

/// <summary>What an artifact was made from, and what was made from it.</summary>
public sealed class Lineage(IDbContextFactory<ArmoFlowDbContext> contexts)
{
    private const int MostSteps = 1000;

    /// <summary>Level by level, each step once, nearest first; a thousand steps at most.</summary>
    /// <param name="sha256">The artifact, or a file that was read.</param>
    /// <param name="direction">Whether to what it was made from, or to what was made from it.</param>
    /// <param name="run">Only the steps that this run went by; all if null. Equal bytes may have been made by several.</param>
    /// <param name="cancel">Gives up.</param>
    public async Task<IReadOnlyList<LineageStep>> Trace(string sha256, LineageDirection direction, Guid? run,
        CancellationToken cancel)
    {
        bool up = direction == LineageDirection.Up;
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        HashSet<string?>? own = run is { } id
            ? [.. (await db.Runs.Where(r => r.CorrelationId == id)
                .Select(r => r.Steps)
                .SingleOrDefaultAsync(cancel) ?? []).Select(s => s.Key)]
            : null;
        List<LineageStep> found = [];
        Dictionary<string, string> redacted = await db.Tombstones.Where(t => t.ReplacedBy != null).ToDictionaryAsync(t => t.Sha256, t =>
            t.ReplacedBy!, cancel);
        HashSet<string> seen = [], front = [sha256, .. Before(sha256, redacted)];
        for (int distance = 0; front.Count > 0 && found.Count < MostSteps; distance++)
        {
            List<string> keys = await db.StepArtifacts.Where(a => a.IsOutput == up && front.Contains(a.Sha256))
                .Select(a => a.Key)
                .Distinct()
                .Take(MostSteps)
                .ToListAsync(cancel);
            keys.RemoveAll(k => own?.Contains(k) == false || !seen.Add(k));
            List<StepResult> steps = await db.StepResults.AsNoTracking()
                .Include(r => r.Artifacts)
                .Where(r => keys.Contains(r.Key))
                .OrderBy(r => r.CreatedAt)
                .ToListAsync(cancel);
            found.AddRange(steps.Select(s =>
                new LineageStep(distance, s.Key, s.Step, s.Version, s.Parameters, s.Hardware, s.CreatedAt,
                    [.. s.Artifacts.Where(a => !a.IsOutput).Select(a => a.ToDocument())],
                    [.. s.Artifacts.Where(a => a.IsOutput).Select(a => a.ToDocument())])
                {
                    Redacted =
                        s.Artifacts.Select(a => a.Sha256).Distinct().Where(redacted.ContainsKey).ToDictionary(a => a, a => redacted[a]),
                }));
            front = [.. steps.SelectMany(s => s.Artifacts).Where(a => a.IsOutput != up).Select(a => a.Sha256)];
        }
        return await Proved(db, found, cancel);
    }

    /// <summary>The steps with what vouches for each: its row, and those of all that it read and wrote.</summary>
    private static async Task<IReadOnlyList<LineageStep>> Proved(ArmoFlowDbContext db, List<LineageStep> steps, CancellationToken cancel)
    {
        object[][] keys = [.. steps.Select(s => new object[] { s.Key })];
        IReadOnlyList<RowProof> results = await RowProofs.Of<StepResult>(db, keys, cancel), artifacts =
            await RowProofs.Of<StepArtifact>(db, keys, cancel);
        return [.. steps.Select((step, i) =>
        {
            RowProof proof = step.Inputs.Count + step.Outputs.Count == 0 ? results[i] : RowProof.Of([results[i], artifacts[i]]);
            return step with { ProvedBy = proof.ProvedBy, Disagrees = proof.Disagrees };
        })];
    }

    /// <summary>What a table was before rows were taken out of it: the steps know it under that hash.</summary>
    private static IEnumerable<string> Before(string sha256, Dictionary<string, string> redacted) =>
        redacted.Where(r => r.Value == sha256).SelectMany(r => Before(r.Key, redacted).Prepend(r.Key));
}

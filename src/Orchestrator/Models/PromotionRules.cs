using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Models;
using ArmoFlow.Persistence.Runs;
using Microsoft.Extensions.Logging;

namespace ArmoFlow.Orchestrator.Models;

/// <summary>
/// Promotes new versions whose spec, or whose model's policy, says so (automatic) and whose gates all hold; of one that is refused
/// somebody is told. It may be called at any time and by several: a version that an alias has ever meant is not promoted again,
/// whoever rolled it back.
/// </summary>
public sealed class PromotionRules(ModelService models, ModelRegistry registry, RunQueries runs, ILogger<PromotionRules> log)
{
    private const string OfSpec = "the rule of its spec (promotion.automatic)", OfPolicy = "the rule of the model's policy (automatic)";

    /// <summary>Holds the rules against the versions that wait for it.</summary>
    public async Task ApplyPending(CancellationToken cancel)
    {
        Caller.Current = Caller.System; // the rule's doing, whoever had the run made
        foreach (ModelVersion version in await registry.Awaiting(cancel))
        {
            try { await Apply(version, version.AwaitsAlias!, cancel); }
            catch (Exception e) when (!cancel.IsCancellationRequested)
            {
                // The others do not wait for it.
                log.LogWarning("{Model}@{Version} cannot be judged: {Message}; trying again", version.Model, version.Version, e.Message);
            }
        }
    }

    private async Task Apply(ModelVersion version, string awaited, CancellationToken cancel)
    {
        if (await models.RuleOf(version, cancel) is not ({ } alias, var isOfPolicy))
        {
            await Refuse(version, awaited, [], "the model's policy wants people to promote it (armoflow models policy show)", cancel);
            return;
        }
        IReadOnlyList<GateVerdict> verdicts = await models.Judge(version, alias, cancel);
        if (!verdicts.All(v => v.Holds))
        {
            await Refuse(version, alias, verdicts, string.Join("; ", verdicts.Where(v => !v.Holds).Select(v => v.Detail)), cancel);
            return;
        }
        bool wasPromoted = (await registry.History(version.Model, cancel)).Any(p => p.Alias == alias && p.Version == version.Version);
        if (!wasPromoted)
        {
            await models.RequireUsable(version, cancel);
            await registry.MoveAlias(version, alias, isOfPolicy ? OfPolicy : OfSpec, verdicts, "model.promoted", cancel);
        }
        await registry.SettleRule(version, cancel);
    }

    private async Task Refuse(ModelVersion version, string alias, IReadOnlyList<GateVerdict> verdicts, string why,
        CancellationToken cancel)
    {
        RunSpec? spec = await runs.FindSpec(version.RunId, cancel);
        string text = $"{version.Model}@{version.Version} was not promoted to {alias}: {why}";
        log.LogWarning("alert: {Text}", text);
        await registry.RefuseByRule(version, alias, verdicts, text, spec?.Alerts?.Webhook, cancel);
    }
}

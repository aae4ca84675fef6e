using System.Text.Json;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Orchestrator.Models;
using ArmoFlow.Persistence.Alerts;
using ArmoFlow.Persistence.Runs;
using Microsoft.Extensions.Logging;

namespace ArmoFlow.Orchestrator.Alerts;

/// <summary>
/// Holds what evaluations of stored models found against the gates: those of the evaluation's spec, else those of the model's.
/// </summary>
public sealed class EvaluationJudge(
    RunStore runs,
    ModelService models,
    AlertStore store,
    TimeProvider time,
    ILogger<EvaluationJudge> log)
{
    public async Task JudgePending(CancellationToken cancel)
    {
        foreach (Guid run in await store.Pending(cancel))
        {
            try { await Judge(run, cancel); }
            catch (Exception e) when (!cancel.IsCancellationRequested)
            {
                // The others, and their alerts, do not wait for it.
                log.LogWarning("evaluation {Run} cannot be judged: {Message}; trying again", run, e.Message);
            }
        }
    }

    private async Task Judge(Guid id, CancellationToken cancel)
    {
        RunState run = (await runs.Find(id, cancel))!;
        ModelEvaluation evaluation = await store.Evaluation(id, cancel);
        IReadOnlyList<GateVerdict> verdicts = run.Error is null ? await models.JudgeEvaluation(run, cancel) : [];
        RunDocument document = run.ToDocument(_ => null, time.GetUtcNow());
        evaluation.Score = PromotionGates.Score(document);
        evaluation.HeldOutAccuracy = PromotionGates.HeldOut(document);
        evaluation.Holds = run.Error is null && verdicts.All(v => v.Holds);
        evaluation.Verdicts = JsonSerializer.Serialize(verdicts, JsonSerializerOptions.Web);
        string text = run.Error is { } error
            ? $"{run.Spec.Model} could not be evaluated: {error}"
            : $"{run.Spec.Model} is below its gates: {string.Join("; ", verdicts.Where(v => !v.Holds).Select(v => v.Detail))}";
        if (evaluation.Holds == false) log.LogWarning("alert: {Text} (run {Run})", text, id);
        await store.Judge(evaluation, run.Spec.Alerts?.Webhook, text, cancel);
    }
}

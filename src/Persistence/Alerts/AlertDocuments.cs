using ArmoFlow.Contracts.Documents;

namespace ArmoFlow.Persistence.Alerts;

/// <summary>Rows as HTTP and <c>--json</c> show them.</summary>
public static class AlertDocuments
{
    public static ModelEvaluationDocument ToDocument(this ModelEvaluation evaluation) => new()
    {
        RunId = evaluation.RunId,
        Model = evaluation.Model,
        Version = evaluation.Version,
        At = evaluation.At,
        Score = evaluation.Score,
        HeldOutAccuracy = evaluation.HeldOutAccuracy,
        Holds = evaluation.Holds,
        Verdicts = evaluation.Verdicts,
        Error = evaluation.Error,
    };

    public static ModelAlertDocument ToDocument(this Alert alert) => new()
    {
        Id = alert.Id,
        Kind = alert.Kind,
        RunId = alert.RunId,
        Model = alert.Model,
        Version = alert.Version,
        RaisedAt = alert.RaisedAt,
        Text = alert.Text,
        Webhook = alert.Webhook,
        Attempts = alert.Attempts,
        NextAttemptAt = alert.NextAttemptAt,
        DeliveredAt = alert.DeliveredAt,
        LastError = alert.LastError,
    };
}

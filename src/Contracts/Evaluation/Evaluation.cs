namespace ArmoFlow.Contracts.Evaluation;

/// <summary>Evaluates the model and its baselines, and writes the run's report.</summary>
public sealed record EvaluateModel : StepCommand;

/// <summary>Outputs: evaluation (JSON), report (Markdown).</summary>
public sealed record ModelEvaluated : StepCompleted;

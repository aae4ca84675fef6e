namespace ArmoFlow.Contracts.Decorrelation;

/// <summary>Finds the penalties that take verbosity out of each objective.</summary>
public sealed record FitDecorrelation : StepCommand;

/// <summary>Outputs: decorrelation (safetensors: penalties, reward_transform_matrix), decorrelation-report (JSON).</summary>
public sealed record DecorrelationFitted : StepCompleted;

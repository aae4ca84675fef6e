namespace ArmoFlow.Contracts.Regression;

/// <summary>Fits one linear reward for each objective.</summary>
public sealed record FitRegression : StepCommand;

/// <summary>Outputs: regression (safetensors: weight), regression-report (JSON).</summary>
public sealed record RegressionFitted : StepCompleted;

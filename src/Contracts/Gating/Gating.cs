namespace ArmoFlow.Contracts.Gating;

/// <summary>Trains the gate on preference pairs.</summary>
public sealed record TrainGating : StepCommand;

/// <summary>Outputs: gating (safetensors: gating.*), gating-report (JSON).</summary>
public sealed record GatingTrained : StepCompleted;

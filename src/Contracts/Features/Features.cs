namespace ArmoFlow.Contracts.Features;

/// <summary>Extracts f(x⊕y) and f(x) of every conversation not extracted before.</summary>
public sealed record ExtractFeatures : StepCommand;

/// <summary>Outputs: features (Parquet: where each conversation's and each prompt's vector lies), features-report (JSON).</summary>
public sealed record FeaturesExtracted : StepCompleted;

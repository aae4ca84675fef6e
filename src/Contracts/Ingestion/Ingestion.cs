namespace ArmoFlow.Contracts.Ingestion;

/// <summary>Reads every source of the spec into one canonical data set.</summary>
public sealed record IngestData : StepCommand;

/// <summary>Outputs: conversations, ratings, preferences, benchmark (Parquet), ingestion-report (JSON).</summary>
public sealed record DataIngested : StepCompleted;

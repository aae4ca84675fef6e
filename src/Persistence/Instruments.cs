using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace ArmoFlow.Persistence;

/// <summary>What ArmoFlow measures of itself (meter 'ArmoFlow'); exported by whoever listens.</summary>
public static class Instruments
{
    public const string MeterName = "ArmoFlow";
    private static readonly Meter Meter = new(MeterName);

    /// <summary>Spans that MassTransit and the HTTP server do not make themselves.</summary>
    public static ActivitySource Trace { get; } = new(MeterName);

    public static Histogram<double> OutboxLag { get; } = Meter.CreateHistogram("armoflow.outbox.lag", "s", "Time from commit to send.",
        advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = [0.005, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300] });
    public static Counter<long> OutboxOrphans { get; } =
        Meter.CreateCounter<long>("armoflow.outbox.orphans", null, "Consumers' messages that only the upkeep sent.");
    public static Counter<long> Faults { get; } = Meter.CreateCounter<long>("armoflow.faults", null, "Messages set aside, by queue.");
    public static Counter<long> Steps { get; } =
        Meter.CreateCounter<long>("armoflow.steps", null, "Steps completed, by step and by whether they were reused.");
    public static Histogram<double> StepDuration { get; } = Meter.CreateHistogram("armoflow.step.duration", "s",
        "From asking for a step to its end, by step; reused ones left out.",
        advice: new InstrumentAdvice<double>
        {
            HistogramBucketBoundaries = [0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000]
        });
    public static Counter<long> Runs { get; } = Meter.CreateCounter<long>("armoflow.runs.ended", null, "Runs that ended, by status.");
    public static Counter<long> Losses { get; } =
        Meter.CreateCounter<long>("armoflow.work.lost", null, "Leases that were not renewed, by step.");
    public static Histogram<double> Work { get; } = Meter.CreateHistogram("armoflow.work.duration", "s",
        "A slice of work at a worker, by step and outcome.",
        advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300] });
    public static Counter<long> Tokens { get; } =
        Meter.CreateCounter<long>("armoflow.features.tokens", null, "Tokens whose features were extracted.");
    public static Counter<long> Scores { get; } = Meter.CreateCounter<long>("armoflow.scores", null, "Responses scored on request.");

    public static KeyValuePair<string, object?> Tag(string name, object? value) => new(name, value);
}

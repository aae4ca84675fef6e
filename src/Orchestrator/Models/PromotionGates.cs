using System.Globalization;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Regression;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;

namespace ArmoFlow.Orchestrator.Models;

/// <summary>A run's document with the outcome of each benchmark pair (subset → '1' right, '0' wrong), where it has them.</summary>
public sealed record JudgedRun(RunDocument Run, IReadOnlyDictionary<string, string>? Outcomes)
{
    /// <summary>The run's figures.</summary>
    public RunFigures Figures => RunFigures.Of(Run.Metrics);
}

/// <summary>The gates of a spec, held against a candidate's figures and those of the version that it would replace.</summary>
public static class PromotionGates
{
    /// <summary>Not a gate that a spec sets: a model whose scores mean nothing is held back whatever its gates are.</summary>
    public const string Signal = "signal";

    private const double Z95 = 1.959963984540054; // the normal distribution's 97.5 % point

    /// <summary>Holds a candidate against the gates; a figure that its run lacks holds no gate.</summary>
    /// <param name="gates">What is asked.</param>
    /// <param name="candidate">The run that is judged.</param>
    /// <param name="champion">The run of the version that it would replace; null where there is none.</param>
    public static IReadOnlyList<GateVerdict> Judge(PromotionSpec gates, JudgedRun candidate, JudgedRun? champion)
    {
        List<GateVerdict> verdicts = [];
        RunFigures figures = candidate.Figures;
        foreach (Gate gate in Gate.All)
        {
            if (gate.Limit(gates) is not { } limit || gate.Figure is not { } figure) continue;
            verdicts.Add(Verdict(gate.Key, figure(figures), limit, gate.Says, gate.IsFloor));
        }
        foreach ((string objective, double floor) in gates.Objectives)
        {
            ObjectiveFigures? fit = figures.Regression?.Objectives.FirstOrDefault(o => o.Name == objective);
            verdicts.Add(Verdict($"objectives.{objective}", fit?.ValidationR2, floor, $"held-out R² of {objective}", isFloor: true));
        }
        if (gates.SectionLoss is { } loss && champion is not null) verdicts.AddRange(Sections(loss, candidate, champion));
        return verdicts;
    }

    /// <summary>What holds back a version whose gate found no signal; null for one that scores.</summary>
    public static GateVerdict? NoSignal(RunDocument? run)
    {
        if (run is null || RunSignal.Missing(run.Metrics) is not { } why) return null;
        return new GateVerdict(Signal, false, RunFigures.Of(run.Metrics).Gating?.Health?.Ties, 0, why);
    }

    /// <summary>A run's benchmark score, if it has one.</summary>
    public static double? Score(RunDocument? run) => run is null ? null : RunFigures.Of(run.Metrics).Gate?.Benchmark?.Score;

    /// <summary>A run's accuracy on held-out pairs, if it has one.</summary>
    public static double? HeldOut(RunDocument? run) => run is null ? null : RunFigures.Of(run.Metrics).Gate?.HeldOutAccuracy;

    private static GateVerdict Verdict(string name, double? found, double bound, string what, bool isFloor) =>
        new(name, isFloor ? found >= bound : found <= bound, found, bound,
            $"{what} {Text(found)}, at {(isFloor ? "least" : "most")} {Text(bound)}");

    /// <summary>A verdict for each of the champion's sections; one that refuses where it has none to compare with.</summary>
    private static IEnumerable<GateVerdict> Sections(double allowed, JudgedRun candidate, JudgedRun champion)
    {
        if (champion.Figures.Gate?.Benchmark?.Sections is not { Count: > 0 } sections)
        {
            string why = $"run {champion.Run.RunId}, whose version is to be replaced, has no benchmark sections to compare with. "
                + "Evaluate that version on a benchmark, or take 'sectionLoss' out of the gates.";
            yield return new GateVerdict("sectionLoss", false, null, allowed, why);
            yield break;
        }
        foreach ((string section, double before) in sections)
        {
            double? now = candidate.Figures.Gate?.Benchmark?.Sections.TryGetValue(section, out double accuracy) == true ? accuracy : null;
            double? loss = before - now;
            string interval = Interval(section, candidate, champion) is { } half && loss is { } middle
                ? $", 95 % interval of the paired difference {Text(middle - half)} to {Text(middle + half)}"
                : "; not on the same benchmark pairs, so without an interval";
            yield return new GateVerdict($"sectionLoss.{section}", loss <= allowed, loss, allowed,
                $"{section} {Text(now)} after {Text(before)}: a loss of {Text(loss)}, at most {Text(allowed)}{interval}");
        }
    }

    /// <summary>
    /// Half the width of the 95 % interval of a section's difference, pair by pair: variances of the subsets' paired differences
    /// over their counts, with the squared weights that the subsets have in the section. Null where the pairs are not the same.
    /// </summary>
    private static double? Interval(string section, JudgedRun candidate, JudgedRun champion)
    {
        if (candidate.Outcomes is null || champion.Outcomes is null || !AreOfTheSamePairs(candidate, champion)) return null;
        if (champion.Figures.Gate?.Benchmark?.SubsetWeights.GetValueOrDefault(section) is not { } weights) return null;
        double variance = 0, total = 0;
        foreach ((string subset, double weight) in weights)
        {
            if (!champion.Outcomes.TryGetValue(subset, out string? before)
                || !candidate.Outcomes.TryGetValue(subset, out string? now)
                || before.Length != now.Length
                || now.Length < 2)
            {
                continue;
            }
            double[] differences = [.. before.Zip(now, (b, n) => (double)(b - n))];
            double mean = differences.Average();
            variance += weight * weight * differences.Sum(d => (d - mean) * (d - mean)) / (differences.Length - 1) / differences.Length;
            total += weight;
        }
        return total > 0 ? Z95 * Math.Sqrt(variance) / total : null;
    }

    private static bool AreOfTheSamePairs(JudgedRun one, JudgedRun other) =>
        one.Figures.Evaluation?.Manifest is { } first
            && other.Figures.Evaluation?.Manifest is { } second
            && first.IsOfTheSamePairs(second);

    private static string Text(double? value) => value?.ToString("0.####", CultureInfo.InvariantCulture) ?? "not known";
}

using System.Text.Json.Nodes;

namespace ArmoFlow.Contracts.Runs;

/// <summary>What a run's figures say of its gate's having found any signal.</summary>
public static class RunSignal
{
    /// <summary>
    /// Why the gate's scores mean nothing, with the remedy; null where they mean something, or nothing is known. Of runs that are older
    /// than this look: nearly all weight on the verbosity objective, whose debiased reward is always 0.
    /// </summary>
    /// <param name="metrics">A run's figures by step.</param>
    public static string? Missing(JsonObject metrics)
    {
        RunFigures figures = RunFigures.Of(metrics);
        if (figures.Gating?.Health is not { } health) return null;
        if (health.NoSignal is { } said) return said;
        if (figures.Decorrelation?.Verbosity is not { } verbosity || !health.Saturated.Contains(verbosity)) return null;
        return $"the gate found no signal: nearly all weight is on {verbosity}, whose debiased reward is always 0. "
            + "Run its spec again to learn more.";
    }
}

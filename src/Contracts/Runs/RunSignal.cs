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
        if (metrics["gating"]?["health"] is not JsonObject health) return null;
        if (health["noSignal"]?.GetValue<string>() is { } said) return said;
        string? verbosity = metrics["decorrelation"]?["verbosity"]?.GetValue<string>();
        bool isOnVerbosity = health["saturated"] is JsonArray saturated && saturated.Any(o => o?.GetValue<string>() == verbosity);
        if (verbosity is null || !isOnVerbosity) return null;
        return $"the gate found no signal: nearly all weight is on {verbosity}, whose debiased reward is always 0. "
            + "Run its spec again to learn more.";
    }
}

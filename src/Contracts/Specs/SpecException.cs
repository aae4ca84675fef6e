namespace ArmoFlow.Contracts.Specs;

/// <summary>A spec that cannot be what its author meant: names file, line, what was found, what was expected, and the remedy.</summary>
public sealed class SpecException(string place, string found, string expected, string remedy)
    : Exception(Say(place, found, expected, remedy))
{
    private static string Say(string place, string found, string expected, string remedy)
    {
        string shown = Shown.Cut(found, Shown.MostFound);
        return $"{Other(place)}: {shown}; expected {Other(expected)}. {Other(remedy)}".TrimEnd();
    }

    private static string Other(string text) => Shown.Cut(text, Shown.MostOfOthers);
}

namespace ArmoFlow.RewardModel;

/// <summary>
/// What a user can cause and mend: names the place, what was found there, what was expected, and the remedy. Each of them is shown to a
/// bounded length (<see cref="Shown"/>), whatever stands in the file.
/// </summary>
/// <param name="place">File and, where there is one, row and column: <c>ratings/judge.jsonl line 17</c>.</param>
/// <param name="found">What stands there.</param>
/// <param name="expected">What should stand there.</param>
/// <param name="remedy">What to do about it, as a sentence.</param>
public sealed class InvalidInputException(string place, string found, string expected, string remedy)
    : Exception($"{Other(place)}: {Shown.Cut(found, Shown.MostFound)}; expected {Other(expected)}. {Other(remedy)}")
{
    /// <summary>File and, where there is one, row and column.</summary>
    public string Place { get; } = Other(place);

    /// <summary>
    /// Set where the row itself is whole but worthless (an empty response, identical sides): a source may tolerate a small share of
    /// these.
    /// </summary>
    public string? StrayRow { get; init; }

    private static string Other(string text) => Shown.Cut(text, Shown.MostOfOthers);
}

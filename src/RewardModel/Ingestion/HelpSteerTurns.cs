using System.Text.RegularExpressions;
using ArmoFlow.RewardModel.Text;

namespace ArmoFlow.RewardModel.Ingestion;

/// <summary>
/// HelpSteer2's prompts of several turns: a line <c>&lt;extra_id_1&gt;User</c> or <c>&lt;extra_id_1&gt;Assistant</c> begins each
/// but the first.
/// </summary>
internal static partial class HelpSteerTurns
{
    private const string SystemMark = "<extra_id_0>System\n";

    [GeneratedRegex(@"(?:^|\n)<extra_id_1>(\w+)[ \t\r]*(?:\n|$)")]
    private static partial Regex Mark();

    /// <summary>The turns of a prompt.</summary>
    /// <exception cref="InvalidInputException">A turn has no role, or the last one is the assistant's.</exception>
    public static IReadOnlyList<Message> Parse(string prompt, string place)
    {
        bool hasSystem = prompt.StartsWith(SystemMark, StringComparison.Ordinal);
        string role = hasSystem ? "system" : "user";
        int begin = hasSystem ? SystemMark.Length : 0;
        List<Message> turns = [];
        foreach (Match mark in Mark().Matches(prompt))
        {
            if (mark.Index > 0 || begin > 0) turns.Add(new Message(role, prompt[begin..Math.Max(begin, mark.Index)]));
            role = mark.Groups[1].Value switch
            {
                "User" => "user",
                "Assistant" => "assistant",
                string other => throw new InvalidInputException(place, $"a turn of '{other}'", "<extra_id_1>User or <extra_id_1>Assistant",
                    "Correct the turn."),
            };
            begin = mark.Index + mark.Length;
        }
        string last = prompt[Math.Min(begin, prompt.Length)..];
        bool isCue = role == "assistant" && turns.Count > 0 && string.IsNullOrWhiteSpace(last); // where the response goes
        if (!isCue) turns.Add(new Message(role, last));
        if (turns[^1].Role == "assistant")
        {
            throw new InvalidInputException(place, "a last turn by the assistant", "a last turn by the user, which the response answers",
                "Correct the row, or leave it out.");
        }
        return turns;
    }
}

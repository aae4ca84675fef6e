using System.Text.RegularExpressions;

namespace ArmoFlow.RewardModel.Text.Templates;

/// <summary>
/// The Llama-3 chat template: one begin-of-text token, then for each turn its role between header tokens, a blank line,
/// the trimmed content and an end-of-turn token.
/// </summary>
/// <param name="description">What was found.</param>
public sealed partial class Llama3Template(string description) : ChatTemplate
{
    /// <summary>See <see cref="Name"/>.</summary>
    public const string KnownName = "llama3";

    /// <inheritdoc/>
    public override string Name => KnownName;

    /// <inheritdoc/>
    public override string Description => description;

    /// <inheritdoc/>
    public override bool KeepsBlanks => false;

    /// <inheritdoc/>
    internal override IReadOnlyCollection<string> Controls => (IReadOnlyCollection<string>)Tokens;

    /// <inheritdoc/>
    internal override IReadOnlyList<TextRun> Render(IReadOnlyList<Message> turns) => [.. Runs(turns, first: true)];

    /// <inheritdoc/>
    public override IReadOnlyList<Message> Parse(string text, string place) => Turns(text, place);

    /// <inheritdoc/>
    internal override void RequireTokens(BpeTokenizer tokens, string path)
    {
        foreach (string token in Tokens)
        {
            if (tokens.Added(token) is not { } found)
            {
                throw new InvalidInputException(path, $"no added token '{token}'", "the tokens of Llama-3's chat template",
                    "Use the tokenizer of a Llama-3 chat model, or a folder with a chat template of its own.");
            }
            // It would swallow what stands around it.
            if (found.StripsLeft || found.StripsRight)
            {
                throw TokenizerFile.Unsupported(path, $"the token '{token}' with {(found.StripsLeft ? "lstrip" : "rstrip")}",
                    "template tokens that leave the text around them");
            }
        }
    }

    /// <summary>Opens a text.</summary>
    public const string BeginOfText = "<|begin_of_text|>";

    /// <summary>Stands before the role of a turn.</summary>
    public const string StartHeader = "<|start_header_id|>";

    /// <summary>Stands after the role of a turn.</summary>
    public const string EndHeader = "<|end_header_id|>";

    /// <summary>Closes a turn.</summary>
    public const string EndOfTurn = "<|eot_id|>";

    /// <summary>The tokens that make turns; control tokens, whatever a tokenizer.json says of them.</summary>
    public static IReadOnlyList<string> Tokens { get; } = [BeginOfText, StartHeader, EndHeader, EndOfTurn];

    /// <summary>The same by the names that templates in Jinja have for them.</summary>
    internal static IReadOnlyDictionary<string, string> TokenNames { get; } =
        new Dictionary<string, string> { ["bos_token"] = BeginOfText, ["eos_token"] = EndOfTurn };

    /// <summary>Turns of the longest conversation that is taken apart.</summary>
    public const int MostTurns = 1000;

    /// <summary>Renders turns; <paramref name="first"/> says whether the first one opens the text.</summary>
    public static string Render(IEnumerable<Message> messages, bool first) => string.Concat(Runs(messages, first).Select(run => run.Text));

    /// <summary>The same, with what a message says apart from what the template writes.</summary>
    public static IEnumerable<TextRun> Runs(IEnumerable<Message> messages, bool first)
    {
        if (first) yield return new TextRun(BeginOfText, true);
        foreach (Message m in messages)
        {
            yield return new TextRun($"{StartHeader}{m.Role}{EndHeader}\n\n", true);
            yield return new TextRun(PythonText.Strip(m.Content), false);
            yield return new TextRun(EndOfTurn, true);
        }
    }

    /// <summary>
    /// The turns of a rendered text. The begin-of-text token and the last end-of-turn token may be missing, and padding may stand
    /// before and after it: trainers send what they decode, special tokens and all.
    /// </summary>
    /// <exception cref="InvalidInputException">It is not a text of this template.</exception>
    public static IReadOnlyList<Message> Turns(string text, string place)
    {
        string whole = WithoutPadding(text, place);
        ReadOnlySpan<char> rest = whole; // a slice costs nothing, however many turns there are
        List<Message> messages = [];
        while (rest.Length > 0)
        {
            if (messages.Count == MostTurns)
                throw new InvalidInputException(place, $"more than {MostTurns:N0} turns", "fewer", "Send the last turns alone.");
            int end = rest.IndexOf(EndHeader, StringComparison.Ordinal);
            if (!rest.StartsWith(StartHeader, StringComparison.Ordinal) || end < 0)
            {
                throw new InvalidInputException(place, $"'{rest[..Math.Min(40, rest.Length)]}'",
                    $"a turn of the Llama-3 template, which begins with {StartHeader}",
                    "Apply the model's chat template to prompt and response, or send messages.");
            }
            string role = rest[StartHeader.Length..end].ToString();
            rest = rest[(end + EndHeader.Length)..];
            int close = rest.IndexOf(EndOfTurn, StringComparison.Ordinal);
            messages.Add(new Message(role, PythonText.Strip((close < 0 ? rest : rest[..close]).ToString())));
            rest = close < 0 ? default : rest[(close + EndOfTurn.Length)..].TrimStart('\n');
        }
        return messages;
    }

    private static string WithoutPadding(string text, string place)
    {
        try { return PaddingAfter().Replace(PaddingBefore().Replace(text, ""), ""); }
        catch (RegexMatchTimeoutException)
        {
            throw new InvalidInputException(place, $"a text of {text.Length:N0} characters with padding throughout",
                "padding before and after the turns", "Send the turns without padding.");
        }
    }

    private const int LongestMatch = 2000; // milliseconds

    // Special tokens other than those that begin a turn or stand in its header.
    [GeneratedRegex(@"^(?:\s*(?:<\|(?!start_header_id\|)[a-z0-9_]+\|>|\[PAD\]|<pad>))+", RegexOptions.None, LongestMatch)]
    private static partial Regex PaddingBefore();

    [GeneratedRegex(@"(?:(?:<\|(?!(?:start|end)_header_id\|)[a-z0-9_]+\|>|\[PAD\]|<pad>)\s*)+$", RegexOptions.None, LongestMatch)]
    private static partial Regex PaddingAfter();
}

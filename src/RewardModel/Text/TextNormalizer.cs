using System.Text.Json;
using ADRaffy.ENSNormalize;

namespace ArmoFlow.RewardModel.Text;

/// <summary>What a tokenizer.json does to a text between control tokens before it splits it into words.</summary>
/// <param name="Composes">To composed characters (Unicode's form C).</param>
/// <param name="ReplacesSpaces">Spaces to ▁, SentencePiece's sign for one.</param>
/// <param name="Prepends">A ▁ before it.</param>
/// <param name="PrependsOnlyFirst">The ▁ only where the whole text begins.</param>
internal sealed record TextNormalizer(bool Composes, bool ReplacesSpaces, bool Prepends, bool PrependsOnlyFirst)
{
    /// <summary>SentencePiece's sign for a space.</summary>
    public const char Space = '▁';

    /// <summary>No text becomes shorter than a third, in bytes, by being composed: that of Hangul.</summary>
    public const int MostComposed = 3;

    private const string Expected = "none, NFC, or SentencePiece's signs for spaces";

    /// <summary>True where it changes nothing but the form of characters, so that tokens spell what they stand for.</summary>
    public bool IsPlain => !ReplacesSpaces && !Prepends;

    /// <summary>A part of a text, normalized.</summary>
    /// <param name="text">The part; it is not empty.</param>
    /// <param name="isFirst">True where the whole text begins with it.</param>
    public string Apply(string text, bool isFirst)
    {
        if (Composes) text = Composed(text);
        if (Prepends && (isFirst || !PrependsOnlyFirst) && !(IsMetaspace && text[0] is ' ' or Space)) text = Space + text;
        return ReplacesSpaces ? text.Replace(' ', Space) : text;
    }

    /// <summary>The pre-tokenizer of that name, which puts no second sign before one.</summary>
    public bool IsMetaspace { get; init; }

    /// <summary>
    /// .NET's own Normalize does nothing in a program without ICU's tables. What is below U+0300 is composed as it is; half of a
    /// surrogate pair becomes U+FFFD, as UTF-8 has it.
    /// </summary>
    private static string Composed(string text)
    {
        if (!text.AsSpan().ContainsAnyInRange('\u0300', char.MaxValue)) return text;
        return ENSNormalize.NF.NFC(string.Concat(text.EnumerateRunes()));
    }

    /// <summary>Reads the members 'normalizer' and, for Metaspace, 'pre_tokenizer'.</summary>
    /// <exception cref="InvalidInputException">They do something else.</exception>
    public static TextNormalizer Read(JsonElement root, string path)
    {
        TextNormalizer found = new(false, false, false, false);
        if (TokenizerFile.Member(root, "normalizer") is { } normalizer)
        {
            foreach (JsonElement step in TokenizerFile.Steps(normalizer, "normalizers")) found = found.With(step, path);
        }
        if (TokenizerFile.Member(root, "pre_tokenizer") is { } splitter && TokenizerFile.TypeOf(splitter) == "Metaspace")
            found = found.WithMetaspace(splitter, path);
        return found;
    }

    private TextNormalizer With(JsonElement step, string path) => TokenizerFile.TypeOf(step) switch
    {
        "NFC" when IsPlain => this with { Composes = true },
        "Prepend" when !ReplacesSpaces && step.GetProperty("prepend").GetString() == $"{Space}" => this with { Prepends = true },
        "Replace" when TokenizerFile.IsText(step.GetProperty("pattern"), " ") && step.GetProperty("content").GetString() == $"{Space}" =>
            this with { ReplacesSpaces = true },
        string type => throw TokenizerFile.Unsupported(path, $"a normalizer '{type}' of another form", Expected),
    };

    private TextNormalizer WithMetaspace(JsonElement splitter, string path)
    {
        string scheme = splitter.TryGetProperty("prepend_scheme", out JsonElement given) ? given.GetString() ?? "" : "always";
        bool splits = splitter.TryGetProperty("split", out JsonElement split) && split.ValueKind == JsonValueKind.True;
        bool isOne = splitter.GetProperty("replacement").GetString() == $"{Space}" && scheme is "always" or "first" or "never";
        if (!isOne || splits || !IsPlain)
            throw TokenizerFile.Unsupported(path, $"a Metaspace of another form: {splitter.GetRawText()}", "one that splits nothing");
        return this with
        {
            ReplacesSpaces = true,
            Prepends = scheme != "never",
            PrependsOnlyFirst = scheme == "first",
            IsMetaspace = true,
        };
    }
}

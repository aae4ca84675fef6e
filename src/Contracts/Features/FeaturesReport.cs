using System.Text.Json.Serialization;

namespace ArmoFlow.Contracts.Features;

/// <summary>What was extracted, and what was left out: for its length, or as the chat template refuses it.</summary>
public sealed record FeaturesReport
{
    /// <summary>sha256 of the backbone.</summary>
    public required string BackboneDigest { get; init; }

    /// <summary>The chat template's name.</summary>
    public required string Template { get; init; }

    /// <summary>The type that features were computed in.</summary>
    public required string Dtype { get; init; }

    /// <summary>The longest conversation, in tokens.</summary>
    public required int MaxTokens { get; init; }

    /// <summary>Length of a feature vector.</summary>
    public required int Dimension { get; init; }

    /// <summary>True where a text's spelling of a control token is that token, as the spec allowed.</summary>
    public bool AllowsSpecials { get; init; }

    /// <summary>The day that the template writes, as the spec asked; null for the usual one.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public DateOnly? TemplateDate { get; init; }

    /// <summary>True where responses' features are those of the token that a classification head pools, as the spec asked.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public bool PoolsAsClassifier { get; init; }

    /// <summary>Conversations in which a text spells a control token.</summary>
    public int SpecialSpellings { get; init; }

    /// <summary>Identity of the features' space: two features of one conversation are equal if this is.</summary>
    public required string Space { get; init; }

    /// <summary>Conversations within the token limit.</summary>
    public required int Conversations { get; init; }

    /// <summary>Conversations over the token limit, which have no features.</summary>
    public required int OverLimit { get; init; }

    /// <summary>The first of these, by id.</summary>
    public required IReadOnlyList<string> OverLimitIds { get; init; }

    /// <summary>Conversations that the chat template refuses, which have no features.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public int Refused { get; init; }

    /// <summary>The first of these, each with what the template says of it.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<RefusedConversation>? RefusedIds { get; init; }

    /// <summary>Ratings that are left out with them.</summary>
    public required int RatingsLeftOut { get; init; }

    /// <summary>Preference pairs that are left out with them.</summary>
    public required int PreferencesLeftOut { get; init; }

    /// <summary>Benchmark pairs that are left out with them.</summary>
    public required int BenchmarkLeftOut { get; init; }
}

/// <summary>A conversation that a chat template has no form for.</summary>
/// <param name="Id">The conversation.</param>
/// <param name="Why">What the template says.</param>
public sealed record RefusedConversation(string Id, string Why);

/// <summary>The step's figures in the run's document.</summary>
public sealed record FeaturesFigures
{
    /// <summary>Conversations whose features this run extracted.</summary>
    public int Extracted { get; init; }

    /// <summary>Conversations whose features were known.</summary>
    public int Known { get; init; }

    /// <summary>Tokens of the conversations that this run extracted.</summary>
    public long Tokens { get; init; }

    /// <summary>Those of them that were computed: a prompt's once for the responses that shared its pass.</summary>
    public long TokensComputed { get; init; }

    /// <summary>Conversations over the token limit.</summary>
    public int OverLimit { get; init; }

    /// <summary>Conversations that the chat template refuses.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public int Refused { get; init; }

    /// <summary>Ratings that are left out with them.</summary>
    public int RatingsLeftOut { get; init; }

    /// <summary>Preference pairs that are left out with them.</summary>
    public int PreferencesLeftOut { get; init; }

    /// <summary>Benchmark pairs that are left out with them.</summary>
    public int BenchmarkLeftOut { get; init; }

    /// <summary>The type that features were computed in.</summary>
    public string? Dtype { get; init; }

    /// <summary>Length of a feature vector.</summary>
    public int Dimension { get; init; }

    /// <summary>Conversations in which a text spells a control token.</summary>
    public int SpecialSpellings { get; init; }
}

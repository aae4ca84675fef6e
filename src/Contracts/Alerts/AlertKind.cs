using System.Text.Json.Serialization;

namespace ArmoFlow.Contracts.Alerts;

/// <summary>What an alert tells of.</summary>
[JsonConverter(typeof(NamedEnumConverter<AlertKind>))]
public enum AlertKind
{
    /// <summary>A stored model fell below one of its gates.</summary>
    [JsonStringEnumMemberName("evaluation-below-gate")]
    BelowGate,

    /// <summary>A rule refused to promote a new version.</summary>
    [JsonStringEnumMemberName("promotion-refused")]
    PromotionRefused,
}

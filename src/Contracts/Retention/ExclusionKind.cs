using System.Text.Json.Serialization;

namespace ArmoFlow.Contracts.Retention;

/// <summary>What can be forgotten.</summary>
[JsonConverter(typeof(NamedEnumConverter<ExclusionKind>))]
public enum ExclusionKind
{
    [JsonStringEnumMemberName("conversation")]
    Conversation,

    [JsonStringEnumMemberName("source")]
    Source,

    [JsonStringEnumMemberName("file")]
    File,
}

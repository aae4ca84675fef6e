using System.Text.Json.Serialization;

namespace ArmoFlow.Contracts.Retention;

/// <summary>What can be forgotten.</summary>
[JsonConverter(typeof(NamedEnumConverter<ExclusionKind>))]
public enum ExclusionKind
{
    /// <summary>A prompt with its response, by id.</summary>
    [JsonStringEnumMemberName("conversation")]
    Conversation,

    /// <summary>All rows of a source, by its name.</summary>
    [JsonStringEnumMemberName("source")]
    Source,

    /// <summary>A file, by its sha256.</summary>
    [JsonStringEnumMemberName("file")]
    File,
}

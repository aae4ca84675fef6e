using System.Text.Json.Serialization;

namespace ArmoFlow.Contracts;

/// <summary>Which way lineage is followed from an artifact.</summary>
[JsonConverter(typeof(NamedEnumConverter<LineageDirection>))]
public enum LineageDirection
{
    /// <summary>To what it was made from.</summary>
    [JsonStringEnumMemberName("up")]
    Up,

    /// <summary>To what was made from it.</summary>
    [JsonStringEnumMemberName("down")]
    Down,
}

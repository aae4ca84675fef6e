using System.Text.Json.Serialization;

namespace ArmoFlow.Contracts.Documents;

/// <summary>How the events of an export are written.</summary>
[JsonConverter(typeof(NamedEnumConverter<AuditFormat>))]
public enum AuditFormat
{
    /// <summary>One JSON document a line.</summary>
    [JsonStringEnumMemberName("jsonl")]
    JsonLines,

    /// <summary>A table.</summary>
    [JsonStringEnumMemberName("parquet")]
    Parquet,
}

using System.Text.Json.Serialization;

namespace ArmoFlow.Contracts.Documents;

/// <summary>What a key's holder may do; each scope holds those before it.</summary>
[JsonConverter(typeof(NamedEnumConverter<Scope>))]
public enum Scope
{
    /// <summary>Reads.</summary>
    Viewer,

    /// <summary>Submits and steers runs, scores, promotes models.</summary>
    Operator,

    /// <summary>Everything, and what decides over others.</summary>
    Admin,
}

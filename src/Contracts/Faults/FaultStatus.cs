using System.Text.Json.Serialization;

namespace ArmoFlow.Contracts.Faults;

/// <summary>What became of a message that was set aside.</summary>
[JsonConverter(typeof(NamedEnumConverter<FaultStatus>))]
public enum FaultStatus
{
    /// <summary>Nobody has decided yet.</summary>
    Open,

    /// <summary>It was sent to its queue again.</summary>
    Redelivered,

    /// <summary>It is dealt with.</summary>
    Archived,
}

/// <summary>What can be done with a message that was set aside.</summary>
[JsonConverter(typeof(NamedEnumConverter<FaultDecision>))]
public enum FaultDecision
{
    /// <summary>Send it to its queue again.</summary>
    [JsonStringEnumMemberName("redeliver")]
    Redeliver,

    /// <summary>It is dealt with.</summary>
    [JsonStringEnumMemberName("archive")]
    Archive,
}

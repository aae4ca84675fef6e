using System.Text.Json.Serialization;

namespace ArmoFlow.Contracts.Runs;

/// <summary>How a worker's attempt at a slice of work ended.</summary>
[JsonConverter(typeof(NamedEnumConverter<LogOutcome>))]
public enum LogOutcome
{
    /// <summary>It goes on.</summary>
    Working,

    /// <summary>The work ended as it should.</summary>
    Done,

    /// <summary>The run went on without it.</summary>
    Stopped,

    /// <summary>The worker was asked to end.</summary>
    HandedBack,

    /// <summary>It failed.</summary>
    Failed,

    /// <summary>It failed and is tried again.</summary>
    Retried,

    /// <summary>Nothing more was heard of its worker.</summary>
    Lost,
}

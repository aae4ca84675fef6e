using System.Text.Json.Serialization;

namespace ArmoFlow.Contracts.Documents;

/// <summary>A legal hold to put.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record HoldRequest
{
    /// <summary>run/ID or model/NAME.</summary>
    public required string Subject { get; init; }

    /// <summary>Why; the audit trail keeps it.</summary>
    public required string Reason { get; init; }
}

/// <summary>What a collection keeps besides what must be.</summary>
public abstract record RulesRequest
{
    /// <summary>Runs that ended since are kept.</summary>
    public double OlderThanDays { get; init; } = 90;

    /// <summary>So many newest versions of each model are kept.</summary>
    public int KeepLast { get; init; } = 5;
}

/// <summary>A collection to make now.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record CollectRequest : RulesRequest
{
    /// <summary>Only say what would go.</summary>
    public bool DryRun { get; init; } = true;
}

/// <summary>When servers collect, and by which rules.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record RetentionPolicyRequest : RulesRequest
{
    /// <summary>Five fields, or six with seconds first.</summary>
    public required string Cron { get; init; }

    /// <summary>IANA name.</summary>
    public string TimeZone { get; init; } = "UTC";
}

/// <summary>What is to be forgotten.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public record ForgetTarget
{
    /// <summary>conversation, source or file.</summary>
    public required string Kind { get; init; }

    /// <summary>A conversation's id, a source's name, or a file's sha256.</summary>
    public required string Value { get; init; }
}

/// <summary>Something to forget, or to let runs read again.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record ForgetRequest : ForgetTarget
{
    /// <summary>Why; the audit trail keeps it.</summary>
    public required string Reason { get; init; }

    /// <summary>Have the models that used it made anew.</summary>
    public bool Retrain { get; init; }
}

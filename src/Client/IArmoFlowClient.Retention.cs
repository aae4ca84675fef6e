using ArmoFlow.Contracts.Documents;

namespace ArmoFlow.Client;

/// <summary>What is kept, what goes, and what is to be forgotten.</summary>
public partial interface IArmoFlowClient
{
    /// <summary>Removes artifacts that nothing kept refers to, or only says which.</summary>
    Task<Collection> Collect(CollectRequest request, CancellationToken cancel);

    /// <summary>When servers collect, by which rules, and what became of the last collection.</summary>
    Task<RetentionPolicyDocument> RetentionPolicy(CancellationToken cancel);

    /// <summary>Has servers collect by the clock.</summary>
    Task<RetentionPolicyDocument> SetRetentionPolicy(RetentionPolicyRequest request, CancellationToken cancel);

    /// <summary>Collects by the clock no more.</summary>
    Task RemoveRetentionPolicy(CancellationToken cancel);

    /// <summary>Legal holds.</summary>
    Task<IReadOnlyList<LegalHoldDocument>> ListHolds(CancellationToken cancel);

    /// <summary>Keeps a run's artifacts, or those of all versions of a model, whatever the rules say.</summary>
    Task<LegalHoldDocument> Hold(HoldRequest request, CancellationToken cancel);

    /// <summary>Ends a legal hold.</summary>
    /// <param name="subject">run/ID or model/NAME.</param>
    /// <param name="cancel">Gives up.</param>
    Task ReleaseHold(string subject, CancellationToken cancel);

    /// <summary>Conversations, sources and files that no run reads any more.</summary>
    /// <param name="withLifted">With those that were lifted again.</param>
    /// <param name="cancel">Gives up.</param>
    Task<IReadOnlyList<ExclusionDocument>> ListExclusions(bool withLifted, CancellationToken cancel);

    /// <summary>What forgetting something would do, what would stay and why, and what stands against it; nothing is done.</summary>
    Task<ForgetPlan> PlanForgetting(ForgetTarget target, CancellationToken cancel);

    /// <summary>Forgets a conversation, a source or a file.</summary>
    Task<Forgetting> Forget(ForgetRequest request, CancellationToken cancel);

    /// <summary>Lets runs read again what was forgotten, where it still is.</summary>
    Task<ExclusionDocument> LiftExclusion(ForgetRequest request, CancellationToken cancel);
}

using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Specs;

namespace ArmoFlow.Client;

/// <summary>The model registry, scores, and evidence.</summary>
public partial interface IArmoFlowClient
{
    /// <summary>Names of models, with what their aliases mean now.</summary>
    Task<IReadOnlyList<ModelSummary>> ListModels(CancellationToken cancel);

    /// <summary>The version that a reference means.</summary>
    /// <param name="reference">NAME, NAME@ALIAS or NAME@VERSION; NAME alone is its champion, else its newest version.</param>
    /// <param name="cancel">Gives up.</param>
    Task<ModelVersionDocument> FindVersion(string reference, CancellationToken cancel);

    /// <summary>A model's versions, newest first.</summary>
    Task<IReadOnlyList<VersionDocument>> Versions(string model, CancellationToken cancel);

    /// <summary>All that was ever known of a model's aliases, newest first.</summary>
    Task<IReadOnlyList<AliasPeriodDocument>> AliasHistory(string model, CancellationToken cancel);

    /// <summary>What an alias meant; null for nothing.</summary>
    /// <param name="model">The model.</param>
    /// <param name="alias">The alias.</param>
    /// <param name="at">When; now if null.</param>
    /// <param name="known">As it was known then; now if null.</param>
    /// <param name="cancel">Gives up.</param>
    Task<AliasPeriodDocument?> AliasAt(string model, string alias, DateTimeOffset? at, DateTimeOffset? known, CancellationToken cancel);

    /// <summary>What runs that evaluated its versions found, newest first.</summary>
    Task<IReadOnlyList<ModelEvaluationDocument>> Evaluations(string model, int limit, CancellationToken cancel);

    /// <summary>Evaluations that fell below their gates, newest first.</summary>
    Task<IReadOnlyList<ModelAlertDocument>> Alerts(string model, int limit, CancellationToken cancel);

    /// <summary>Runs a version's gates and, if all hold or it is forced with a reason, lets the alias mean it.</summary>
    Task<Promotion> Promote(string model, string alias, AliasRequest request, CancellationToken cancel);

    /// <summary>Lets an alias mean again what it meant before.</summary>
    Task<AliasPeriodDocument> RollBack(string model, string alias, RollbackRequest request, CancellationToken cancel);

    /// <summary>Sets a version's notes and tags; what is null stays.</summary>
    Task<ModelVersionDocument> Describe(string model, int version, DescribeRequest request, CancellationToken cancel);

    /// <summary>Says where a model's backbone lies now.</summary>
    Task<PlacedBackbone> PlaceBackbone(string model, BackboneRequest request, CancellationToken cancel);

    /// <summary>The folder in which a backbone is said to lie; null if nobody said.</summary>
    /// <param name="digest">Its sha256, as the report of a run's features names it.</param>
    /// <param name="cancel">Gives up.</param>
    Task<string?> BackboneOf(string digest, CancellationToken cancel);

    /// <summary>What a model asks of each of its versions; null for nothing.</summary>
    Task<ModelPolicyDocument?> ModelPolicy(string model, CancellationToken cancel);

    /// <summary>All that a model's policy ever was, newest first.</summary>
    Task<IReadOnlyList<ModelPolicyDocument>> ModelPolicyHistory(string model, CancellationToken cancel);

    /// <summary>Sets a model's policy.</summary>
    Task<ModelPolicyDocument> SetModelPolicy(string model, PolicySpec policy, string reason, CancellationToken cancel);

    /// <summary>Removes a model's policy.</summary>
    Task<ModelPolicyDocument> RemoveModelPolicy(string model, string reason, CancellationToken cancel);

    /// <summary>Scores responses, or pairs of them.</summary>
    Task<ScoreAnswer> Score(ScoreRequest request, CancellationToken cancel);

    /// <summary>Writes an archive (zip) with what is known of a version, and of a score of it.</summary>
    Task WriteEvidence(EvidenceRequest request, Stream to, CancellationToken cancel);
}

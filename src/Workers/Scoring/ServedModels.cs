using System.Text.Json;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Features;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Models;
using ArmoFlow.RewardModel;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Scoring;
using ArmoFlow.Workers.Evaluation;
using ArmoFlow.Workers.Features;

namespace ArmoFlow.Workers.Scoring;

/// <summary>What a completed run trained, from its artifacts.</summary>
public sealed record StoredModel(string Backbone, FeaturesReport Features, TrainedModel Model)
{
    /// <param name="spec">The run's spec.</param>
    /// <param name="pathOf">A local file with the bytes of one of the run's artifacts.</param>
    /// <param name="locate">Where a backbone lies: from the folder that the run found it in, and its digest.</param>
    public static async Task<StoredModel> Load(RunSpec spec, Func<string, Task<string>> pathOf, Func<string, string, Task<string>> locate)
    {
        byte[] report = await File.ReadAllBytesAsync(await pathOf(ArtifactNames.FeaturesReport));
        FeaturesReport features = JsonSerializer.Deserialize<FeaturesReport>(report, StepRun.Json)!;
        string recorded = Path.GetFullPath(Path.Combine(spec.Folder, spec.Backbone.Path));
        IReadOnlyList<string> objectives = spec.Objectives.Count > 0 ? spec.Objectives : RatedFormats.PaperObjectives;
        TrainedModel model = EvaluationConsumer.Model(objectives, await pathOf(ArtifactNames.Regression),
            await pathOf(ArtifactNames.Decorrelation), await pathOf(ArtifactNames.Gating));
        return new StoredModel(await locate(recorded, features.BackboneDigest), features, model);
    }

    /// <summary>Loads the backbone, after checking that it is the one the features came from.</summary>
    /// <exception cref="InvalidInputException">It is gone, or has changed.</exception>
    public ConversationScorer Scorer()
    {
        if (!BackboneStore.IsThere(Backbone))
        {
            throw new InvalidInputException(Backbone, "no backbone",
                $"the one with sha256 {Features.BackboneDigest[..16]}… that the model was trained on",
                "Say where it lies now: armoflow models backbone NAME PATH.");
        }
        string found = Checkpoint.Digest(Backbone);
        return found == Features.BackboneDigest
            ? new ConversationScorer(Backbone, Model, Features.Dtype, Features.MaxTokens, Features.Encoding())
                : throw new InvalidInputException(Backbone, $"a backbone with sha256 {found[..16]}…",
                    $"{Features.BackboneDigest[..16]}…, as the model was trained on", "Restore it, or run again.");
    }
}

/// <summary>The models that this process scores with; the two used last stay loaded, so that a swapped alias does not thrash.</summary>
public sealed class ServedModels(ArtifactStore artifacts, BackboneStore backbones) : IDisposable
{
    private const int Kept = 2;
    private readonly List<(string Key, ConversationScorer Scorer)> _loaded = [];

    public async Task<ConversationScorer> Get(RunSpec spec, IReadOnlyDictionary<string, ArtifactRef> of, CancellationToken cancel)
    {
        string[] parts = [ArtifactNames.Regression, ArtifactNames.Decorrelation, ArtifactNames.Gating, ArtifactNames.FeaturesReport];
        string key = string.Join(' ', parts.Select(part => of[part].Sha256));
        int at = _loaded.FindIndex(l => l.Key == key);
        (string Key, ConversationScorer Scorer) found = at >= 0 ? _loaded[at] : (key, (await Load(spec, of, cancel)).Scorer());
        if (at >= 0) _loaded.RemoveAt(at);
        _loaded.Add(found);
        if (_loaded.Count > Kept)
        {
            _loaded[0].Scorer.Dispose();
            _loaded.RemoveAt(0);
        }
        return found.Scorer;
    }

    private Task<StoredModel> Load(RunSpec spec, IReadOnlyDictionary<string, ArtifactRef> of, CancellationToken cancel) =>
        StoredModel.Load(spec,
            name => artifacts.Open(of[name].Sha256, cancel),
            (recorded, digest) => backbones.Locate(recorded, digest, cancel));

    public void Dispose()
    {
        foreach ((_, ConversationScorer scorer) in _loaded) scorer.Dispose();
        _loaded.Clear();
    }
}

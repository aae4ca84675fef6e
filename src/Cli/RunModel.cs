using System.Text.Json;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Scoring;
using ArmoFlow.RewardModel.Text;
using ArmoFlow.Workers.Evaluation;
using ArmoFlow.Workers.Features;

namespace ArmoFlow.Cli;

/// <summary>The model that a run of a workspace trained, with its backbone.</summary>
internal sealed record RunModel(RunDocument Run, string Backbone, FeaturesReport Features, TrainedModel Model)
{
    public static async Task<RunModel> Load(WorkspaceClient client, Guid id, CancellationToken cancel)
    {
        RunDocument run = await client.Find(id, cancel);
        RunSpec spec = await client.FindSpec(id, cancel);
        if (run.Status != "Completed") throw new UsageException($"run {id} is {run.Status}; expected a completed one. Finish it with: armoflow runs {(run.HasEnded ? "retry" : "resume")} {id}.");
        FeaturesReport features = JsonSerializer.Deserialize<FeaturesReport>(await File.ReadAllBytesAsync(PathOf(ArtifactNames.FeaturesReport), cancel), Terminal.Json)!;
        IReadOnlyList<string> objectives = spec.Objectives.Count > 0 ? spec.Objectives : RatedFormats.PaperObjectives;
        TrainedModel model = EvaluationConsumer.Model(objectives, PathOf(ArtifactNames.Regression), PathOf(ArtifactNames.Decorrelation), PathOf(ArtifactNames.Gating));
        return new RunModel(run, Path.GetFullPath(Path.Combine(spec.Folder, spec.Backbone.Path)), features, model);

        string PathOf(string name) => run.Artifacts[name].Path!;
    }

    /// <summary>Loads the backbone, after checking that it is the one the features came from.</summary>
    public ConversationScorer Scorer()
    {
        if (RewardModel.Backbone.Checkpoint.Digest(Backbone) != Features.BackboneDigest)
            throw new UsageException($"{Backbone}: the backbone has changed since the run; expected sha256 {Features.BackboneDigest[..16]}…. Restore it, or run again.");
        return new ConversationScorer(Backbone, Model, Features.Dtype, Features.MaxTokens);
    }

    public string PathOf(string artifact) => Run.Artifacts[artifact].Path!;

    /// <summary>The first conversations of the run's data within the limit of length.</summary>
    public async Task<IReadOnlyList<Conversation>> SomeConversations(int count)
    {
        List<Conversation> found = [];
        LlamaTokenizer tokenizer = LlamaTokenizer.Load(Path.Combine(Backbone, "tokenizer.json"));
        await foreach (Conversation conversation in CanonicalTables.ReadConversations(PathOf(ArtifactNames.Conversations)))
        {
            if (tokenizer.Encode(conversation).Tokens.Length <= Features.MaxTokens) found.Add(conversation);
            if (found.Count == count) break;
        }
        return found;
    }
}

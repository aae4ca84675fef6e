using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Features;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence.Models;
using ArmoFlow.RewardModel;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Text;
using ArmoFlow.RewardModel.Text.Templates;

namespace ArmoFlow.Workers.Features;

/// <summary>Where features can be compared: backbone, template, dtype and limit. Equal ids, equal features.</summary>
internal sealed record FeatureSpace(string Id, string Folder, string Digest, string Dtype, int Dimension, int MaxTokens)
{
    private const string ClassifiersToken = ", pooled as a classification head does";

    // 2: config.json in the layout of transformers 5; a control token's spelling in a text is text.
    private const int Version = 2;

    /// <summary>The chat template's name, and which token is read where that is not the last.</summary>
    public string Template { get; init; } = Llama3Template.KnownName;

    /// <summary>How conversations become tokens.</summary>
    public EncodingOptions Encoding { get; init; } = EncodingOptions.Usual;

    /// <summary>Which conversations have the same features.</summary>
    public ConversationKeys Keys { get; init; } = new(KeepsBlanks: false, SharesPrompts: true);

    public static async Task<(FeatureSpace Space, BackboneConfig Config)> Of(StepRun run)
    {
        string folder = await FolderOf(run);
        if (!DataRoots.Allow(folder))
        {
            throw new InvalidInputException(run.Spec.Backbone.Path, "a path outside of the folders that this worker reads from",
                $"one that {DataRoots.Variable} names", "Move the backbone there.");
        }
        EncodingOptions encoding = run.Spec.Backbone.Encoding();
        (BackboneConfig config, ChatTokenizer tokenizer) = BackboneParts.Open(folder, encoding);
        string digest = await DigestOf(folder, run);
        string dtype = run.Spec.Backbone.Dtype != "auto" ? run.Spec.Backbone.Dtype
            : await run.Services.Steps.Settle($"dtype {digest} {ComputeType.Hardware}",
                () => ComputeType.Settle("auto", ComputeType.CheckpointBytes(folder), config.HiddenSize, config.IntermediateSize),
                run.Cancel);
        string template = tokenizer.Template.Name + (encoding.PoolsAsClassifier ? ClassifiersToken : "");
        object parameters = new
        {
            digest,
            Name = template,
            dtype,
            run.Spec.Backbone.MaxTokens,
            allowsSpecials = encoding.AllowsSpecials
        };
        string id = StepRun.KeyOf("features-space", Version, parameters, new Dictionary<string, ArtifactRef>()).Value[..32];
        return (new FeatureSpace(id, folder, digest, dtype, config.HiddenSize, run.Spec.Backbone.MaxTokens)
        {
            Template = template,
            Encoding = encoding,
            Keys = tokenizer.Keys,
        },
            config);
    }

    /// <summary>What the spec names; the backbone of a stored model that is no longer there is looked for by its digest.</summary>
    private static async Task<string> FolderOf(StepRun run)
    {
        string named = Path.GetFullPath(Path.Combine(run.Spec.Folder, run.Spec.Backbone.Path));
        if (run.Spec.Model is not { } model || BackboneStore.IsThere(named)) return named;
        string digest = (await run.OpenJson<FeaturesReport>(ArtifactNames.ModelFeaturesReport)).BackboneDigest;
        string found = await run.Services.Backbones.Locate(named, digest, run.Cancel);
        return BackboneStore.IsThere(found) ? found
            : throw new InvalidInputException(named, "no backbone", $"that of {model}, with sha256 {digest[..16]}…",
                $"Say where it lies now: armoflow models backbone {model} PATH; or name its folder in the spec: backbone: {{ path: … }}.");
    }

    /// <summary>The backbone's files as this machine sees them; hashed once as long as they do not change.</summary>
    public static Task<string> DigestOf(string folder, StepRun run)
    {
        string stamp = StepRun.KeyOf(Checkpoint.Stamp(folder), 1, "", new Dictionary<string, ArtifactRef>()).Value;
        return run.Services.Steps.Settle($"digest {folder} {stamp}", () => Checkpoint.Digest(folder, run.Cancel), run.Cancel);
    }
}

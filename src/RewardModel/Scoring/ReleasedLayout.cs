using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Gating;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Tensors;
using ArmoFlow.RewardModel.Text;
using TorchSharp;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Scoring;

/// <summary>A conversation and the score that a loaded copy of the model must give it.</summary>
public sealed record GoldenRow(IReadOnlyList<Message> Messages, double Score);

/// <summary>
/// What the released layout has no place for. The paper's objectives stand in its file as the released model spells them.
/// </summary>
public sealed record ModelCard
{
    /// <summary>The names of the k objectives, in the order of the weights' rows.</summary>
    public required IReadOnlyList<string> Objectives { get; init; }

    /// <summary>The name of the chat template.</summary>
    public required string Template { get; init; }

    /// <summary>'f32' or 'bf16', as the features were computed in.</summary>
    public required string Dtype { get; init; }

    /// <summary>The longest conversation that is scored, in tokens.</summary>
    public required int MaxTokens { get; init; }

    /// <summary>See <see cref="EncodingOptions.AllowsSpecials"/>.</summary>
    public bool AllowsSpecials { get; init; }

    /// <summary>See <see cref="EncodingOptions.TemplateDate"/>.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public DateOnly? TemplateDate { get; init; }

    /// <summary>See <see cref="EncodingOptions.PoolsAsClassifier"/>.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public bool PoolsAsClassifier { get; init; }

    /// <summary>How conversations become tokens.</summary>
    internal EncodingOptions Encoding =>
        new() { AllowsSpecials = AllowsSpecials, TemplateDate = TemplateDate, PoolsAsClassifier = PoolsAsClassifier };

    /// <summary>Conversations with the scores that they must have.</summary>
    public required IReadOnlyList<GoldenRow> GoldenRows { get; init; }

    /// <summary>Why its scores mean nothing; null where they mean something.</summary>
    public string? NoSignal { get; init; }
}

/// <summary>
/// The folder layout of the released ArmoRM-Llama3-8B-v0.1: the backbone's shards, regression_layer.weight [k, d],
/// reward_transform_matrix [k, k] and gating.* beside them, and four more keys in config.json.
/// </summary>
public static class ReleasedLayout
{
    private const string HeadFile = "model-reward-head.safetensors", IndexFile = "model.safetensors.index.json", CardFile = "armoflow.json";
    private const double Float32Drift = 1e-3, BFloat16Drift = 5e-2; // relative; a wrong backbone or template misses by far more
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web) { WriteIndented = true };

    /// <summary>Writes the folder beside its place and renames it.</summary>
    /// <exception cref="InvalidInputException">The folder exists and is not empty.</exception>
    public static void Export(string backbone, TrainedModel model, ModelCard card, string folder)
    {
        if (Directory.Exists(folder) && Directory.EnumerateFileSystemEntries(folder).Any())
            throw new InvalidInputException(folder, "a folder that is not empty", "a new folder", "Choose another --out.");
        string beside = $"{Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder))}.{Environment.ProcessId}.partial";
        Directory.CreateDirectory(beside);
        try
        {
            WriteTo(beside, backbone, model, card);
            if (Directory.Exists(folder)) Directory.Delete(folder);
            Directory.Move(beside, folder);
        }
        finally
        {
            if (Directory.Exists(beside)) Directory.Delete(beside, recursive: true);
        }
    }

    private static void WriteTo(string folder, string backbone, TrainedModel model, ModelCard card)
    {
        foreach (string name in new[]
        {
            "tokenizer.json",
            "tokenizer_config.json",
            "chat_template.jinja",
            "special_tokens_map.json",
            "generation_config.json"
        })
            if (File.Exists(Path.Combine(backbone, name))) File.Copy(Path.Combine(backbone, name), Path.Combine(folder, name));
        JsonObject map = [];
        using (Checkpoint checkpoint = new(backbone)) CopyWeights(checkpoint, backbone, folder, map);
        using DisposeScope scope = NewDisposeScope();
        int k = model.Objectives.Count;
        List<(string, Tensor)> head =
        [
            ("regression_layer.weight", model.Weight.ToTensor()),
            ("reward_transform_matrix", model.Transform.ToTensor()),
            .. model.Gate.Tensors()
        ];
        SafetensorsFile.Write(Path.Combine(folder, HeadFile), head);
        foreach ((string tensor, _) in head) map[tensor] = HeadFile;
        long bytes = Directory.EnumerateFiles(folder, "*.safetensors").Sum(RegularFile.Length);
        AtomicFile.WriteText(Path.Combine(folder, IndexFile),
            new JsonObject { ["metadata"] = new JsonObject { ["total_size"] = bytes }, ["weight_map"] = map }.ToJsonString(Json));

        JsonObject config = JsonNode.Parse(File.ReadAllText(Path.Combine(backbone, "config.json")))!.AsObject();
        config["architectures"] = new JsonArray(Architecture(config));
        config["num_objectives"] = k;
        config["gating_temperature"] = model.Gate.Temperature;
        config["gating_hidden_dim"] = model.Gate.Hidden.Count > 0 ? model.Gate.Hidden[0] : 0;
        config["gating_n_hidden"] = model.Gate.Hidden.Count;
        AtomicFile.WriteText(Path.Combine(folder, "config.json"), config.ToJsonString(Json));
        ModelCard released = card with { Objectives = [.. card.Objectives.Select(RatedFormats.ReleasedName)] };
        AtomicFile.WriteText(Path.Combine(folder, CardFile), JsonSerializer.Serialize(released, Json));
    }

    /// <summary>The released model's name, with its family's own in place of Llama.</summary>
    private static string Architecture(JsonObject config)
    {
        string from = config["architectures"] is JsonArray { Count: > 0 } names ? names[0]!.GetValue<string>() : "Llama";
        int end = from.IndexOf("For", StringComparison.Ordinal);
        string family = end > 0 ? from[..end] : from.Replace("Model", "", StringComparison.Ordinal);
        return $"{family}ForRewardModelWithGating";
    }

    /// <summary>Copies the shards; one whose tensors lack the prefix that the layout has is written anew with it.</summary>
    private static void CopyWeights(Checkpoint checkpoint, string backbone, string folder, JsonObject map)
    {
        string[] names = [.. Backbones.Config(backbone).Shapes.Keys];
        foreach (IGrouping<string, string> shard in names.GroupBy(name => Path.GetFileName(checkpoint.FileOf(name).Path)))
        {
            // Under its own name transformers would read it alone, without the index and the head.
            string file = shard.Key == "model.safetensors" ? "model-00001-of-00001.safetensors" : shard.Key;
            string target = Path.Combine(folder, file);
            foreach (string name in shard) map[name] = file;
            if (shard.All(name => checkpoint.StoredName(name) == name))
            {
                File.Copy(Path.Combine(backbone, shard.Key), target);
                continue;
            }
            using DisposeScope scope = NewDisposeScope();
            SafetensorsFile.Write(target, [.. shard.Select(name => (name, checkpoint.FileOf(name).Load(checkpoint.StoredName(name))))]);
        }
    }

    /// <summary>What we wrote beside an exported model; null for the released one.</summary>
    public static ModelCard? CardOf(string folder)
    {
        string path = Path.Combine(folder, CardFile);
        return File.Exists(path) ? JsonSerializer.Deserialize<ModelCard>(File.ReadAllBytes(path), Json) : null;
    }

    /// <summary>Loads an exported or released folder and checks its golden rows, where it has any.</summary>
    /// <exception cref="InvalidInputException">The folder is not of this layout, or its scores have drifted.</exception>
    public static ConversationScorer Import(string folder)
    {
        string configPath = Path.Combine(folder, "config.json");
        BackboneConfig shape = Backbones.Config(folder);
        double temperature;
        int k;
        using (JsonDocument config = JsonDocument.Parse(File.ReadAllBytes(configPath)))
        {
            if (!config.RootElement.TryGetProperty("num_objectives", out JsonElement objectives))
            {
                throw new InvalidInputException(configPath, "no key 'num_objectives'", "the configuration of an exported reward model",
                    "This is a bare backbone; export a run with: armoflow models export.");
            }
            k = objectives.GetInt32();
            temperature = config.RootElement.TryGetProperty("gating_temperature", out JsonElement value) ? value.GetDouble() : 1;
        }
        ModelCard? card = CardOf(folder);
        IReadOnlyList<string> names = card?.Objectives.Select(RatedFormats.OurName).ToArray()
            ?? (k == RatedFormats.PaperObjectives.Count
                ? RatedFormats.PaperObjectives
                : [.. Enumerable.Range(0, k).Select(i => string.Create(CultureInfo.InvariantCulture, $"objective-{i}"))]);
        TrainedModel model;
        using (Checkpoint checkpoint = new(folder))
        {
            SafetensorsFile head = checkpoint.FileOf("regression_layer.weight");
            model = new TrainedModel(names, head.LoadMatrix("regression_layer.weight"),
                checkpoint.FileOf("reward_transform_matrix").LoadMatrix("reward_transform_matrix"),
                GatingNetwork.Load(checkpoint.FileOf("gating.logit_scale"), temperature));
        }
        ConversationScorer scorer = new(folder, model, card?.Dtype ?? "f32",
            card?.MaxTokens ?? shape.MaxPositionEmbeddings, card?.Encoding);
        if (card is { GoldenRows.Count: > 0 }) Verify(scorer, card, folder);
        return scorer;
    }

    private static void Verify(ConversationScorer scorer, ModelCard card, string folder)
    {
        string template = scorer.Tokenizer.Template.Name;
        if (card.Template != template) throw Drifted(scorer, folder, $"template '{template}'", $"'{card.Template}'");
        IReadOnlyList<Explanation> scores =
            scorer.Score([.. card.GoldenRows.Select((g, i) => Conversation.Create(g.Messages, $"{CardFile} golden row {i + 1}"))]);
        double tolerance = card.Dtype == "bf16" ? BFloat16Drift : Float32Drift;
        for (int i = 0; i < scores.Count; i++)
        {
            if (!(Math.Abs(scores[i].Score - card.GoldenRows[i].Score) <= tolerance * Math.Max(1, Math.Abs(card.GoldenRows[i].Score))))
            {
                throw Drifted(scorer, folder,
                    string.Create(CultureInfo.InvariantCulture, $"golden row {i + 1} scores {scores[i].Score:g8}"),
                    string.Create(CultureInfo.InvariantCulture, $"{card.GoldenRows[i].Score:g8}, as when it was exported"));
            }
        }
    }

    private static InvalidInputException Drifted(ConversationScorer scorer, string folder, string found, string expected)
    {
        scorer.Dispose();
        return new InvalidInputException(folder, found, expected,
            "The backbone, the template or the layout is not the one this model was exported with; export it again.");
    }
}

using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace ArmoFlow.Contracts.Specs;

/// <summary>Reads a run's spec from YAML (or JSON, which YAML contains), and refuses unknown keys and impossible values.</summary>
public static class SpecReader
{
    /// <summary>The longest text that is read as a spec.</summary>
    public const int MostBytes = 1 << 20;

    /// <summary>The longest spec as the database keeps it, in bytes of JSON with every alias written out.</summary>
    public const int MostStoredBytes = 4 << 20;

    private const int MostNodes = 200_000; // a mapping that is named and used again counts each time
    private const int MostLevels = 32; // or a mapping that contains itself would have no end
    private const double StrayPreferences = 0.01;
    private const int WidestLayer = 1 << 16, MostLayers = 64;
    private static readonly string[] SourceKeys = ["name", "files", "format", "maxDroppedShare", "ignore", "columns"];
    private static readonly string[] Keys =
    [
        "name", "tags", "objectives", "backbone", "ratings", "preferences", "benchmark", "regression", "decorrelation", "gating",
        "evaluation", "limits", "promotion", "retrain", "model", "alerts",
    ];

    private static readonly string[] GatingKeys = ["steps", "batchSize", "learningRate", "beta", "temperature", "hidden", "seed"];

    private static readonly string[] PromotionKeys = [.. Gate.All.Select(g => g.Key), "objectives", "approvals", "automatic"];
    private const string Promoters = "promoters";

    /// <exception cref="SpecException">The file is missing or not a spec.</exception>
    public static RunSpec Load(string path)
    {
        if (Directory.Exists(path)) path = Path.Combine(path, "spec.yaml");
        if (RegularFile.OtherKind(path) is { } kind)
            throw new SpecException(path, kind, "a spec (YAML), in a regular file", "Write the spec to a file and name that.");
        if (!File.Exists(path))
        {
            throw new SpecException(path, "no such file", "a spec (YAML)",
                "Check the path, or write a sample project with: armoflow init DIR.");
        }
        string text;
        try
        {
            long bytes = RegularFile.Length(path);
            if (bytes > MostBytes) throw TooLarge(Path.GetFileName(path), bytes);
            text = File.ReadAllText(path);
            if (text.Contains('\0'))
                throw new SpecException(path, "a file that holds no text", "a spec (YAML)", "Check the path.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new SpecException(path, $"a file that cannot be read ({e.Message})", "a spec (YAML)",
                "Check the file's permissions and where its links lead.");
        }
        return Parse(text, Path.GetFileName(path), Path.GetDirectoryName(Path.GetFullPath(path))!);
    }

    /// <param name="yaml">The text.</param>
    /// <param name="file">How errors name it.</param>
    /// <param name="folder">What its paths are relative to.</param>
    /// <exception cref="SpecException">The text is not a spec.</exception>
    public static RunSpec Parse(string yaml, string file, string folder)
    {
        SpecNode root = new(Root(yaml, file), file, "", Keys);
        string? model = root.OptionalText("model");
        if (model is not null) CheckEvaluation(root);
        RunSpec spec = new()
        {
            Name = root.Has("name") ? Name(root, "name") : StoredText.ToName(Path.GetFileName(folder)),
            Folder = folder,
            Model = model,
            Tags = Tags(root),
            Objectives = root.Texts("objectives"),
            Backbone = model is not null && !root.Has("backbone")
                ? BackboneSpec.OfModel
                : Backbone(root.Child("backbone", "path", "dtype", "maxTokens", "templateSpecials", "templateDate", "pooling")),
            Ratings = model is not null ? [] : Sources(root, "ratings", "armorm-ratings", 0),
            Preferences = model is not null && !root.Has("preferences") ? [] : Sources(root, "preferences", "pairs", StrayPreferences),
            Benchmark = root.OptionalChild("benchmark", "files", "format", "maxDroppedShare", "sections") is { } benchmark
                ? Benchmark(benchmark)
                : null,
            Regression = new RegressionSpec { Alphas = root.OptionalChild("regression", "alphas")?.Numbers("alphas", 0) ?? [] },
            Decorrelation = root.OptionalChild("decorrelation", "verbosity", "reference", "metric") is { } decorrelation
                ? Decorrelation(decorrelation)
                : new DecorrelationSpec(),
            Gating = root.OptionalChild("gating", GatingKeys) is { } gating ? Gating(gating) : new GatingSpec(),
            Limits = root.OptionalChild("limits", "stepHours", "runHours") is { } limits
                ? Limits(limits)
                : new LimitsSpec(),
            Evaluation = Evaluation(root.OptionalChild("evaluation", "baselines"), model is not null),
            Promotion = Promotion(root.OptionalChild("promotion", PromotionKeys), isOfStoredModel: model is not null),
            Alerts = root.OptionalChild("alerts", "webhook") is { } alerts ? Alerts(alerts) : null,
            Retrain = root.OptionalChild("retrain", "newRows", "newShare", "atMostEveryHours", "debounceSeconds", "cron") is { } retrain
                ? Retrain(retrain)
                : null,
        };
        Check(spec, root);
        RequireRoom(spec, file);
        return spec;
    }

    private static void RequireRoom(RunSpec spec, string file)
    {
        long stored = JsonSerializer.SerializeToUtf8Bytes(spec).LongLength;
        if (stored <= MostStoredBytes) return;
        throw new SpecException(file, $"a spec that takes {stored:N0} bytes in the database", $"at most {MostStoredBytes:N0}", ManyFiles);
    }

    private static LimitsSpec Limits(SpecNode limits) => new()
    {
        StepHours = limits.Number("stepHours", 24, 0, 1e5, openMin: true),
        RunHours = limits.Number("runHours", 7 * 24, 0, 1e5, openMin: true)
    };

    private static RetrainSpec Retrain(SpecNode retrain) => new()
    {
        NewRows = retrain.Has("newRows") ? retrain.Integer("newRows", 0, 1, int.MaxValue) : null,
        NewShare = retrain.Has("newShare") ? retrain.Number("newShare", 0, 0, 1e6, openMin: true) : null,
        AtMostEveryHours = retrain.Number("atMostEveryHours", 0, 0, 1e5),
        Cron = retrain.OptionalText("cron"),
        DebounceSeconds = retrain.Number("debounceSeconds", 60, 0, 1e6),
    };

    /// <summary>Reads a model's policy: the keys of a spec's 'promotion', and 'promoters'.</summary>
    /// <param name="yaml">The text.</param>
    /// <param name="file">How errors name it.</param>
    /// <exception cref="SpecException">The text is no policy, or asks for nothing.</exception>
    public static PolicySpec ParsePolicy(string yaml, string file)
    {
        SpecNode root = new(Root(yaml, file), file, "", [.. PromotionKeys, Promoters]);
        IReadOnlyList<string> promoters = root.Texts(Promoters);
        PolicySpec gates = Promotion(root, new PolicySpec { Promoters = promoters }, isOfStoredModel: false);
        if (promoters.Any(string.IsNullOrWhiteSpace)) throw root.Wrong(Promoters, "an empty name", "names of keys or users", "Remove it.");
        if (gates.AsksForNothing() && promoters.Count == 0)
        {
            throw root.Wrong(Promoters, "a policy that asks for nothing", "at least one gate, 'approvals' or 'promoters'",
                "Add minimumScore: 0.8, or remove the policy: armoflow models policy remove.");
        }
        return gates;
    }

    private const string ManyFiles = "Name many files by a pattern (files: [data/*.jsonl]) or as a data set (files: [dataset:NAME]).";

    private static SpecException TooLarge(string file, long bytes) =>
        new(file, $"a spec of {bytes:N0} bytes", $"at most {MostBytes:N0}", ManyFiles);

    /// <summary>Counts what the text stands for, aliases written out.</summary>
    private static bool Fits(YamlNode node, int levels, ref int left, ref int characters)
    {
        if (--left < 0 || levels == 0) return false;
        switch (node)
        {
            case YamlSequenceNode list:
                foreach (YamlNode item in list)
                {
                    if (!Fits(item, levels - 1, ref left, ref characters)) return false;
                }
                return true;
            case YamlMappingNode mapping:
                foreach ((YamlNode key, YamlNode value) in mapping)
                {
                    if (!Fits(key, levels - 1, ref left, ref characters)) return false;
                    if (!Fits(value, levels - 1, ref left, ref characters)) return false;
                }
                return true;
            case YamlScalarNode { Value: { } value }:
                characters -= value.Length;
                return characters >= 0;
            default:
                return true;
        }
    }

    /// <summary>The text as YAML, bounded in length, depth and in what its aliases stand for.</summary>
    private static YamlNode Root(string yaml, string file)
    {
        if (Encoding.UTF8.GetByteCount(yaml) is var bytes && bytes > MostBytes) throw TooLarge(file, bytes);
        new YamlShape(file, MostLevels).Require(yaml);
        YamlStream stream = [];
        try { stream.Load(new StringReader(yaml)); }
        catch (InvalidOperationException)
        {
            throw new SpecException($"{file} line {yaml.Split('\n').Length}",
                "not YAML (the text ends within a list or a mapping)", "the keys of a spec", "Close the bracket.");
        }
        catch (YamlException e)
        {
            throw new SpecException($"{file} line {e.Start.Line}", $"not YAML ({e.Message.Split(": ")[^1]})",
                "the keys of a spec", "Correct the syntax.");
        }
        catch (ArgumentException) // the library's, where a document ends within a value
        {
            throw new SpecException(file, "not YAML (a document ends within a value)", "the keys of a spec",
                "Correct the syntax, and look for '---' and '...'.");
        }
        if (stream.Documents.Count > 1)
        {
            throw new SpecException($"{file} line {stream.Documents[1].RootNode.Start.Line}", "a second document ('---')", "one",
                "Put it in a file of its own.");
        }
        if (stream.Documents.Count == 0) throw new SpecException(file, "an empty file", "a spec", "See: armoflow init DIR.");
        int left = MostNodes, characters = MostStoredBytes; // a text that is named once may be used many times, and is stored each time
        if (!Fits(stream.Documents[0].RootNode, MostLevels, ref left, ref characters))
        {
            string found = characters < 0 ? $"more than {MostStoredBytes:N0} characters with its aliases written out"
                : $"more than {MostNodes:N0} values, or more than {MostLevels} levels";
            throw new SpecException(file, found, "fewer", ManyFiles);
        }
        return stream.Documents[0].RootNode;
    }

    /// <summary>Identity of a spec: equal for the same spec at the same place.</summary>
    public static string Digest(RunSpec spec) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(JsonSerializer.Serialize(spec))));

    /// <summary>A run's name is its model's: it stands in addresses and in NAME@ALIAS.</summary>
    private static string Name(SpecNode node, string key)
    {
        string name = node.Text(key);
        if (StoredText.WrongAsName(name) is not { } expected) return name;
        string better = StoredText.Excerpt(StoredText.ToName(name));
        throw node.Wrong(key, $"'{key}: {StoredText.Excerpt(name)}'", expected, $"Correct the name, such as '{better}'.");
    }

    private static string Label(SpecNode node, string key)
    {
        string text = node.Text(key);
        if (StoredText.WrongAsLabel(text, StoredText.LongestName) is not { } expected) return text;
        throw node.Wrong(key, $"'{key}: {StoredText.Excerpt(text)}'", expected, "Correct the name.");
    }

    private static IReadOnlyList<string> Tags(SpecNode root)
    {
        IReadOnlyList<string> tags = root.Texts("tags");
        if (tags.Count > StoredText.MostTags)
            throw root.Wrong("tags", $"{tags.Count} tags", $"at most {StoredText.MostTags}", "Remove some.");
        foreach (string tag in tags)
        {
            if (StoredText.WrongAsLabel(tag, StoredText.LongestTag) is { } expected)
                throw root.Wrong("tags", $"tag '{StoredText.Excerpt(tag)}'", expected, "Correct the tag.");
        }
        return tags;
    }

    private static BackboneSpec Backbone(SpecNode node) =>
        new(node.Text("path"), node.OneOf("dtype", "auto", "auto", "f32", "bf16"), node.Integer("maxTokens", 2048, 8, 1 << 24))
        {
            AllowsSpecials = node.OneOf("templateSpecials", "text", "text", "allow") == "allow",
            TemplateDate = node.OptionalDay("templateDate"),
            PoolsAsClassifier = node.OneOf("pooling", "last", "last", "classifier") == "classifier",
        };

    private static List<SourceSpec> Sources(SpecNode root, string key, string format, double maxDropped)
    {
        List<SourceSpec> sources = [.. root.Children(key, SourceKeys).Select(node => new SourceSpec
        {
            Name = Label(node, "name"),
            Files = Files(node),
            Format = node.OptionalText("format") ?? format,
            MaxDroppedShare = node.Number("maxDroppedShare", maxDropped, 0, 1),
            Ignore = node.Texts("ignore"),
            Columns = node.OptionalChild("columns") is { } columns
                ? [.. columns.Keys.Select(o => Column(columns.Child(o, "column", "min", "max"), o))]
                : [],
        })];
        if (sources.Count == 0)
            throw root.Wrong(key, $"no source under '{key}'", "at least one", $"Add {key}: [{{ name: …, files: […], format: {format} }}].");
        if (sources.GroupBy(s => s.Name).FirstOrDefault(g => g.Count() > 1) is { } twice)
            throw root.Wrong(key, $"two sources named '{twice.Key}'", "names of their own", "Rename one.");
        return sources;
    }

    private static IReadOnlyList<string> Files(SpecNode node)
    {
        IReadOnlyList<string> files = node.Texts("files");
        if (files.Count == 0) throw node.Wrong("files", "no 'files'", "a list of paths or patterns", "Add files: [ … ].");
        foreach (string file in files)
        {
            if (DatasetReference.TryParse(file) is { } reference
                && (reference.ToString() != file || !DatasetReference.IsName(reference.Name)))
            {
                throw node.Wrong("files", $"'{file}'", "dataset:NAME, or dataset:NAME@VERSION with a version's number",
                    "Correct it, or leave the version out for the newest.");
            }
        }
        return files;
    }

    private static ColumnSpec Column(SpecNode node, string objective)
    {
        double min = node.Number("min", 0, double.MinValue, double.MaxValue), max = node.Number("max", 1, double.MinValue, double.MaxValue);
        return max > min
            ? new ColumnSpec(objective, node.OptionalText("column") ?? objective, min, max)
            : throw node.Wrong("max", $"max {max} under min {min}", "max above min", "Correct the range.");
    }

    private static BenchmarkSpec Benchmark(SpecNode node) => new()
    {
        Files = Files(node),
        Format = node.OneOf("format", "rewardbench", "rewardbench"),
        MaxDroppedShare = node.Number("maxDroppedShare", 0, 0, 1),
        Sections = node.OptionalChild("sections") is { } sections ? sections.Keys.ToDictionary(s => s, s => sections.Child(s) is { } subsets
            ? subsets.Keys.ToDictionary(x => x, x => subsets.Number(x, 1, 0, double.MaxValue, openMin: true)) : []) : null,
    };

    private static DecorrelationSpec Decorrelation(SpecNode node) => new()
    {
        Verbosity = node.OptionalText("verbosity") ?? new DecorrelationSpec().Verbosity,
        Reference = node.OptionalText("reference"),
        Metric = node.OneOf("metric", "spearman", "spearman", "pearson"),
    };

    private static GatingSpec Gating(SpecNode node)
    {
        GatingSpec defaults = new();
        IReadOnlyList<double> hidden = node.Numbers("hidden", 1);
        if (hidden.Count > MostLayers)
            throw node.Wrong("hidden", $"{hidden.Count} layers", $"at most {MostLayers}", "Leave some out.");
        return new GatingSpec
        {
            Steps = node.Integer("steps", defaults.Steps, 1, 100_000_000),
            BatchSize = node.Integer("batchSize", defaults.BatchSize, 1, 1 << 20),
            LearningRate = node.Number("learningRate", defaults.LearningRate, 0, 10, openMin: true),
            Beta = node.Number("beta", defaults.Beta, 0, double.MaxValue, openMin: true),
            Temperature = node.Number("temperature", defaults.Temperature, 0, double.MaxValue, openMin: true),
            Hidden = node.Has("hidden")
                ? [.. hidden.Select(h => h == Math.Floor(h) && h <= WidestLayer
                    ? (int)h
                    : throw node.Wrong("hidden", $"a width of {h}", $"whole numbers from 1 to {WidestLayer}", "Correct the value."))]
                : defaults.Hidden,
            Seed = node.Long("seed", defaults.Seed),
        };
    }

    /// <summary>What an evaluation takes from the model is not given beside it.</summary>
    private static void CheckEvaluation(SpecNode root)
    {
        foreach (string key in new[] { "objectives", "ratings", "regression", "decorrelation", "gating", "retrain" })
        {
            if (root.Has(key))
            {
                throw root.Wrong(key, $"'{key}' beside 'model'", "data to evaluate the model on: benchmark, preferences",
                    $"Remove '{key}', which the model brings; or remove 'model' to train one.");
            }
        }
        if (!root.Has("benchmark") && !root.Has("preferences"))
        {
            throw root.Wrong("model", "neither 'benchmark' nor 'preferences' beside 'model'", "data to evaluate the model on",
                "Add benchmark: { files: [ … ] }.");
        }
    }

    private static AlertsSpec Alerts(SpecNode node) =>
        Uri.TryCreate(node.Text("webhook"), UriKind.Absolute, out Uri? address) && address.Scheme is "http" or "https"
            ? new AlertsSpec(node.Text("webhook"))
            : throw node.Wrong("webhook", "a text that is no address", "an address such as https://host/path", "Correct the address.");

    private static EvaluationSpec Evaluation(SpecNode? node, bool isOfStoredModel)
    {
        if (node is null || !node.Has("baselines")) return isOfStoredModel ? new EvaluationSpec { Baselines = [] } : new EvaluationSpec();
        if (isOfStoredModel && node.Texts("baselines").Contains("bradley-terry"))
        {
            throw node.Wrong("baselines", "baseline 'bradley-terry' beside 'model'", "mean, or none",
                "Remove it: that head is trained with the model, not when one is evaluated.");
        }
        foreach (string name in node.Texts("baselines"))
        {
            if (name is not ("bradley-terry" or "mean"))
            {
                throw node.Wrong("baselines", $"baseline '{name}'", "bradley-terry or mean",
                    DidYouMean.Suggest(name, ["bradley-terry", "mean"]));
            }
        }
        return new EvaluationSpec { Baselines = node.Texts("baselines") };
    }

    private static PromotionSpec? Promotion(SpecNode? node, bool isOfStoredModel) =>
        node is null ? null : Promotion(node, new PromotionSpec(), isOfStoredModel);

    private static T Promotion<T>(SpecNode node, T blank, bool isOfStoredModel) where T : PromotionSpec
    {
        PromotionSpec unbounded = blank with
        {
            Approvals = node.Has("approvals") && node.Integer("approvals", 1, 1, 10) is var people and > 1 ? people : null,
            Automatic = node.Has("automatic") ? Automatic(node, isOfStoredModel) : null,
            Objectives = node.OptionalChild("objectives") is { } floors
                ? floors.Keys.ToDictionary(o => o, o => floors.Number(o, 0, double.MinValue, 1))
                : [],
        };
        return (T)Gate.All.Where(g => node.Has(g.Key))
            .Aggregate(unbounded, (spec, gate) => gate.Set(spec, node.Number(gate.Key, 0, 0, 1)));
    }

    private static string Automatic(SpecNode node, bool isOfStoredModel)
    {
        string alias = node.Text("automatic");
        if (isOfStoredModel)
        {
            throw node.Wrong("automatic", "'automatic' beside 'model'", "gates alone",
                "Remove it: an evaluation makes no version that could be promoted.");
        }
        if (node.Has("approvals"))
        {
            throw node.Wrong("automatic", "'automatic' beside 'approvals'", "one of them",
                "Remove 'approvals' for promotions that nobody asks for, or 'automatic' for those that people ask for.");
        }
        return PromotionSpec.IsAlias(alias)
            ? alias
            : throw node.Wrong("automatic", $"'{alias}'", "an alias such as champion: letters, digits, '-' and '_', and no version number",
                "Correct the name.");
    }

    private static void Check(RunSpec spec, SpecNode root)
    {
        foreach (string objective in spec.Objectives)
        {
            if (StoredText.WrongAsLabel(objective, StoredText.LongestName) is { } expected)
                throw root.Wrong("objectives", $"objective '{StoredText.Excerpt(objective)}'", expected, "Correct the name.");
        }
        if (spec.Objectives.GroupBy(o => o).FirstOrDefault(g => g.Count() > 1) is { } twice)
            throw root.Wrong("objectives", $"objective '{twice.Key}' twice", "each once", "Remove one.");
        if (spec.Objectives.Count == 0) return;
        if (!spec.Objectives.Contains(spec.Decorrelation.Verbosity))
        {
            throw root.Wrong(root.Has("decorrelation") ? "decorrelation" : "objectives",
                $"verbosity objective '{spec.Decorrelation.Verbosity}' is not among 'objectives'", "one of the objectives",
                DidYouMean.Suggest(spec.Decorrelation.Verbosity, spec.Objectives));
        }
        foreach (ColumnSpec column in spec.Ratings.SelectMany(r => r.Columns))
        {
            if (!spec.Objectives.Contains(column.Objective))
            {
                throw root.Wrong("ratings", $"objective '{column.Objective}' is not in this spec", "one of the objectives",
                    DidYouMean.Suggest(column.Objective, spec.Objectives));
            }
        }
        foreach (string objective in spec.Promotion?.Objectives.Keys ?? Enumerable.Empty<string>())
        {
            if (!spec.Objectives.Contains(objective))
            {
                throw root.Wrong("promotion", $"objective '{objective}' is not in this spec", "one of the objectives",
                    DidYouMean.Suggest(objective, spec.Objectives));
            }
        }
        if (spec.Decorrelation.Reference is { } reference && !spec.Preferences.Any(p => p.Name == reference))
        {
            throw root.Wrong("decorrelation", $"reference '{reference}'", "the name of a preference source",
                DidYouMean.Suggest(reference, spec.Preferences.Select(p => p.Name)));
        }
    }
}

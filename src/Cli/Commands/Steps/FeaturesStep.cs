using System.CommandLine;
using System.Text.Json;
using ArmoFlow.RewardModel;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Tensors;
using ArmoFlow.RewardModel.Text;
using TorchSharp;
using static TorchSharp.torch;

namespace ArmoFlow.Cli.Commands.Steps;

internal static class FeaturesStep
{
    private sealed record LeftOut(int Line, string Place, string Reason);

    /// <summary>A kept line: one conversation (ratings) or two (pairs).</summary>
    private sealed record Row(int Line, string[] Ids, EncodedConversation[] Sides, Dictionary<string, double> Labels);

    /// <summary>What a file holds: its kept lines, its label columns, and what was left out.</summary>
    private sealed record Table(List<Row> Rows, IReadOnlyList<string> Labels, List<LeftOut> LeftOut, int RowsWithReplacedText);

    private static readonly Option<string> Backbone = StepFiles.File("--backbone", "Folder of a Hugging Face checkpoint."),
        Input = StepFiles.File("--input", "JSONL, JSON or Parquet, also gzipped."),
        Output = StepFiles.File("--out", "The safetensors file to write.");
    private static readonly Option<string> Kind = new Option<string>("--kind")
    {
        Description = "ratings ({messages, objective: value}) or pairs ({chosen, rejected}).",
        Required = true
    }.AcceptOnlyFromAmong("ratings", "pairs");
    private static readonly Option<string> Dtype = new Option<string>("--dtype")
    {
        Description = "auto, f32 or bf16.",
        DefaultValueFactory = _ => "auto"
    }.AcceptOnlyFromAmong("auto", "f32", "bf16");
    private static readonly Option<string> Specials = new Option<string>("--template-specials")
    {
        Description = "What a control token's spelling in a text is: text, or with allow that token, as in Hugging Face's tokenizers.",
        DefaultValueFactory = _ => "text"
    }.AcceptOnlyFromAmong("text", "allow");
    private static readonly Option<DateOnly?> TemplateDate = new("--template-date")
    {
        Description = "The day that a chat template with a date in it writes, such as 2024-07-26 (the default).",
        CustomParser = Options.Day
    };
    private static readonly Option<string> Pooling = new Option<string>("--pooling")
    {
        Description = "Which token f(x⊕y) is read at: last, or with classifier the last one that is not the config's padding.",
        DefaultValueFactory = _ => "last"
    }.AcceptOnlyFromAmong("last", "classifier");
    private static readonly Option<int?> MaxTokens =
        new("--max-tokens") { Description = "Longer conversations are left out (default: the backbone's context)." };
    private static readonly Option<double> MaxDropped = new("--max-dropped-share")
    {
        Description =
            "Largest share of lines with an empty response or identical sides that are left out (default: 0.01 for pairs, 0 for "
                + "ratings).",
        DefaultValueFactory = _ => -1,
        CustomParser = Options.Number
    };
    private static readonly Option<string?> Report = StepFiles.Optional("--report", "JSON with the rows kept and the lines left out.");

    public static Command Command()
    {
        Command command = new("features", "Extracts f(x⊕y) and f(x) of every line.")
        {
            Backbone,
            Input,
            Kind,
            Output,
            Dtype,
            MaxTokens,
            Specials,
            TemplateDate,
            Pooling,
            MaxDropped,
            Report
        };
        command.SetAction(Run);
        return command;
    }

    private static async Task<int> Run(ParseResult parsed, CancellationToken cancel)
    {
        string folder = parsed.GetRequiredValue(Backbone), file = parsed.GetRequiredValue(Input);
        bool pairs = parsed.GetRequiredValue(Kind) == "pairs";
        (BackboneConfig config, ChatTokenizer tokenizer) = BackboneParts.Open(folder, new EncodingOptions
        {
            AllowsSpecials = parsed.GetRequiredValue(Specials) == "allow",
            TemplateDate = parsed.GetValue(TemplateDate),
            PoolsAsClassifier = parsed.GetRequiredValue(Pooling) == "classifier",
        });
        int limit = parsed.GetValue(MaxTokens) ?? config.MaxPositionEmbeddings;
        double usual = pairs ? 0.01 : 0;
        double share = parsed.GetValue(MaxDropped) is >= 0 and double given ? given : usual;
        (List<Row> rows, IReadOnlyList<string> columns, List<LeftOut> leftOut, int replaced) =
            await Read(file, pairs, tokenizer, limit, share, cancel);
        string settled = ComputeType.Settle(parsed.GetRequiredValue(Dtype), ComputeType.CheckpointBytes(folder), config.HiddenSize,
            config.IntermediateSize);
        using (FeatureExtractor extractor = new(folder, ComputeType.Parse(settled), ComputeType.BestDevice))
            Extract(extractor, rows, columns, pairs, parsed.GetRequiredValue(Output), cancel);
        StepFiles.WriteReport(parsed.GetValue(Report),
            new
            {
                input = file,
                kind = pairs ? "pairs" : "ratings",
                rows = rows.Count,
                lines = rows.Select(r => r.Line),
                labels = columns,
                leftOut,
                dtype = settled,
                maxTokens = limit,
                dimension = config.HiddenSize
            });
        if (!pairs) Console.Error.WriteLine($"labels, from 0: {string.Join(", ", columns)}");
        if (replaced > 0) Console.Error.WriteLine($"{replaced:N0} lines held half surrogate pairs, read as U+FFFD");
        Console.Error.WriteLine($"{rows.Count:N0} rows of {config.HiddenSize} dimensions ({settled}), {leftOut.Count:N0} lines left "
            + $"out → {parsed.GetRequiredValue(Output)}");
        return ExitCodes.Done;
    }

    private static async Task<Table> Read(string file, bool pairs, ChatTokenizer tokenizer, int limit, double share,
        CancellationToken cancel)
    {
        List<Row> rows = [];
        LabelColumns columns = new();
        List<LeftOut> leftOut = [];
        InvalidInputException? firstStray = null;
        int line = 0, strays = 0, replaced = 0;
        await foreach (SourceRow source in RowReader.Read(file, file, cancel))
        {
            line++;
            if (source.Replaced > 0) replaced++;
            try
            {
                Conversation[] sides = pairs ? Pair(source) : [source.Messages("messages")];
                Dictionary<string, double> labels = pairs ? [] : columns.Read(source);
                EncodingResult[] encoded = [.. sides.Select(side => tokenizer.EncodeWithin(side, limit, cancel))];
                if (Reason(encoded, limit) is { } reason) leftOut.Add(new LeftOut(line, source.Place, reason));
                else
                {
                    rows.Add(new Row(line, [.. sides.Select(s => s.Id)],
                        [.. encoded.Cast<EncodingResult.Done>().Select(e => e.Conversation)], labels));
                }
            }
            catch (InvalidInputException e) when (e.StrayRow is not null && share > 0)
            {
                (firstStray, strays) = (firstStray ?? e, strays + 1);
                leftOut.Add(new LeftOut(line, source.Place, e.StrayRow));
            }
        }
        if (strays > share * line) throw firstStray!;
        if (rows.Count == 0)
        {
            throw new InvalidInputException(file, "no usable line", "at least one",
                leftOut.Count > 0 ? $"First reason: {leftOut[0].Place}: {leftOut[0].Reason}." : "Check the file.");
        }
        return new Table(rows, pairs ? [] : columns.Names(), leftOut, replaced);
    }

    private static Conversation[] Pair(SourceRow row)
    {
        PreferencePair pair = PairFormats.Pair(row);
        return [pair.Chosen, pair.Rejected];
    }

    /// <summary>Why a line's conversations have no features; null where all have.</summary>
    private static string? Reason(EncodingResult[] sides, int limit)
    {
        if (sides.OfType<EncodingResult.Refused>().FirstOrDefault() is { } refused) return $"refused by the chat template: {refused.Why}";
        EncodingResult.TooLong[] tooLong = [.. sides.OfType<EncodingResult.TooLong>()];
        return tooLong.Length == 0 ? null : $"{tooLong[0].Tokens} tokens, over the limit of {limit}";
    }

    private static void Extract(FeatureExtractor extractor, List<Row> rows, IReadOnlyList<string> columns, bool pairs, string path,
        CancellationToken cancel)
    {
        // Each distinct conversation once; f(x) once for each prompt, so that all of a prompt's responses share one vector.
        Dictionary<string, EncodedConversation> distinct = [];
        foreach (EncodedConversation side in rows.SelectMany(r => r.Sides)) distinct.TryAdd(side.Id, side);
        EncodedConversation[] conversations = [.. distinct.Values];
        ConversationFeatures[] features =
            extractor.Extract(conversations, done => StepFiles.Progress("conversations", done.Conversations, conversations.Length), cancel);
        Dictionary<string, float[]> embedding = [], prompt = [];
        for (int i = 0; i < conversations.Length; i++)
        {
            embedding[conversations[i].Id] = features[i].Embedding;
            prompt.TryAdd(conversations[i].PromptId, features[i].PromptEmbedding);
        }
        using DisposeScope scope = NewDisposeScope();
        int n = rows.Count, d = extractor.Dimension, k = columns.Count;
        long[] shape = pairs ? [n, 2, d] : [n, d];
        List<(string, Tensor)> tensors =
            [("embeddings", tensor([.. rows.SelectMany(r => r.Sides).SelectMany(s => embedding[s.Id])], shape))];
        if (pairs)
            tensors.Add(("prompt_embeddings", tensor([.. rows.SelectMany(r => r.Sides).SelectMany(s => prompt[s.PromptId])], shape)));
        else
        {
            tensors.Add(("labels",
                tensor([.. rows.SelectMany(r => columns.Select(c => r.Labels.TryGetValue(c, out double v)
                    ? (float)v
                    : float.NaN))], [n, k])));
            tensors.Add(("conversation_ids", tensor([.. rows.SelectMany(r => Convert.FromHexString(r.Ids[0]))], [n, 32])));
        }
        tensors.Add(("lines", tensor([.. rows.Select(r => (long)r.Line)])));
        SafetensorsFile.Write(path, tensors, new Dictionary<string, string> { ["labels"] = JsonSerializer.Serialize(columns) });
    }
}

using System.IO.Compression;
using System.Text.Json;
using ArmoFlow.RewardModel.Text;
using Shouldly;
using Xunit;

namespace ArmoFlow.RewardModel.Tests;

/// <summary>Real tokenizers of each kind against the ids that Hugging Face's library and an independent one agree on.</summary>
public class FamilyTokenizerTests
{
    [Theory]
    [InlineData("llama3", "llama3-tokenizer")]
    [InlineData("qwen3", "families/tokenizers/qwen3")]
    [InlineData("gemma3", "families/tokenizers/gemma3")]
    [InlineData("mistral-v0.1", "families/tokenizers/mistral-v0.1")]
    public void Ids_are_those_of_the_reference_on_every_text(string name, string from)
    {
        using TemporaryFolder folder = new();
        string file = folder.File("tokenizer.json");
        using (Stream source = Unpacked(Path.Combine(SharedData.Require(from), "tokenizer.json.gz")))
        using (FileStream target = File.Create(file)) source.CopyTo(target);
        BpeTokenizer tokenizer = BpeTokenizer.Load(file);
        int texts = 0;
        List<string> wrong = [];
        using StreamReader lines = new(Unpacked(Path.Combine(SharedData.Require($"families/tokenizers/{name}"), "reference-ids.jsonl.gz")));
        while (lines.ReadLine() is { } line)
        {
            texts++;
            JsonElement row = JsonElement.Parse(line);
            string text = row.GetProperty("text").GetString()!;
            int[] ids = Ids(row, "ids"), plain = row.TryGetProperty("plain", out _) ? Ids(row, "plain") : ids;
            string shown = $"{texts}: {text[..Math.Min(60, text.Length)]}";
            if (!tokenizer.Encode(text).SequenceEqual(ids)) wrong.Add($"ids of {shown}");
            if (!tokenizer.Encode([new TextRun(text, false)]).SequenceEqual(plain)) wrong.Add($"ids as plain text of {shown}");
        }
        texts.ShouldBeGreaterThan(80);
        wrong.ShouldBeEmpty();
    }

    private static GZipStream Unpacked(string path) => new(File.OpenRead(path), CompressionMode.Decompress);

    private static int[] Ids(JsonElement row, string name) => [.. row.GetProperty(name).EnumerateArray().Select(id => id.GetInt32())];
}

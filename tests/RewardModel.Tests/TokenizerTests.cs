using System.IO.Compression;
using System.Text.Json;
using ArmoFlow.RewardModel.Text;
using Shouldly;
using Xunit;

namespace ArmoFlow.RewardModel.Tests;

public class TokenizerTests
{
    [Fact]
    public void Llama3_ids_equal_the_reference_on_every_text()
    {
        string folder = SharedData.Require("llama3-tokenizer");
        string unpacked = Path.Combine(Path.GetTempPath(), $"armoflow-tokenizer-{Guid.NewGuid():N}.json");
        try
        {
            using (GZipStream source = new(File.OpenRead(Path.Combine(folder, "tokenizer.json.gz")), CompressionMode.Decompress))
            using (FileStream target = File.Create(unpacked)) source.CopyTo(target);
            LlamaTokenizer tokenizer = LlamaTokenizer.Load(unpacked);
            using StreamReader lines = new(new GZipStream(File.OpenRead(Path.Combine(folder, "reference-ids.jsonl.gz")), CompressionMode.Decompress));
            int texts = 0;
            while (lines.ReadLine() is { } line)
            {
                JsonElement row = JsonElement.Parse(line);
                tokenizer.Encode(row.GetProperty("text").GetString()!).ShouldBe(row.GetProperty("ids").EnumerateArray().Select(x => x.GetInt32()).ToArray());
                texts++;
            }
            texts.ShouldBe(151);
        }
        finally
        {
            File.Delete(unpacked);
        }
    }
}

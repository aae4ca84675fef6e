using System.Globalization;
using System.IO.Compression;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
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
            ChatTokenizer tokenizer = ChatTokenizer.Load(unpacked);
            using StreamReader lines =
                new(new GZipStream(File.OpenRead(Path.Combine(folder, "reference-ids.jsonl.gz")), CompressionMode.Decompress));
            int texts = 0;
            while (lines.ReadLine() is { } line)
            {
                JsonElement row = JsonElement.Parse(line);
                tokenizer.Encode(row.GetProperty("text").GetString()!)
                    .ShouldBe(row.GetProperty("ids").EnumerateArray().Select(x => x.GetInt32()).ToArray());
                texts++;
            }
            texts.ShouldBe(151);
            RequireDefinedIds(tokenizer, unpacked);
        }
        finally
        {
            File.Delete(unpacked);
        }
    }

    [Fact]
    public void Words_have_the_ids_that_the_definition_gives_them()
    {
        using TemporaryFolder folder = new();
        // Merges that compete: whichever is taken first decides what is left for the others.
        string[] merges =
        [
            "a b", "b a", "ab a", "a ba", "c c", "cc c", "c cc", "ab ab", "aba b", "cc cc", "ccc c", "c ccc", "a a", "aa b", "a ab",
        ];
        string path = Path.Combine(TinyCheckpoint.Write(folder.File("tiny"), tokenizer: file => AddMerges(file, merges)), "tokenizer.json");
        RequireDefinedIds(ChatTokenizer.Load(path), path);
    }

    /// <summary>By the merges that the file lists, as Hugging Face's library does, not by all that its vocabulary would allow.</summary>
    [Theory]
    [InlineData(true, "xabc", "x ab c")]
    [InlineData(true, "abc", "abc")]
    [InlineData(false, "abc", "ab c")]
    [InlineData(false, "abab", "ab ab")]
    public void A_token_that_no_merge_makes_is_taken_as_a_whole_word_alone_and_where_merges_may_be_ignored(
        bool ignoresMerges, string text, string expected)
    {
        using TemporaryFolder folder = new();
        string path = TinyCheckpoint.Write(folder.File("tiny"), tokenizer: file =>
        {
            AddMerges(file, ["a b"]);
            file["model"]!["vocab"]!["abc"] = 310;
            file["model"]!["ignore_merges"] = ignoresMerges;
        });
        JsonObject vocabulary = JsonNode.Parse(File.ReadAllText(Path.Combine(path, "tokenizer.json")))!["model"]!["vocab"]!.AsObject();
        ChatTokenizer tokenizer = ChatTokenizer.Load(Path.Combine(path, "tokenizer.json"));
        tokenizer.Encode(text).ShouldBe(expected.Split(' ').Select(token => vocabulary[token]!.GetValue<int>()));
    }

    [Fact]
    public void An_added_token_with_the_id_of_another_is_refused()
    {
        using TemporaryFolder folder = new();
        string path = TinyCheckpoint.Write(folder.File("tiny"), tokenizer: file => file["added_tokens"]![0]!["id"] = 97);
        BackboneTests.Refused(() => ChatTokenizer.Load(Path.Combine(path, "tokenizer.json")), "with id 97", "an id of its own");
    }

    /// <summary>Words of few letters, so that many pairs compete for the same place, and texts of several kinds around them.</summary>
    private static void RequireDefinedIds(ChatTokenizer tokenizer, string path)
    {
        JsonNode file = JsonNode.Parse(File.ReadAllText(path))!;
        Dictionary<string, int> vocabulary = file["model"]!["vocab"]!.Deserialize<Dictionary<string, int>>()!;
        Dictionary<(string, string), int> ranks = [];
        foreach (JsonNode? merge in file["model"]!["merges"]!.AsArray())
        {
            string[] parts = merge is JsonArray pair ? [pair[0]!.GetValue<string>(), pair[1]!.GetValue<string>()]
                : merge!.GetValue<string>().Split(' ');
            ranks[(parts[0], parts[1])] = ranks.Count;
        }
        bool takesWholeWords = file["model"]!["ignore_merges"]?.GetValue<bool>() == true;
        Random random = new(17);
        foreach (string letters in new[] { "ab", "abc", "aaab", "abcdefghij", "étü" })
        {
            foreach (int length in new[] { 1, 2, 3, 50, 300 })
            {
                string word = new([.. Enumerable.Range(0, length).Select(_ => letters[random.Next(letters.Length)])]);
                tokenizer.Encode(word).ShouldBe(ByDefinition(word, vocabulary, ranks, takesWholeWords), $"{length} of '{letters}'");
            }
        }
    }

    /// <summary>Of all pairs the one of the lowest rank, the leftmost of these, is merged; and again.</summary>
    private static IEnumerable<int> ByDefinition(string word, Dictionary<string, int> vocabulary, Dictionary<(string, string), int> ranks,
        bool takesWholeWords)
    {
        string spelled = ByteAlphabet.Encode(Encoding.UTF8.GetBytes(word));
        if (takesWholeWords && vocabulary.TryGetValue(spelled, out int whole)) return [whole];
        List<string> parts = [.. spelled.Select(c => c.ToString())];
        while (true)
        {
            int best = -1, rank = int.MaxValue;
            for (int i = 0; i + 1 < parts.Count; i++)
            {
                if (!ranks.TryGetValue((parts[i], parts[i + 1]), out int found) || found >= rank) continue;
                best = i;
                rank = found;
            }
            if (best < 0) return parts.Select(part => vocabulary[part]);
            parts[best] += parts[best + 1];
            parts.RemoveAt(best + 1);
        }
    }

    private static void AddMerges(JsonObject tokenizer, string[] merges)
    {
        JsonObject vocabulary = tokenizer["model"]!["vocab"]!.AsObject();
        int id = 300; // behind the special tokens
        foreach (string merge in merges)
        {
            if (vocabulary.TryAdd(merge.Replace(" ", "", StringComparison.Ordinal), id)) id++;
            tokenizer["model"]!["merges"]!.AsArray().Add(merge);
        }
    }

    [Fact]
    public async Task A_word_of_two_million_letters_is_encoded_in_time_and_can_be_cancelled()
    {
        using TemporaryFolder folder = new();
        ChatTokenizer tokenizer = ChatTokenizer.Load(Path.Combine(TinyCheckpoint.Write(folder.File("tiny"),
            tokenizer: file => AddMerges(file, ["a a", "aa aa"])), "tokenizer.json"));
        string word = new('a', 2_000_000);
        // the library's own loop would take days
        int[] ids = await Task.Run(() => tokenizer.Encode(word)).WaitAsync(TimeSpan.FromSeconds(120));
        ids.Length.ShouldBe(500_000);
        Should.Throw<OperationCanceledException>(() => tokenizer.Encode(word, new CancellationToken(canceled: true)));
    }

    [Fact]
    public void What_is_surely_too_long_is_not_encoded()
    {
        using TemporaryFolder folder = new();
        ChatTokenizer tokenizer = ChatTokenizer.Load(Path.Combine(TinyCheckpoint.Write(folder.File("tiny")), "tokenizer.json"));
        Conversation within = Conversation.Create("prompt", "short", "here"),
            beyond = Conversation.Create("prompt", new string('x', 5000), "here");
        int[] tokens = tokenizer.Encode(within).Tokens;
        tokenizer.EncodeWithin(within, tokens.Length).ShouldBeOfType<EncodingResult.Done>().Conversation.Tokens.ShouldBe(tokens);
        tokenizer.EncodeWithin(within, tokens.Length - 1).ShouldBe(new EncodingResult.TooLong($"{tokens.Length}"));
        string found = tokenizer.EncodeWithin(beyond, 100).ShouldBeOfType<EncodingResult.TooLong>().Tokens;
        found.ShouldStartWith("at least ");
        int.Parse(found["at least ".Length..], CultureInfo.InvariantCulture)
            .ShouldBeLessThanOrEqualTo(tokenizer.Encode(beyond).Tokens.Length);
    }

    [Fact]
    public void A_pattern_that_matches_nothing_is_refused()
    {
        using TemporaryFolder folder = new();
        string path = Path.Combine(TinyCheckpoint.Write(folder.File("tiny"),
            tokenizer: file => file["pre_tokenizer"]!["pretokenizers"]![0]!["pattern"]!["Regex"] = "a*|b"), "tokenizer.json");
        Should.Throw<InvalidInputException>(() => ChatTokenizer.Load(path)).Message.ShouldContain("matches the empty text");
    }

    [Fact]
    public void A_pattern_that_backtracks_without_end_is_given_up_by_name()
    {
        using TemporaryFolder folder = new();
        string path = Path.Combine(TinyCheckpoint.Write(folder.File("tiny"),
            tokenizer: file => file["pre_tokenizer"]!["pretokenizers"]![0]!["pattern"]!["Regex"] = "(a+)+$|b"), "tokenizer.json");
        ChatTokenizer tokenizer = ChatTokenizer.Load(path);
        Should.Throw<InvalidInputException>(() => tokenizer.Encode(new string('a', 60) + "!")).Message.ShouldContain("split pattern");
    }
}

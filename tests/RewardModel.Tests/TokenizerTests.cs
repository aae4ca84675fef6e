using System.IO.Compression;
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
            LlamaTokenizer tokenizer = LlamaTokenizer.Load(unpacked);
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
            RequireTheLibrarysIds(tokenizer);
        }
        finally
        {
            File.Delete(unpacked);
        }
    }

    [Fact]
    public void Long_words_have_the_library_s_ids()
    {
        using TemporaryFolder folder = new();
        // Merges that compete: whichever is taken first decides what is left for the others.
        string[] merges =
        [
            "a b", "b a", "ab a", "a ba", "c c", "cc c", "c cc", "ab ab", "aba b", "cc cc", "ccc c", "c ccc", "a a", "aa b", "a ab",
        ];
        LlamaTokenizer tokenizer = LlamaTokenizer.Load(Path.Combine(TinyCheckpoint.Write(folder.File("tiny"),
            tokenizer: file => AddMerges(file, merges)), "tokenizer.json"));
        RequireTheLibrarysIds(tokenizer);
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
        LlamaTokenizer tokenizer = LlamaTokenizer.Load(Path.Combine(path, "tokenizer.json"));
        tokenizer.Encode(text).ShouldBe(expected.Split(' ').Select(token => vocabulary[token]!.GetValue<int>()));
    }

    [Fact]
    public void An_added_token_with_the_id_of_another_is_refused()
    {
        using TemporaryFolder folder = new();
        string path = TinyCheckpoint.Write(folder.File("tiny"), tokenizer: file => file["added_tokens"]![0]!["id"] = 97);
        BackboneTests.Refused(() => LlamaTokenizer.Load(Path.Combine(path, "tokenizer.json")), "with id 97", "an id of its own");
    }

    /// <summary>Words of few letters, so that many pairs compete for the same place, and texts of several kinds around them.</summary>
    private static void RequireTheLibrarysIds(LlamaTokenizer tokenizer)
    {
        Random random = new(17);
        foreach (string letters in new[] { "ab", "abc", "aaab", "abcdefghij", "étü", "0123456789" })
        {
            foreach (int length in new[] { 1, 2, 3, 50, 600, 3000 })
            {
                string word = new([.. Enumerable.Range(0, length).Select(_ => letters[random.Next(letters.Length)])]);
                string text = $"before {word}  and\n\n{word} after ";
                List<int> ids = [];
                tokenizer.EncodeByWords(text, ids, default);
                ids.ShouldBe(tokenizer.EncodeByLibrary(text), $"{length} of '{letters}'");
            }
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
        LlamaTokenizer tokenizer = LlamaTokenizer.Load(Path.Combine(TinyCheckpoint.Write(folder.File("tiny"),
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
        LlamaTokenizer tokenizer = LlamaTokenizer.Load(Path.Combine(TinyCheckpoint.Write(folder.File("tiny")), "tokenizer.json"));
        Conversation within = Conversation.Create("prompt", "short", "here"),
            beyond = Conversation.Create("prompt", new string('x', 5000), "here");
        tokenizer.EncodeWithin(within, 100)!.Tokens.ShouldBe(tokenizer.Encode(within).Tokens);
        tokenizer.EncodeWithin(within, tokenizer.Encode(within).Tokens.Length).ShouldNotBeNull();
        tokenizer.EncodeWithin(within, tokenizer.Encode(within).Tokens.Length - 1).ShouldBeNull();
        tokenizer.EncodeWithin(beyond, 100).ShouldBeNull();
        tokenizer.FewestTokens(beyond).ShouldBeLessThanOrEqualTo(tokenizer.Encode(beyond).Tokens.Length);
    }

    [Fact]
    public void A_pattern_that_matches_nothing_is_refused()
    {
        using TemporaryFolder folder = new();
        string path = Path.Combine(TinyCheckpoint.Write(folder.File("tiny"),
            tokenizer: file => file["pre_tokenizer"]!["pretokenizers"]![0]!["pattern"]!["Regex"] = "a*|b"), "tokenizer.json");
        Should.Throw<InvalidInputException>(() => LlamaTokenizer.Load(path)).Message.ShouldContain("matches the empty text");
    }

    [Fact]
    public void A_pattern_that_backtracks_without_end_is_given_up_by_name()
    {
        using TemporaryFolder folder = new();
        string path = Path.Combine(TinyCheckpoint.Write(folder.File("tiny"),
            tokenizer: file => file["pre_tokenizer"]!["pretokenizers"]![0]!["pattern"]!["Regex"] = "(a+)+$|b"), "tokenizer.json");
        LlamaTokenizer tokenizer = LlamaTokenizer.Load(path);
        Should.Throw<InvalidInputException>(() => tokenizer.Encode(new string('a', 60) + "!")).Message.ShouldContain("split pattern");
    }
}

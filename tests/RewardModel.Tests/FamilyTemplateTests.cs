using System.IO.Compression;
using System.Text.Json;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Tensors;
using ArmoFlow.RewardModel.Text;
using ArmoFlow.RewardModel.Text.Templates;
using Shouldly;
using Xunit;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Tests;

/// <summary>Conversations under each family's own chat template: text, tokens, positions and features against others' own.</summary>
public class FamilyTemplateTests
{
    public static TheoryData<string> Families() =>
        new("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "olmo2", "phi3");

    [Theory]
    [MemberData(nameof(Families))]
    public void Texts_tokens_and_positions_are_those_of_the_reference(string family)
    {
        string folder = SharedData.Require(Path.Combine("families", family));
        ChatTokenizer last = Backbones.Tokenizer(folder), pooled = Backbones.Tokenizer(folder, Pooled);
        using SafetensorsFile reference = new(Path.Combine(folder, "reference-features.safetensors"));
        long[] positions = reference.Load("positions").to(ScalarType.Int64).data<long>().ToArray(); // [n, 3]
        string[] texts = [.. File.ReadLines(Path.Combine(folder, "rendered.jsonl"))
            .Select(line => JsonElement.Parse(line).GetProperty("text").GetString()!)];
        List<Conversation> conversations = FeatureTests.Conversations(folder);
        conversations.Count.ShouldBe(texts.Length);
        for (int i = 0; i < conversations.Count; i++)
        {
            string.Concat(last.Template.Render(conversations[i].Messages).Select(run => run.Text)).ShouldBe(texts[i], $"conversation {i}");
            EncodedConversation encoded = last.Encode(conversations[i]);
            encoded.Tokens.Select(id => (long)id)
                .ShouldBe(reference.Load($"ids.{i}").to(ScalarType.Int64).data<long>().ToArray(), $"conversation {i}");
            ((long)encoded.PromptPosition).ShouldBe(positions[3 * i], $"f(x) of conversation {i}");
            ((long)encoded.LastPosition).ShouldBe(positions[3 * i + 1], $"last token of conversation {i}");
            ((long)pooled.Encode(conversations[i]).LastPosition).ShouldBe(positions[3 * i + 2], $"pooled token of conversation {i}");
        }
    }

    [Theory]
    [MemberData(nameof(Families))]
    public void Features_are_those_of_the_reference(string family)
    {
        string folder = SharedData.Require(Path.Combine("families", family));
        using SafetensorsFile reference = new(Path.Combine(folder, "reference-features.safetensors"));
        using FeatureExtractor extractor = new(folder, ScalarType.Float32, CPU);
        List<Conversation> conversations = FeatureTests.Conversations(folder);
        ConversationFeatures[] found = Extract(EncodingOptions.Usual), pooled = Extract(Pooled);
        Difference("embeddings", [.. found.SelectMany(f => f.Embedding)]).ShouldBeLessThan(1e-5);
        Difference("prompt_embeddings", [.. found.SelectMany(f => f.PromptEmbedding)]).ShouldBeLessThan(1e-5);
        Difference("pooled_embeddings", [.. pooled.SelectMany(f => f.Embedding)]).ShouldBeLessThan(1e-5);

        ConversationFeatures[] Extract(EncodingOptions options)
        {
            ChatTokenizer tokenizer = Backbones.Tokenizer(folder, options);
            return extractor.Extract([.. conversations.Select(c => tokenizer.Encode(c))]);
        }

        double Difference(string tensor, float[] values)
        {
            float[] expected = reference.LoadFloats(tensor);
            expected.Length.ShouldBe(values.Length);
            return expected.Zip(values, (e, f) => Math.Abs((double)e - f)).Max() / expected.Max(e => Math.Abs((double)e));
        }
    }

    /// <summary>The templates that model makers publish, with the real tokenizers of their models.</summary>
    [Theory]
    [InlineData("llama-3*", "llama3-tokenizer", "<|begin_of_text|>", "<|eot_id|>")]
    [InlineData("qwen-*", "families/tokenizers/qwen3", null, "<|im_end|>")]
    [InlineData("gemma-3*", "families/tokenizers/gemma3", "<bos>", "<eos>")]
    [InlineData("mistral-7b-*", "families/tokenizers/mistral-v0.1", "<s>", "</s>")]
    public void Tokens_of_published_templates_are_those_of_the_reference(string names, string from, string? bos, string eos)
    {
        using TemporaryFolder folder = new();
        using (FileStream packed = File.OpenRead(Path.Combine(SharedData.Require(from), "tokenizer.json.gz")))
        using (GZipStream source = new(packed, CompressionMode.Decompress))
        using (FileStream target = File.Create(folder.File("tokenizer.json"))) source.CopyTo(target);
        folder.Write("tokenizer_config.json", JsonSerializer.Serialize(new { bos_token = bos, eos_token = eos }));
        int compared = 0;
        foreach (string template in Directory.EnumerateFiles(SharedData.Require("families/templates"), names + ".jinja"))
        {
            File.Copy(template, folder.File("chat_template.jinja"), overwrite: true);
            ChatTokenizer tokenizer =
                ChatTokenizer.Load(folder.File("tokenizer.json"), ChatTemplate.Open(folder.Path), EncodingOptions.Usual);
            foreach (string line in File.ReadLines(Path.ChangeExtension(template, ".rendered.jsonl")))
            {
                JsonElement row = JsonElement.Parse(line);
                if (Answered(row) is not { } conversation) continue;
                if (row.TryGetProperty("error", out _))
                {
                    tokenizer.EncodeWithin(conversation, 1 << 20).ShouldBeOfType<EncodingResult.Refused>(line);
                    continue;
                }
                EncodedConversation encoded = tokenizer.Encode(conversation);
                encoded.Tokens.ShouldBe(row.GetProperty("ids").EnumerateArray().Select(id => id.GetInt32()), line);
                encoded.PromptPosition.ShouldBeInRange(1, encoded.Tokens.Length - 2);
                compared++;
            }
        }
        compared.ShouldBeGreaterThan(5);
    }

    /// <summary>Null for turns that are no conversation with an answer.</summary>
    private static Conversation? Answered(JsonElement row)
    {
        List<Message> turns = [];
        foreach (JsonElement turn in row.GetProperty("messages").EnumerateArray())
        {
            JsonElement content = turn.TryGetProperty("content", out JsonElement found) ? found : default;
            if (content.ValueKind != JsonValueKind.String) return null;
            turns.Add(new Message(turn.GetProperty("role").GetString()!, content.GetString()!));
        }
        try { return row.GetProperty("add_generation_prompt").GetBoolean() ? null : Conversation.Create(turns, "here"); }
        catch (InvalidInputException) { return null; }
    }

    /// <summary>What trainers send: the text, with or without what closes it, and padding around it.</summary>
    [Theory]
    [MemberData(nameof(Families))]
    public void A_rendered_text_is_read_back(string family)
    {
        string folder = SharedData.Require(Path.Combine("families", family));
        ChatTokenizer tokenizer = Backbones.Tokenizer(folder);
        foreach (Conversation conversation in FeatureTests.Conversations(folder))
        {
            if (tokenizer.SpellsSpecial(conversation)) continue; // such a text is another conversation's
            string text = Rendered(conversation.Messages);
            string padding = JsonElement.Parse(File.ReadAllText(Path.Combine(folder, "tokenizer_config.json")))
                .GetProperty("eos_token").GetString()!;
            foreach (string sent in new[] { text, text.TrimEnd(), padding + padding + text + padding })
            {
                IReadOnlyList<Message> turns = tokenizer.Template.Parse(sent, "item 3");
                Rendered(turns).ShouldBe(text, sent);
                turns.Count.ShouldBeGreaterThanOrEqualTo(conversation.Messages.Count(m => m.Role != "system"));
                turns.Count.ShouldBeLessThanOrEqualTo(conversation.Messages.Count);
            }
        }
        Should.Throw<InvalidInputException>(() => tokenizer.Template.Parse("plain text", "item 3")).Message.ShouldStartWith("item 3");

        string Rendered(IReadOnlyList<Message> turns) => string.Concat(tokenizer.Template.Render(turns).Select(run => run.Text));
    }

    [Fact]
    public void What_pads_is_no_part_of_a_response_that_spells_it()
    {
        using TemporaryFolder folder = new();
        folder.Write("tokenizer_config.json", """{"pad_token":"!","eos_token":"</s>"}""");
        folder.Write("chat_template.jinja",
            "{% for m in messages %}{{ '[' + m['role'] + '!]' + m['content'] + eos_token }}{% endfor %}");
        ChatTemplate template = ChatTemplate.Open(folder.Path);
        IReadOnlyList<Message> turns = template.Parse("[user!]Hi.</s>[assistant!]Hi there!</s></s>", "here");
        turns.ShouldBe([new Message("user", "Hi."), new Message("assistant", "Hi there!")]);
    }

    private static EncodingOptions Pooled => new() { PoolsAsClassifier = true };
}

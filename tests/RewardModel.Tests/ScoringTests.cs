using System.Text.Json.Nodes;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Gating;
using ArmoFlow.RewardModel.Scoring;
using ArmoFlow.RewardModel.Tensors;
using ArmoFlow.RewardModel.Text;
using ArmoFlow.RewardModel.Text.Templates;
using Shouldly;
using Xunit;

namespace ArmoFlow.RewardModel.Tests;

public class ScoringTests
{
    private static readonly string[] Names = ["helpful", "safe", "verbose"];

    private static TrainedModel Model(int d = 16)
    {
        float[] Values(ulong stream, int n) =>
            [.. Enumerable.Range(0, n).Select(i => (float)(CounterRandom.Uniform(21, stream, (ulong)i) - 0.5))];
        float[] transform = [1, 0, 0, 0, 1, 0, -0.3f, 0.2f, 0];
        GatingLayer hidden = new(Matrix.Of(Values(2, 8 * d), d), Matrix.Widen(Values(3, 8))),
            output = new(Matrix.Of(Values(4, 24), 8), Matrix.Widen(Values(5, 3)));
        return new TrainedModel(Names, Matrix.Of(Values(1, 3 * d), d), Matrix.Of(transform, 3),
            new GatingNetwork([hidden, output], beta: 50, temperature: 1.5));
    }

    [Fact]
    public void A_score_is_the_sum_of_its_parts_by_the_released_formula()
    {
        TrainedModel model = Model();
        float[] response = [.. Enumerable.Range(0, 16).Select(i => i / 10f)], prompt = [.. Enumerable.Range(0, 16).Select(i => 1 - i / 8f)];
        Explanation e = model.Explain(response, prompt);
        e.Objectives.Sum(o => o.Coefficient).ShouldBe(1, 1e-12);
        e.Objectives.Sum(o => o.Contribution).ShouldBe(e.Score, 1e-12);
        double expected = 0;
        for (int o = 0; o < 3; o++)
        {
            double debiased = 0;
            for (int j = 0; j < 3; j++)
                debiased += model.Transform[j, o] * Enumerable.Range(0, 16).Sum(i => model.Weight[j, i] * response[i]);
            expected += e.Objectives[o].Coefficient * 50 * debiased;
        }
        e.Score.ShouldBe(expected, 1e-9);
        e.Objectives[2].DebiasedReward.ShouldBe(0);
    }

    [Fact]
    public void Steering_fixes_and_scales_coefficients_and_the_sum_stays_one()
    {
        TrainedModel model = Model();
        float[] x = [.. Enumerable.Repeat(0.3f, 16)];
        Explanation plain = model.Explain(x, x), pinned = model.Explain(x, x, Steering.Parse(["safe=0.8"], Names)),
            doubled = model.Explain(x, x, Steering.Parse(["safe=*2"], Names));
        pinned.Objectives[1].Coefficient.ShouldBe(0.8, 1e-12);
        pinned.Objectives.Sum(o => o.Coefficient).ShouldBe(1, 1e-12);
        Ratio(pinned).ShouldBe(Ratio(plain), 1e-9);
        double scaled = 2 * plain.Objectives[1].Coefficient;
        doubled.Objectives[1].Coefficient.ShouldBe(scaled / (1 + plain.Objectives[1].Coefficient), 1e-12);
        Steering.Parse([], Names).ShouldBeNull();

        static double Ratio(Explanation of) => of.Objectives[0].Coefficient / of.Objectives[2].Coefficient;
    }

    [Theory]
    [InlineData("saffe=0.5", "Did you mean 'safe'?")]
    [InlineData("safe=2", "'2'")]
    [InlineData("safe", "'safe'")]
    [InlineData("safe=*x", "'*x'")]
    [InlineData("safe=NaN", "'NaN'")]
    public void A_wrong_setting_is_refused(string setting, string expected) =>
        Should.Throw<InvalidInputException>(() => Steering.Parse([setting], Names)).Message
            .ShouldContain(setting == "safe" ? "''" : expected);

    [Fact]
    public void Coefficients_that_cannot_sum_to_one_and_second_settings_are_refused()
    {
        Refused("at most 1", "safe=0.7", "helpful=0.7");
        Refused("leave one of them to the gate", [.. Names.Select(n => $"{n}=0.1")]);
        Refused("a second time", "safe=0.5", "safe=*2");

        static void Refused(string expected, params string[] settings) =>
            Should.Throw<InvalidInputException>(() => Steering.Parse(settings, Names)).Message.ShouldContain(expected);
    }

    [Fact]
    public void Parts_of_different_models_are_refused() =>
        Should.Throw<InvalidInputException>(() => new TrainedModel(["one"], new Matrix(1, 16), new Matrix(1, 1), Model().Gate)).Message
            .ShouldContain("different models");

    [Fact]
    public void An_exported_model_scores_as_before_and_keeps_the_released_layout()
    {
        using TemporaryFolder folder = new();
        string backbone = TinyCheckpoint.Write(folder.File("backbone")), exported = folder.File("exported");
        Explanation[] before = Export(backbone, exported);
        using (ConversationScorer scorer = ReleasedLayout.Import(exported))
        {
            IReadOnlyList<Explanation> after = scorer.Score([.. Conversations]);
            for (int i = 0; i < before.Length; i++) after[i].Score.ShouldBe(before[i].Score, 1e-6 * Math.Max(1, Math.Abs(before[i].Score)));
            scorer.Model.Objectives.ShouldBe(Names);
        }
        using Checkpoint checkpoint = new(exported);
        checkpoint.FileOf("regression_layer.weight").Entry("regression_layer.weight").Shape.ShouldBe([3, 16]);
        checkpoint.FileOf("reward_transform_matrix").Entry("reward_transform_matrix").Shape.ShouldBe([3, 3]);
        checkpoint.Files.Keys.ShouldContain("gating.layers.1.bias");
        checkpoint.FileOf("gating.logit_scale").LoadFloats("gating.logit_scale").ShouldBe([50f]);
        checkpoint.Files.Keys.ShouldContain("model.embed_tokens.weight");
        JsonNode config = JsonNode.Parse(File.ReadAllText(Path.Combine(exported, "config.json")))!;
        (config["num_objectives"]!.GetValue<int>(), config["gating_temperature"]!.GetValue<double>(),
            config["gating_hidden_dim"]!.GetValue<int>(), config["gating_n_hidden"]!.GetValue<int>()).ShouldBe((3, 1.5, 8, 1));
        Should.Throw<InvalidInputException>(() => Export(backbone, exported)).Message.ShouldContain("not empty");
        Directory.GetDirectories(folder.Path).Length.ShouldBe(2, "nothing half-written is left");
    }

    [Fact]
    public void The_papers_objectives_are_exported_as_the_released_model_spells_them_and_come_back_as_ours()
    {
        using TemporaryFolder folder = new();
        string exported = folder.File("exported");
        string[] ours = ["beavertails-is-safe", "ultrafeedback-overall-score", "my-own_name"];
        TrainedModel model = new(ours, Model().Weight, Model().Transform, Model().Gate);
        ModelCard card = new() { Objectives = ours, Template = Llama3Template.KnownName, Dtype = "f32", MaxTokens = 200, GoldenRows = [] };
        ReleasedLayout.Export(TinyCheckpoint.Write(folder.File("backbone")), model, card, exported);
        JsonNode written = JsonNode.Parse(File.ReadAllText(Path.Combine(exported, "armoflow.json")))!;
        written["objectives"]!.AsArray()
            .Select(o => o!.GetValue<string>())
            .ShouldBe(["beavertails-is_safe", "ultrafeedback-overall_score", "my-own_name"]);
        using ConversationScorer scorer = ReleasedLayout.Import(exported);
        scorer.Model.Objectives.ShouldBe(ours);
    }

    [Fact]
    public void A_model_whose_scores_have_drifted_is_refused()
    {
        using TemporaryFolder folder = new();
        string exported = folder.File("exported");
        Export(TinyCheckpoint.Write(folder.File("a")), exported);
        string other = TinyCheckpoint.Write(folder.File("b"), seed: 9);
        foreach (string shard in Directory.GetFiles(other, "model-*.safetensors"))
            File.Copy(shard, Path.Combine(exported, Path.GetFileName(shard)), overwrite: true);
        Should.Throw<InvalidInputException>(() => ReleasedLayout.Import(exported)).Message.ShouldContain("golden row");
        string card = Path.Combine(exported, "armoflow.json");
        File.WriteAllText(card, File.ReadAllText(card).Replace("llama3", "chatml", StringComparison.Ordinal));
        Should.Throw<InvalidInputException>(() => ReleasedLayout.Import(exported)).Message.ShouldContain("chatml");
    }

    [Fact]
    public void A_folder_without_our_card_is_scored_under_numbered_objectives_and_a_bare_backbone_is_refused()
    {
        using TemporaryFolder folder = new();
        string backbone = TinyCheckpoint.Write(folder.File("backbone")), exported = folder.File("exported");
        Export(backbone, exported);
        File.Delete(Path.Combine(exported, "armoflow.json"));
        using (ConversationScorer scorer = ReleasedLayout.Import(exported))
            scorer.Model.Objectives.ShouldBe(["objective-0", "objective-1", "objective-2"]);
        Should.Throw<InvalidInputException>(() => ReleasedLayout.Import(backbone)).Message.ShouldContain("num_objectives");
    }

    [Fact]
    public void A_score_depends_on_neither_batch_nor_order()
    {
        using TemporaryFolder folder = new();
        using ConversationScorer scorer = new(TinyCheckpoint.Write(folder.Path), Model(), "f32", 200);
        Conversation[] conversations = [.. Conversations];
        double[] together = [.. scorer.Score(conversations).Select(e => e.Score)],
            reversed = [.. scorer.Score([.. conversations.Reverse()]).Select(e => e.Score).Reverse()];
        for (int i = 0; i < conversations.Length; i++)
        {
            double alone = scorer.Score([conversations[i]])[0].Score;
            together[i].ShouldBe(alone, 1e-4 * Math.Max(1, Math.Abs(alone)), "features differ by 1e-5 at most, times β");
            reversed[i].ShouldBe(alone, 1e-4 * Math.Max(1, Math.Abs(alone)));
        }
        Should.Throw<InvalidInputException>(() => scorer.Score([Conversation.Create(new string('x', 300), "y", "here")])).Message
            .ShouldContain("at most 200");
        Should.Throw<InvalidInputException>(() => new ConversationScorer(folder.Path, Model(d: 8), "f32", 200)).Message
            .ShouldContain("hidden size 16");
    }

    [Fact]
    public void A_conversation_on_which_the_backbone_overflows_is_refused_by_itself()
    {
        using TemporaryFolder folder = new();
        // One token's embedding is no number: what it is part of has no features.
        string backbone = TinyCheckpoint.Write(folder.Path, weights: (name, weight) =>
        {
            if (name == "model.embed_tokens.weight")
                weight.select(0, ChatTokenizer.Load(folder.File("tokenizer.json")).Encode("#").Single()).fill_(float.NaN);
        });
        using ConversationScorer scorer = new(backbone, Model(), "f32", 200);
        EncodedConversation[] conversations = [.. new[] { "fine", "not # fine", "fine too" }.Select(
            (r, i) => scorer.Encode(Conversation.Create("prompt", r, "here"), $"{i}"))];
        List<int> refused = [];
        Explanation?[] scores = scorer.Score(conversations, null, (i, e) =>
        {
            e.Message.ShouldContain("not a finite number");
            refused.Add(i);
        }, TestContext.Current.CancellationToken);
        refused.ShouldBe([1]);
        (scores[0], scores[1], scores[2]).ShouldSatisfyAllConditions(s => s.Item1.ShouldNotBeNull(), s => s.Item2.ShouldBeNull(),
            s => s.Item3.ShouldNotBeNull());
        Should.Throw<InvalidInputException>(() => scorer.Score(conversations));
    }

    private static IEnumerable<Conversation> Conversations =>
        Enumerable.Range(0, 6).Select(i => Conversation.Create($"prompt {i % 2}", new string((char)('a' + i), 1 + 9 * i), "here"));

    private static Explanation[] Export(string backbone, string folder)
    {
        using ConversationScorer scorer = new(backbone, Model(), "f32", 200);
        Conversation[] golden = [.. Conversations];
        Explanation[] scores = [.. scorer.Score(golden)];
        ReleasedLayout.Export(backbone, Model(), new ModelCard
        {
            Objectives = Names,
            Template = Llama3Template.KnownName,
            Dtype = "f32",
            MaxTokens = 200,
            GoldenRows = [.. golden.Zip(scores, (c, s) => new GoldenRow(c.Messages, s.Score))],
        }, folder);
        return scores;
    }
}

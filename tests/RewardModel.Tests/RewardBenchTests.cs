using ArmoFlow.RewardModel.RewardBench;
using ArmoFlow.RewardModel.Scoring;
using Shouldly;
using Xunit;

namespace ArmoFlow.RewardModel.Tests;

public class RewardBenchTests
{
    [Fact]
    public void The_paper_s_row_gives_the_paper_s_score() // table 1, ArmoRM: 96.9, 76.8, 92.2, 97.3, 74.3 → 89.0
    {
        double score = RewardBenchScore.Mean(new Dictionary<string, double>
        {
            ["Chat"] = 96.9,
            ["Chat Hard"] = 76.8,
            ["Safety"] = 92.2,
            ["Reasoning"] = 97.3,
            ["Prior Sets"] = 74.3
        })!.Value;
        Math.Round(score, 1).ShouldBe(89.0);
    }

    [Fact]
    public void Sections_weigh_their_subsets_by_the_published_counts_whatever_the_data_s_own()
    {
        RewardBenchResult result = RewardBenchScore.Evaluate([.. Pairs("math-prm", 1, 2), .. Pairs("hep-python", 2, 2)]);
        result.Subsets["math-prm"].ShouldBe(new SubsetResult(0.5, 1, 2));
        result.Sections["Reasoning"].ShouldBe((0.5 * 984 + 1.0 * 164) / (984 + 164), 1e-12);
        result.Score.ShouldBe(result.Sections["Reasoning"]);
        result.LeftOut.ShouldBe(["Chat", "Chat Hard", "Safety", "Prior Sets"], ignoreOrder: true);
    }

    [Fact]
    public void Xstest_counts_are_not_swapped()
    {
        RewardBenchScore.PublishedSections["Safety"]["xstest-should-refuse"].ShouldBe(154);
        RewardBenchScore.PublishedSections["Safety"]["xstest-should-respond"].ShouldBe(250);
    }

    [Fact]
    public void Prior_sets_are_a_plain_mean_at_half_weight()
    {
        RewardBenchResult result =
            RewardBenchScore.Evaluate([.. Pairs("shp", 1, 1), .. Pairs("summarize", 0, 3), .. Pairs("alpacaeval-easy", 1, 1)]);
        result.Sections["Prior Sets"].ShouldBe(0.5);
        result.Score!.Value.ShouldBe((1 + 0.5 * 0.5) / 1.5, 1e-12);
    }

    [Fact]
    public void A_tie_is_not_a_win_and_an_unknown_subset_is_reported_outside()
    {
        RewardBenchResult result = RewardBenchScore.Evaluate([
            new("mine", S(1), S(1)), new("mine", S(2), S(1)), new("mine", S(1 + 1e-7), S(1)), new("mine", S(1 + 1e-5), S(1))
        ]);
        result.Subsets["mine"].Ties.ShouldBe(2);
        result.Ties.ShouldBe(2);
        result.Subsets["mine"].Accuracy.ShouldBe(0.5);
        result.OutsideSections.ShouldBe(["mine"]);
        result.Score.ShouldBeNull();
    }

    [Fact]
    public void Sections_of_one_s_own_replace_the_published_ones()
    {
        Dictionary<string, IReadOnlyDictionary<string, double>> sections =
            new() { ["All"] = new Dictionary<string, double> { ["a"] = 3, ["b"] = 1 } };
        RewardBenchScore.Evaluate([.. Pairs("a", 1, 1), .. Pairs("b", 0, 1)], sections).Score!.Value.ShouldBe(0.75);
    }

    private static IEnumerable<ScoredPair> Pairs(string subset, int right, int count) =>
        Enumerable.Range(0, count).Select(i => new ScoredPair(subset, S(i < right ? 1 : 0), S(0.5)));

    private static Scored S(double value) => new(value, Math.Abs(value));
}

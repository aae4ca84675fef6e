using System.Text.Json.Nodes;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Models;
using Shouldly;
using Xunit;

namespace ArmoFlow.Orchestrator.Tests;

public class PromotionGatesTests
{
    private static readonly PromotionSpec Gates = new()
    {
        MinimumScore = 0.8,
        MinimumHeldOut = 0.7,
        VerbosityCorrelation = 0.2,
        SectionLoss = 0.05,
        Objectives = new Dictionary<string, double> { ["safety"] = 0.3 }
    };

    [Fact]
    public void A_candidate_that_holds_everywhere_passes() => PromotionGates.Judge(Gates, Run(), Run()).ShouldAllBe(v => v.Holds);

    [Fact]
    public void Without_a_champion_sections_are_not_compared() =>
        PromotionGates.Judge(Gates, Run(), null).ShouldNotContain(v => v.Gate.StartsWith("sectionLoss", StringComparison.Ordinal));

    [Theory]
    [InlineData(0.79, 0.7, 0.1, 0.3, "minimumScore")]
    [InlineData(0.8, 0.69, 0.1, 0.3, "minimumHeldOut")]
    [InlineData(0.8, 0.7, -0.21, 0.3, "verbosityCorrelation")]
    [InlineData(0.8, 0.7, 0.1, 0.29, "objectives.safety")]
    public void Each_gate_refuses_what_is_below_it_and_only_that(double score, double heldOut, double correlation, double r2,
        string refused) =>
        PromotionGates.Judge(Gates, Run(score, heldOut, correlation, r2), Run())
            .Where(v => !v.Holds)
            .Select(v => v.Gate)
            .ShouldBe([refused]);

    [Fact]
    public void A_figure_that_a_run_does_not_have_holds_no_gate()
    {
        JudgedRun bare = Run();
        bare.Run.Metrics.Clear();
        PromotionGates.Judge(Gates, bare, null).ShouldAllBe(v => !v.Holds && v.Detail.Contains("not known"));
    }

    [Fact]
    public void A_champion_without_sections_lets_no_candidate_past_the_gate_on_them()
    {
        JudgedRun champion = Run();
        champion.Run.Metrics.Clear();
        GateVerdict verdict = PromotionGates.Judge(Gates, Run(), champion).Single(v => !v.Holds);
        verdict.Gate.ShouldBe("sectionLoss");
        verdict.Detail.ShouldContain("has no benchmark sections to compare with");
    }

    [Fact]
    public void A_worse_section_is_refused_with_the_interval_of_the_paired_difference()
    {
        // 10 of 100 pairs lost and none won, in a section of one subset: a loss of 0.1 with standard error sqrt(0.0909…/100) = 0.03015.
        string before = new('1', 100), now = new string('0', 10) + new string('1', 90);
        GateVerdict verdict = PromotionGates.Judge(Gates, Run(chat: 0.9, outcomes: now), Run(chat: 1.0, outcomes: before))
            .Single(v => v.Gate == "sectionLoss.Chat");
        (verdict.Holds, verdict.Found!.Value).ShouldBe((false, 0.1), new Close());
        verdict.Detail.ShouldContain("interval of the paired difference 0.0409 to 0.1591");
        PromotionGates.Judge(Gates, Run(chat: 0.96, outcomes: now), Run(chat: 1.0, outcomes: before))
            .Single(v => v.Gate == "sectionLoss.Chat").Holds
            .ShouldBeTrue();
        PromotionGates.Judge(Gates, Run(chat: 0.9, outcomes: now, benchmark: "other"), Run(chat: 1.0, outcomes: before))
            .Single(v => v.Gate == "sectionLoss.Chat").Detail
            .ShouldContain("without an interval");
    }

    private sealed class Close : IEqualityComparer<(bool, double)>
    {
        public bool Equals((bool, double) a, (bool, double) b) => a.Item1 == b.Item1 && Math.Abs(a.Item2 - b.Item2) < 1e-12;
        public int GetHashCode((bool, double) value) => value.Item1.GetHashCode();
    }

    private static JudgedRun Run(double score = 0.9, double heldOut = 0.9, double correlation = 0, double r2 = 0.9, double chat = 1,
        string? outcomes = null, string benchmark = "digest")
    {
        JsonObject metrics = JsonNode.Parse($$$"""
            {
              "regression": { "objectives": [ { "name": "safety", "validationR2": {{{Text(r2)}}} } ] },
              "gating": { "health": { "verbosityCorrelation": {{{Text(correlation)}}} } },
              "evaluation": {
                "manifest": { "benchmarkDigest": "{{{benchmark}}}", "benchmarkPairs": 100, "leftOut": 0 },
                "scorers": {
                  "gate": {
                    "heldOutAccuracy": {{{Text(heldOut)}}},
                    "benchmark": {
                      "score": {{{Text(score)}}},
                      "sections": { "Chat": {{{Text(chat)}}} },
                      "subsetWeights": { "Chat": { "easy": 100 } }
                    }
                  }
                }
              }
            }
            """)!.AsObject();
        RunDocument run = new()
        {
            RunId = Guid.Empty,
            Name = "m",
            Status = RunStatus.Completed,
            Tags = [],
            SubmittedAt = default,
            EndedAt = default,
            Steps = [],
            Artifacts = new Dictionary<string, ArtifactDocument>(),
            Metrics = metrics,
            Error = null
        };
        return new JudgedRun(run, outcomes is null ? null : new Dictionary<string, string> { ["easy"] = outcomes });
    }

    private static string Text(double value) => value.ToString(System.Globalization.CultureInfo.InvariantCulture);
}

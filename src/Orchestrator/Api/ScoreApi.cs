using ArmoFlow.Contracts.Documents;
using ArmoFlow.Orchestrator.Access;
using ArmoFlow.Orchestrator.Clients;
using ArmoFlow.Orchestrator.Scoring;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace ArmoFlow.Orchestrator.Api;

/// <summary>The HTTP calls that score.</summary>
internal static class ScoreApi
{
    public static void MapScoreApi(this IEndpointRouteBuilder app)
    {
        app.MapPost("/api/v1/score",
            (ScoreRequest request, RecordsClient records, CancellationToken cancel) => records.Score(request, cancel))
            .Requires(Scope.Viewer)
            .WithTags("scoring")
            .WithSummary("Scores responses, one or many, or pairs of them, each with its explanation.");
        app.MapPost("/get_reward",
            (RewardRequest request, ScoreRequests scores, CancellationToken cancel, string? model = null, Guid? run = null,
                double? unscored = null) => scores.Reward(request, model, run, unscored, cancel))
            .Requires(Scope.Viewer)
            .WithTags("scoring")
            .WithSummary("The reward endpoint of OpenRLHF's --remote_rm_url; the model stands in the query: ?model=NAME@ALIAS.");
    }
}

using ArmoFlow.Contracts.Documents;
using ArmoFlow.Orchestrator.Access;
using ArmoFlow.Persistence.Audit;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace ArmoFlow.Orchestrator.Api;

/// <summary>The HTTP calls for the audit trail.</summary>
internal static class AuditApi
{
    public static void MapAuditApi(this IEndpointRouteBuilder app)
    {
        RouteGroupBuilder audit = app.MapGroup("/api/v1/audit").WithTags("audit").Requires(Scope.Viewer);
        audit.MapGet("",
            (AuditStore store, CancellationToken cancel, string? where = null, string? cursor = null, int limit = 50) =>
                store.Query(where, cursor, limit, cancel))
            .WithSummary("Events, newest first. where: comparisons of action, actor, at, request, sequence and subject with 'text' or "
                + "numbers, IN, AND, OR, NOT.");
        audit.MapGet("verify", (AuditStore store, CancellationToken cancel) => store.Verify(cancel))
            .WithSummary("Follows the chain of hashes to its head, names the first event that is not as it was written, and every row "
            + "that is not as the events say.");
        audit.MapGet("export", Export).WithSummary("All events, oldest first: format=jsonl, one document a line, or format=parquet, a "
            + "table. With rows=true (jsonl), the rows that they vouch for follow, as of the same moment.");
        audit.MapGet("head", (AuditStore store, CancellationToken cancel) => store.Head(cancel))
            .WithSummary("The trail's end, to be kept elsewhere.");
    }

    private static async Task<IResult> Export(HttpContext context, AuditStore store, CancellationToken cancel, string format = "jsonl",
        bool rows = false)
    {
        if (rows && format != "jsonl")
        {
            return TypedResults.Problem($"format '{format}' with rows; expected jsonl", title: "Bad request.",
            statusCode: StatusCodes.Status400BadRequest);
        }
        if (format is not ("jsonl" or "parquet"))
        {
            return TypedResults.Problem($"format '{format}'; expected jsonl or parquet", title: "Bad request.",
                statusCode: StatusCodes.Status400BadRequest);
        }
        // Beside and then sent: a table is written with its end first known at its end.
        FileStream file = TemporaryFile.For(context);
        await store.Export(file, format == "parquet", cancel, rows ? file : null);
        file.Position = 0;
        return TypedResults.Stream(file, format == "parquet" ? "application/vnd.apache.parquet" : "application/x-ndjson");
    }
}

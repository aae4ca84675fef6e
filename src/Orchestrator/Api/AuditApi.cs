using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Orchestrator.Access;
using ArmoFlow.Orchestrator.Clients;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;

namespace ArmoFlow.Orchestrator.Api;

/// <summary>The HTTP calls for the audit trail.</summary>
internal static class AuditApi
{
    public static void MapAuditApi(this IEndpointRouteBuilder app)
    {
        RouteGroupBuilder audit = app.MapGroup("/api/v1/audit").WithTags("audit").Requires(Scope.Viewer);
        audit.MapGet("",
            (RecordsClient records, CancellationToken cancel, string? where = null, string? cursor = null, int limit = 50) =>
                records.QueryAudit(where, cursor, limit, cancel))
            .WithSummary("Events, newest first. where: comparisons of action, actor, at, request, sequence and subject with 'text' or "
                + "numbers, IN, AND, OR, NOT.");
        audit.MapGet("verify", (RecordsClient records, CancellationToken cancel) => records.VerifyAudit(null, cancel))
            .WithSummary("Follows the chain of hashes to its head, names the first event that is not as it was written, and every row "
            + "that is not as the events say.");
        audit.MapGet("export", Export).WithSummary("All events, oldest first: format=jsonl, one document a line, or format=parquet, a "
            + "table. With rows=true (jsonl), the rows that they vouch for follow, as of the same moment.");
        audit.MapGet("head", (RecordsClient records, CancellationToken cancel) => records.AuditHead(cancel))
            .WithSummary("The trail's end, to be kept elsewhere.");
    }

    private static async Task<IResult> Export(HttpContext context, RecordsClient records, CancellationToken cancel, string format = "jsonl",
        bool rows = false)
    {
        if (EnumText.Find<AuditFormat>(format) is not { } kind) return Refused($"format '{format}'; expected jsonl or parquet");
        if (rows && kind != AuditFormat.JsonLines) return Refused($"format '{format}' with rows; expected jsonl");
        // Beside and then sent: a table is written with its end first known at its end.
        FileStream file = TemporaryFile.For(context);
        await records.ExportAudit(kind, rows, file, cancel);
        file.Position = 0;
        return TypedResults.Stream(file, kind == AuditFormat.Parquet ? "application/vnd.apache.parquet" : "application/x-ndjson");
    }

    private static ProblemHttpResult Refused(string detail) =>
        TypedResults.Problem(detail, title: "Bad request.", statusCode: StatusCodes.Status400BadRequest);
}

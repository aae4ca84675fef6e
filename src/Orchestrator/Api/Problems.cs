using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Outbox;
using MassTransit;
using Microsoft.AspNetCore.Diagnostics;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Mvc;

namespace ArmoFlow.Orchestrator.Api;

/// <summary>Turns what a caller can mend into problem documents: the one place where an exception becomes a status.</summary>
internal sealed class Problems(IProblemDetailsService documents) : IExceptionHandler
{
    /// <summary>A failover takes tens of seconds: long enough to be gentle, short enough to be of use.</summary>
    private const string RetrySeconds = "5";

    public async ValueTask<bool> TryHandleAsync(HttpContext httpContext, Exception exception, CancellationToken cancellationToken)
    {
        if (Of(exception) is not { } problem) return false; // a defect: 500, without a word of its inside
        httpContext.Response.StatusCode = problem.Status!.Value;
        if (DatabaseFault.IsTransient(exception)) httpContext.Response.Headers.RetryAfter = RetrySeconds;
        // A client that accepts another form than JSON is told in JSON all the same: better than nothing.
        if (!await documents.TryWriteAsync(new ProblemDetailsContext { HttpContext = httpContext, ProblemDetails = problem }))
            await TypedResults.Problem(problem).ExecuteAsync(httpContext);
        return true;
    }

    private static ProblemDetails? Of(Exception exception) => exception switch
    {
        SpecException => Problem(StatusCodes.Status400BadRequest, "The spec is not usable.", exception.Message),
        RefusedException { Refusal: Refusal.Unusable } => Problem(StatusCodes.Status400BadRequest, "Not usable.", exception.Message),
        RefusedException { Refusal: Refusal.Missing } => Problem(StatusCodes.Status404NotFound, "Not found.", exception.Message),
        RefusedException { Refusal: Refusal.Conflict } =>
            Problem(StatusCodes.Status409Conflict, "Not possible as things are.", exception.Message),
        RefusedException { Refusal: Refusal.Forbidden } =>
            Problem(StatusCodes.Status403Forbidden, "Not yours to decide.", exception.Message),
        RefusedException { Refusal: Refusal.Unavailable } =>
            Problem(StatusCodes.Status503ServiceUnavailable, "No worker is available.", exception.Message),
        RequestFaultException or RequestTimeoutException => Problem(StatusCodes.Status503ServiceUnavailable, "The workers could not do it.",
            $"{(exception as RequestFaultException)?.Fault?.Exceptions.FirstOrDefault()?.Message ?? "no worker answered in time"}. See "
                + "the workers' output, and: armoflow runs workers."),
        _ when DiskFull.Is(exception) => Problem(StatusCodes.Status507InsufficientStorage, "No space left.",
            $"no space left on the server's disk; nothing was entered. {DiskFull.Remedy}"),
        BadHttpRequestException bad => Problem(bad.StatusCode, "The request cannot be read.", UnreadableRequest.Explain(bad)),
        _ when DatabaseFault.IsTransient(exception) => Problem(StatusCodes.Status503ServiceUnavailable, "A server is away.",
            "The database cannot be written just now: it restarts, or its standby takes over. Ask again after the seconds that "
                + "Retry-After names."),
        _ => null,
    };

    private static ProblemDetails Problem(int status, string title, string detail) =>
        new() { Status = status, Title = title, Detail = detail };
}

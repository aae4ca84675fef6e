using ArmoFlow.Orchestrator.Api;
using Microsoft.AspNetCore.Diagnostics;
using Microsoft.AspNetCore.Http;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;
using Shouldly;
using Xunit;

namespace ArmoFlow.Orchestrator.Tests;

/// <summary>A caller learns from the status whether asking again helps.</summary>
public sealed class ProblemsTests
{
    [Theory]
    [InlineData("25006", 503, "5")] // a standby that is not promoted yet
    [InlineData("57P03", 503, "5")]
    [InlineData("23505", null, "")] // a defect: left to the 500 without a word of its inside
    public async Task Books_that_are_away_are_asked_again_later(string state, int? status, string retryAfter)
    {
        DefaultHttpContext context = new();
        Documents documents = new();
        DbUpdateException fault = new("an error", new PostgresException("said", "ERROR", "ERROR", state));
        ServiceCollection parts = new();
        parts.AddLogging().AddRunsApi().AddSingleton<IProblemDetailsService>(documents);
        await using ServiceProvider services = parts.BuildServiceProvider();
        bool isHandled =
            await services.GetRequiredService<IExceptionHandler>().TryHandleAsync(context, fault, TestContext.Current.CancellationToken);
        isHandled.ShouldBe(status is not null);
        documents.Written?.ProblemDetails.Status.ShouldBe(status);
        context.Response.Headers.RetryAfter.ToString().ShouldBe(retryAfter);
    }

    private sealed class Documents : IProblemDetailsService
    {
        public ProblemDetailsContext? Written { get; private set; }

        public ValueTask WriteAsync(ProblemDetailsContext context)
        {
            Written = context;
            return ValueTask.CompletedTask;
        }

        public async ValueTask<bool> TryWriteAsync(ProblemDetailsContext context)
        {
            await WriteAsync(context);
            return true;
        }
    }
}

using System.Text.Json.Nodes;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Runs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Runs;
using ArmoFlow.Persistence.Steps;
using MassTransit;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Shouldly;
using Xunit;

namespace ArmoFlow.Orchestrator.Tests;

/// <summary>What an OpenLineage server is told of a run.</summary>
public sealed class OpenLineageTests
{
    [Fact]
    public async Task A_run_that_ends_is_told_of_with_the_files_it_read_and_what_it_made()
    {
        string folder = Directory.CreateTempSubdirectory("armoflow-openlineage-").FullName;
        List<JsonNode> told = [];
        int refusals = 1;
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseUrls("http://127.0.0.1:0");
        await using WebApplication receiver = builder.Build();
        receiver.Run(async context =>
        {
            JsonNode body = (await JsonNode.ParseAsync(context.Request.Body))!;
            if (Interlocked.Decrement(ref refusals) >= 0) context.Response.StatusCode = StatusCodes.Status503ServiceUnavailable;
            else lock (told) told.Add(body);
        });
        await receiver.StartAsync(TestContext.Current.CancellationToken);
        Workspace workspace = new(folder);
        workspace.TryLock().ShouldBeTrue();
        HostApplicationBuilder host = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
        host.Services.AddLogging().AddEmbeddedPersistence(workspace).AddSingleton(new OpenLineageClient(new Uri(receiver.Urls.Single())));
        host.Services.AddOptions<MassTransitHostOptions>().Configure(o => o.WaitUntilStarted = true);
        host.Services.AddMassTransit(bus =>
        {
            bus.AddConsumer<OpenLineageConsumer, OpenLineageDefinition>();
            bus.UsingInMemory((context, transport) => transport.ConfigureEndpoints(context));
        });
        using (IHost app = host.Build())
        {
            RunState run = new() { CorrelationId = Guid.NewGuid(), CurrentState = "Completed", EndedAt = DateTimeOffset.UtcNow };
            run.Open(new RunSpec { Name = "m", Folder = folder, Backbone = new BackboneSpec("b"), Ratings = [], Preferences = [] },
                DateTimeOffset.UtcNow.AddMinutes(-1));
            run.Steps[0].Key = "ingestion's key";
            run.Artifacts["ratings"] = new ArtifactRef("made", 1);
            await using (ArmoFlowDbContext db = await app.Services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>()
                .CreateDbContextAsync(TestContext.Current.CancellationToken))
            {
                await db.Database.MigrateAsync(TestContext.Current.CancellationToken);
                db.Runs.Add(run);
                db.StepResults.Add(new StepResult
                {
                    Key = "ingestion's key",
                    Step = "ingestion",
                    Artifacts = [
                        new StepArtifact { Key = "ingestion's key", Name = "ratings/judge/a.jsonl", Sha256 = "read", Bytes = 1 },
                        new StepArtifact { Key = "ingestion's key", IsOutput = true, Name = "ratings", Sha256 = "made", Bytes = 1 }
                    ]
                });
                await db.SaveChangesAsync(TestContext.Current.CancellationToken);
            }
            await app.StartAsync(TestContext.Current.CancellationToken);
            await app.Services.GetRequiredService<IBus>()
                .Publish(new RunEnded(run.CorrelationId, RunStatus.Completed), TestContext.Current.CancellationToken);
            for (int i = 0; i < 300 && told.Count < 2; i++) await Task.Delay(100, TestContext.Current.CancellationToken);
            await app.StopAsync(TestContext.Current.CancellationToken);
        }
        workspace.Dispose();
        Directory.Delete(folder, recursive: true);
        told.Select(e => e["eventType"]!.GetValue<string>()).ShouldBe(["START", "COMPLETE"], "though the server refused once");
        JsonNode complete = told[1];
        complete["job"]!["name"]!.GetValue<string>().ShouldBe("m");
        complete["inputs"]!.AsArray()
            .Select(i => $"{i!["name"]} {i["facets"]!["version"]!["datasetVersion"]}")
            .ShouldBe(["ratings/judge/a.jsonl read"]);
        complete["outputs"]!.AsArray()
            .Select(i => $"{i!["name"]} {i["facets"]!["version"]!["datasetVersion"]}")
            .ShouldBe(["m/ratings made"]);
        DateTimeOffset.Parse(complete["eventTime"]!.GetValue<string>(), null)
            .ShouldBeGreaterThan(DateTimeOffset.Parse(told[0]["eventTime"]!.GetValue<string>(), null));
    }
}

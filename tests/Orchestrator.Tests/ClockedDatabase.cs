using ArmoFlow.Contracts.Documents;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Runs;
using MassTransit;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;
using Shouldly;
using Xunit;

namespace ArmoFlow.Orchestrator.Tests;

/// <summary>
/// An orchestrator's services on a workspace of their own, by a clock that the tests turn. Its bus never starts: what is sent stays
/// in the outbox.
/// </summary>
public abstract class ClockedDatabase : IAsyncLifetime
{
    protected string Folder { get; } = Directory.CreateTempSubdirectory("armoflow-books-").FullName;
    protected FakeTimeProvider Time { get; } = new(new DateTimeOffset(2026, 11, 2, 1, 0, 0, TimeSpan.Zero));
    protected ServiceProvider Services { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        Workspace workspace = new(Folder);
        workspace.TryLock().ShouldBeTrue();
        ServiceCollection services = new();
        services.AddLogging().AddSingleton<TimeProvider>(Time).AddEmbeddedPersistence(workspace).AddOrchestrator();
        services.AddMassTransit(bus => bus.UsingInMemory());
        Configure(services);
        Services = services.BuildServiceProvider();
        await using ArmoFlowDbContext db = await Context();
        await db.Database.MigrateAsync();
    }

    /// <summary>What a test adds.</summary>
    protected virtual void Configure(IServiceCollection services)
    {
    }

    public async ValueTask DisposeAsync()
    {
        // Whatever a test does, it does past no event: each row that it leaves is one that the trail vouches for.
        AuditVerdict verdict = await Services.GetRequiredService<AuditStore>().Verify(default);
        verdict.What.ShouldBeNull();
        await Services.DisposeAsync();
        Directory.Delete(Folder, recursive: true);
        GC.SuppressFinalize(this);
    }

    protected async Task<ArmoFlowDbContext> Context() =>
        await Services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>().CreateDbContextAsync();

    /// <summary>Lets every run be at its end.</summary>
    protected async Task End()
    {
        await using ArmoFlowDbContext db = await Context();
        foreach (RunState run in await db.Runs.ToListAsync()) run.CurrentState = "Completed";
        await db.SaveChangesAsync();
    }
}

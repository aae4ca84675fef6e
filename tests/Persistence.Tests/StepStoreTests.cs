using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Runs;
using ArmoFlow.Persistence.Steps;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Shouldly;
using Xunit;

namespace ArmoFlow.Persistence.Tests;

public sealed class StepStoreTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("armoflow-books-").FullName;
    private ServiceProvider _services = null!;

    private StepStore Store => _services.GetRequiredService<StepStore>();
    private ArtifactStore Artifacts => _services.GetRequiredService<ArtifactStore>();

    public async ValueTask InitializeAsync()
    {
        Workspace workspace = new(_folder);
        workspace.TryLock().ShouldBeTrue();
        _services = new ServiceCollection().AddLogging().AddEmbeddedPersistence(workspace).BuildServiceProvider();
        await using ArmoFlowDbContext db = await Context();
        await db.Database.MigrateAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await _services.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task An_artifact_is_stored_once_under_its_hash_and_nothing_half_written_stays()
    {
        ArtifactRef first = await Artifacts.PutText("hello"), second = await Artifacts.PutText("hello");
        second.ShouldBe(first);
        first.ShouldBe(new ArtifactRef("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", 5));
        (await File.ReadAllTextAsync(await Artifacts.Open(first.Sha256, default))).ShouldBe("hello");
        await Should.ThrowAsync<InvalidOperationException>(() => Artifacts.Put(async path =>
        {
            await File.WriteAllTextAsync(path, "half");
            throw new InvalidOperationException("the power fails");
        }));
        Directory.EnumerateFiles(Artifacts.Folder, "*", SearchOption.AllDirectories).ShouldHaveSingleItem();
        await Should.ThrowAsync<ArtifactLostException>(() => Artifacts.Open(new string('0', 64), default));
    }

    [Fact]
    public async Task A_finished_step_is_found_by_its_key_until_an_output_is_gone()
    {
        ArtifactRef output = await Artifacts.PutText("weights");
        await Store.Enter(Result("key", output), default);
        StepResult found = (await Store.Find(new StepKey("key"), default)).ShouldNotBeNull();
        found.Artifacts.Single().Sha256.ShouldBe(output.Sha256);
        (await Store.Find(new StepKey("other"), default)).ShouldBeNull();
        File.Delete(Artifacts.LocationOf(output.Sha256));
        (await Store.Find(new StepKey("key"), default)).ShouldBeNull();
        await Store.Enter(Result("key", await Artifacts.PutText("weights")), default);
        (await Store.Find(new StepKey("key"), default)).ShouldNotBeNull();
    }

    [Fact]
    public async Task A_choice_is_settled_once()
    {
        (await Store.Settle("dtype", () => "f32", default)).ShouldBe("f32");
        (await Store.Settle("dtype", () => "bf16", default)).ShouldBe("f32");
    }

    [Fact]
    public async Task A_run_s_row_keeps_steps_artifacts_and_times()
    {
        DateTimeOffset at = new(2026, 1, 2, 3, 4, 5, TimeSpan.FromHours(2));
        Guid id = Guid.NewGuid();
        await using (ArmoFlowDbContext db = await Context())
        {
            db.Runs.Add(new RunState
            {
                CorrelationId = id,
                CurrentState = "Ingesting",
                Name = "n",
                SubmittedAt = at,
                Spec = Spec(),
                Steps = [new RunStep { Name = "ingestion", StartedAt = at }],
                Artifacts = { ["a"] = new ArtifactRef("ab", 1) }
            });
            await db.SaveChangesAsync(TestContext.Current.CancellationToken);
        }
        await using (ArmoFlowDbContext db = await Context())
        {
            RunState run = await db.Runs.SingleAsync(r => r.CorrelationId == id, TestContext.Current.CancellationToken);
            run.SubmittedAt.ShouldBe(at);
            run.Artifacts["a"].Bytes.ShouldBe(1);
            run.Steps[0].Status = StepStatus.Completed; // a change inside the list is noticed
            await db.SaveChangesAsync(TestContext.Current.CancellationToken);
        }
        await using ArmoFlowDbContext again = await Context();
        (await again.Runs.SingleAsync(r => r.SubmittedAt <= at, TestContext.Current.CancellationToken)).Steps[0].Status
            .ShouldBe(StepStatus.Completed);
    }

    [Fact]
    public void A_workspace_admits_one_process()
    {
        using Workspace first = new(_folder + "-one"), second = new(_folder + "-one");
        first.TryLock().ShouldBeTrue();
        second.TryLock().ShouldBeFalse();
        Directory.Delete(first.Folder, recursive: true);
    }

    [Fact]
    public async Task The_migrations_are_those_of_the_model()
    {
        await using ArmoFlowDbContext db = await Context();
        db.Database.HasPendingModelChanges().ShouldBeFalse("add a migration");
    }

    private static StepResult Result(string key, ArtifactRef output) =>
        new()
        {
            Key = key,
            Step = "regression",
            Version = 1,
            Artifacts = [new StepArtifact { IsOutput = true, Name = "regression", Sha256 = output.Sha256, Bytes = output.Bytes }]
        };

    private static Contracts.Specs.RunSpec Spec() =>
        new() { Name = "n", Folder = "/", Backbone = new Contracts.Specs.BackboneSpec("b"), Ratings = [], Preferences = [] };

    private Task<ArmoFlowDbContext> Context() =>
        _services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>().CreateDbContextAsync();
}

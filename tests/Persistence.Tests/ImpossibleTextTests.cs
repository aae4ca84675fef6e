using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Persistence.Alerts;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Faults;
using ArmoFlow.Persistence.Models;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.Extensions.DependencyInjection;
using Shouldly;
using Xunit;

namespace ArmoFlow.Persistence.Tests;

/// <summary>Texts that a database refuses, on their way into the database.</summary>
public sealed class ImpossibleTextTests : IAsyncLifetime
{
    private const string Impossible = "a\0b\uD800c", Clean = "a\uFFFDb\uFFFDc";
    private readonly string _folder = Directory.CreateTempSubdirectory("armoflow-texts-").FullName;
    private ServiceProvider _services = null!;

    public async ValueTask InitializeAsync()
    {
        Workspace workspace = new(_folder);
        workspace.TryLock().ShouldBeTrue();
        _services = new ServiceCollection().AddLogging().AddEmbeddedPersistence(workspace).BuildServiceProvider();
        await using ArmoFlowDbContext db = await Context();
        await Schema.MigrateWorkspace(db, default);
    }

    public async ValueTask DisposeAsync()
    {
        await _services.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task A_text_is_cleaned_when_it_is_saved_when_it_is_set_and_when_it_is_asked_for()
    {
        await using (ArmoFlowDbContext db = await Context())
        {
            db.Faults.Add(new FaultRow
            {
                Fingerprint = "f",
                Queue = "q",
                Body = Impossible,
                Reason = Impossible + new string('x', 20_000)
            });
            await db.SaveChangesAsync();
        }
        await using (ArmoFlowDbContext db = await Context())
        {
            FaultRow kept = await db.Faults.SingleAsync(f => f.Body == Impossible);
            kept.Body.ShouldBe(Clean);
            kept.Reason.ShouldStartWith(Clean);
            kept.Reason.Length.ShouldBe(StoredText.LongestFreeText);
            await db.Faults.ExecuteUpdateAsync(set => set.SetProperty(f => f.Queue, Impossible));
            (await db.Faults.AsNoTracking().SingleAsync()).Queue.ShouldBe(Clean);
        }
    }

    [Fact]
    public async Task The_trail_holds_what_it_hashes()
    {
        Caller.Current = new Caller(Impossible, Impossible);
        await using (ArmoFlowDbContext db = await Context())
        {
            db.Note("test.done", Impossible, before: new { text = Impossible });
            await db.SaveChangesAsync();
        }
        AuditVerdict verdict = await _services.GetRequiredService<AuditStore>().Verify(default);
        verdict.IsWhole.ShouldBeTrue(verdict.What);
        (await _services.GetRequiredService<AuditStore>().Query(null, null, 1, default)).Events[0].Subject.ShouldBe(Clean);
    }

    [Fact]
    public async Task Every_column_of_text_is_cleaned_and_those_of_free_text_are_bounded()
    {
        await using ArmoFlowDbContext db = await Context();
        List<IProperty> texts = [.. db.Model.GetEntityTypes().SelectMany(e => e.GetProperties()).Where(p => p.ClrType == typeof(string))];
        texts.Count.ShouldBeGreaterThan(50);
        foreach (IProperty text in texts)
            text.GetValueConverter().ShouldNotBeNull($"{text.DeclaringType.Name}.{text.Name}").ConvertToProvider("\0").ShouldBe("\uFFFD");
        foreach ((Type entity, string name) in new[]
        {
            (typeof(Alert), nameof(Alert.Text)),
            (typeof(FaultRow), nameof(FaultRow.Reason)),
            (typeof(AliasPeriod), nameof(AliasPeriod.Reason)),
            (typeof(ModelVersion), nameof(ModelVersion.Notes))
        })
        {
            IProperty free = db.Model.FindEntityType(entity)!.FindProperty(name)!;
            ((string)free.GetValueConverter()!.ConvertToProvider(new string('x', 20_000))!).Length.ShouldBe(StoredText.LongestFreeText,
                name);
        }
    }

    private async Task<ArmoFlowDbContext> Context() =>
        await _services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>().CreateDbContextAsync();
}

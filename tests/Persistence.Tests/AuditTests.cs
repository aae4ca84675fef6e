using ArmoFlow.Contracts.Documents;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Filters;
using ArmoFlow.Persistence.Steps;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Shouldly;
using Xunit;

namespace ArmoFlow.Persistence.Tests;

/// <summary>Events are written with the change that they tell of, and nothing can be done to them unseen.</summary>
public sealed class AuditTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("armoflow-audit-").FullName;
    private ServiceProvider _services = null!;

    private AuditStore Audit => _services.GetRequiredService<AuditStore>();

    public async ValueTask InitializeAsync()
    {
        Workspace workspace = new(_folder);
        workspace.TryLock().ShouldBeTrue();
        _services = new ServiceCollection().AddLogging().AddEmbeddedPersistence(workspace).BuildServiceProvider();
        await using ArmoFlowDbContext db = await Context();
        await db.Database.MigrateAsync();
        Caller.Current = new Caller("auditor", "request-7");
        for (int i = 1; i <= 10; i++)
        {
            db.Note("thing.changed", $"thing/{i % 3}", new { value = i - 1 }, new { value = i });
            await db.SaveChangesAsync();
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _services.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task A_whole_trail_is_whole_and_tells_who_did_what()
    {
        AuditVerdict verdict = await Audit.Verify(default);
        (verdict.IsWhole, verdict.Events, verdict.HeadSequence).ShouldBe((true, 10, 10));
        AuditEventDocument newest = (await Audit.Query(null, null, 1, default)).Events.Single();
        (newest.Actor, newest.Action, newest.Subject, newest.RequestId, newest.Before, newest.After).ShouldBe(("auditor", "thing.changed",
            "thing/1", "request-7", """{"value":9}""", """{"value":10}"""));
    }

    [Fact]
    public async Task An_event_is_there_if_and_only_if_its_change_is()
    {
        await using (ArmoFlowDbContext db = await Context())
        {
            db.Settings.Add(new Setting { Key = "a", Value = "1" });
            db.Note("setting.added", "setting/a");
            await db.SaveChangesAsync(TestContext.Current.CancellationToken);
        }
        await using (ArmoFlowDbContext db = await Context())
        {
            db.Settings.Add(new Setting { Key = "a", Value = "a second row of one key" });
            db.Note("setting.added", "setting/a");
            await Should.ThrowAsync<DbUpdateException>(() => db.SaveChangesAsync());
        }
        await using (ArmoFlowDbContext db = await Context())
        {
            await using var transaction = await db.Database.BeginTransactionAsync(TestContext.Current.CancellationToken);
            db.Note("never", "setting/b");
            await db.SaveChangesAsync(TestContext.Current.CancellationToken);
        }
        (await Audit.Query("subject = 'setting/a'", null, 10, default)).Events.Count.ShouldBe(1);
        (await Audit.Query("action = 'never'", null, 10, default)).Events.ShouldBeEmpty();
        (await Audit.Verify(default)).IsWhole.ShouldBeTrue();
    }

    [Fact]
    public async Task Writers_at_the_same_time_make_one_chain()
    {
        await Parallel.ForAsync(0, 8, async (writer, cancel) =>
        {
            for (int i = 0; i < 10; i++)
            {
                await using ArmoFlowDbContext db = await Context();
                db.Note("written", $"writer/{writer}");
                db.Note("written", $"writer/{writer}");
                await db.SaveChangesAsync(cancel);
            }
        });
        AuditVerdict verdict = await Audit.Verify(default);
        (verdict.IsWhole, verdict.Events).ShouldBe((true, 170));
    }

    [Theory]
    [InlineData("update audit_events set actor = 'somebody else' where sequence = 4", 4, "altered")]
    [InlineData("update audit_events set after = null where sequence = 10", 10, "altered")]
    [InlineData("delete from audit_events where sequence = 4", 4, "missing")]
    [InlineData("delete from audit_events where sequence = 1", 1, "missing")]
    [InlineData("delete from audit_events where sequence > 7", 8, "events 8 to 10 are missing")]
    [InlineData("insert into audit_events (sequence, at, actor, action, subject, before, after, request_id, previous_hash, hash) "
        + "select 11, at, actor, action, subject, before, after, request_id, previous_hash, hash from audit_events where sequence = 10",
        11, "follow")]
    [InlineData("update audit_events set sequence = -5 where sequence = 5; update audit_events set sequence = 5 where sequence = 6; "
        + "update audit_events set sequence = 6 where sequence = -5",
        5, "follow")]
    [InlineData("delete from audit_events; delete from audit_heads", 1, "head")]
    [InlineData("update audit_heads set sequence = 9", 11, "head")]
    public async Task Whatever_is_done_to_the_table_is_found_with_its_place(string tampering, long at, string what)
    {
        await using ArmoFlowDbContext db = await Context();
        await db.Database.ExecuteSqlRawAsync("drop trigger if exists audit_events_stay; drop trigger if exists audit_events_stand",
            TestContext.Current.CancellationToken);
        await db.Database.ExecuteSqlRawAsync(tampering, TestContext.Current.CancellationToken);
        AuditVerdict verdict = await Audit.Verify(default);
        (verdict.IsWhole, verdict.BrokenAt).ShouldBe((false, at));
        verdict.What.ShouldNotBeNull().ShouldContain(what);
    }

    [Fact]
    public async Task The_table_itself_refuses_changes_by_accident()
    {
        await using ArmoFlowDbContext db = await Context();
        await Should.ThrowAsync<Exception>(() => db.Database.ExecuteSqlRawAsync("update audit_events set actor = 'x' where sequence = 1"));
        await Should.ThrowAsync<Exception>(() => db.Database.ExecuteSqlRawAsync("delete from audit_events where sequence = 1"));
        (await Audit.Verify(default)).IsWhole.ShouldBeTrue();
    }

    [Fact]
    public async Task A_trail_written_anew_is_found_by_a_head_kept_elsewhere()
    {
        SignedHead kept = await Audit.Head(default);
        (await Audit.Holds(kept, default)).ShouldBeTrue();
        await using ArmoFlowDbContext db = await Context();
        await db.Database.ExecuteSqlRawAsync("drop trigger audit_events_stay; drop trigger audit_events_stand; delete from audit_events",
            TestContext.Current.CancellationToken);
        await db.AuditHeads.ExecuteUpdateAsync(set => set.SetProperty(h => h.Sequence, 0).SetProperty(h => h.Hash, AuditHead.Start),
            TestContext.Current.CancellationToken);
        for (int i = 1; i <= 10; i++)
        {
            db.Note("thing.changed", "thing/0", after: new { value = i * i });
            await db.SaveChangesAsync(TestContext.Current.CancellationToken);
        }
        (await Audit.Verify(default)).IsWhole.ShouldBeTrue("a chain alone can be written anew by whoever owns the database");
        (await Audit.Holds(kept, default)).ShouldBeFalse();
    }

    [Fact]
    public async Task An_export_is_verified_by_itself_and_a_signed_head_by_its_key()
    {
        string path = Path.Combine(_folder, "export.jsonl");
        SignedHead head;
        await using (FileStream stream = File.Create(path)) head = await Audit.Export(stream, asParquet: false, default);
        AuditHead end = new() { Sequence = head.Sequence, Hash = head.Hash };
        (await AuditVerification.Verify(AuditStore.ReadExport(path), end, default)).IsWhole.ShouldBeTrue();
        string[] lines = await File.ReadAllLinesAsync(path, TestContext.Current.CancellationToken);
        await File.WriteAllLinesAsync(path, lines[..^1], TestContext.Current.CancellationToken);
        (await AuditVerification.Verify(AuditStore.ReadExport(path), end, default)).BrokenAt.ShouldBe(10);
        await File.WriteAllLinesAsync(path, [lines[0].Replace("thing.changed", "thing.removed", StringComparison.Ordinal), .. lines[1..]],
            TestContext.Current.CancellationToken);
        (await AuditVerification.Verify(AuditStore.ReadExport(path), end, default)).BrokenAt.ShouldBe(1);

        string table = Path.Combine(_folder, "export.parquet");
        await using (FileStream stream = File.Create(table))
            (await Audit.Export(stream, asParquet: true, default)).Hash.ShouldBe(head.Hash);
        (await AuditVerification.Verify(AuditStore.ReadExport(
            table), end, default)).IsWhole.ShouldBeTrue("the table holds the same to the last digit of a time");

        using System.Security.Cryptography.ECDsa key =
            System.Security.Cryptography.ECDsa.Create(System.Security.Cryptography.ECCurve.NamedCurves.nistP256),
            other = System.Security.Cryptography.ECDsa.Create(System.Security.Cryptography.ECCurve.NamedCurves.nistP256);
        SignedHead signed = head.Sign(key);
        signed.IsSignedBy(key.ExportSubjectPublicKeyInfoPem()).ShouldBeTrue();
        signed.IsSignedBy(other.ExportSubjectPublicKeyInfoPem()).ShouldBeFalse();
        (signed with { Sequence = 9 }).IsSignedBy(key.ExportSubjectPublicKeyInfoPem()).ShouldBeFalse();
        head.IsSignedBy(key.ExportSubjectPublicKeyInfoPem()).ShouldBeFalse();
    }

    [Theory]
    [InlineData("sequence <= 3", "3,2,1")]
    [InlineData("subject IN ('thing/0', 'thing/2') and sequence < 6", "5,3,2")]
    [InlineData("NOT (sequence > 2 OR subject = 'thing/1')", "2")]
    [InlineData("\"sequence\" = 4 or sequence=5", "5,4")]
    [InlineData("subject not in ('thing/0','thing/1') AND sequence >= 5", "8,5")]
    [InlineData("actor != 'auditor'", "")]
    [InlineData("at > '2020-01-01' AND at < '2021-01-01T00:00:00Z'", "")]
    [InlineData("actor = 'it''s' OR sequence = 1", "1")]
    [InlineData("actor = '''; drop table audit_events; --' OR sequence = 1", "1")]
    public async Task A_filter_lets_through_what_it_says(string where, string sequences) =>
        string.Join(',', (await Audit.Query(where, null, 100, default)).Events.Select(e => e.Sequence)).ShouldBe(sequences);

    [Theory]
    [InlineData("", "expected a field")]
    [InlineData("colour = 'red'", "no field 'colour'; there are: action")]
    [InlineData("actor", "expected a comparison")]
    [InlineData("actor = ", "expected a value")]
    [InlineData("actor = 'open", "not closed")]
    [InlineData("actor = 'a' actor = 'b'", "expected AND, OR or the end")]
    [InlineData("(actor = 'a'", "expected ')'")]
    [InlineData("at > 'soon'", "not a time")]
    [InlineData("sequence = 'many'", "not a whole number")]
    [InlineData("actor = 'a'; drop table runs", "';' at character 12")]
    public async Task A_filter_that_is_none_is_refused_in_words(string where, string words) =>
        (await Should.ThrowAsync<FilterException>(() => Audit.Query(where, null, 10, default))).Message.ShouldContain(words);

    [Fact]
    public async Task A_filter_without_end_is_refused()
    {
        await Should.ThrowAsync<FilterException>(() => Audit.Query(new string('(', 500) + "sequence = 1" + new string(')', 500), null, 10,
            default));
        await Should.ThrowAsync<FilterException>(() => Audit.Query(string.Join(" OR ", Enumerable.Repeat("sequence = 1", 1000)), null, 10,
            default));
    }

    [Fact]
    public async Task Pages_join_without_gap_or_overlap()
    {
        List<long> seen = [];
        string? cursor = null;
        do
        {
            AuditPage page = await Audit.Query("sequence > 1", cursor, 4, default);
            seen.AddRange(page.Events.Select(e => e.Sequence));
            cursor = page.Cursor;
        }
        while (cursor is not null);
        seen.ShouldBe([10, 9, 8, 7, 6, 5, 4, 3, 2]);
    }

    private async Task<ArmoFlowDbContext> Context() =>
        await _services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>().CreateDbContextAsync();
}

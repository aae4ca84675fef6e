using System.Data.Common;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Models;
using ArmoFlow.Persistence.Retention;
using ArmoFlow.Persistence.Runs;
using ArmoFlow.Persistence.Steps;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Migrations;
using Microsoft.Extensions.DependencyInjection;
using Shouldly;
using Xunit;

namespace ArmoFlow.Persistence.Tests;

/// <summary>What an answer rests on is bound by the trail: whoever changes a row past it is found, with table, row and column.</summary>
public sealed class AuditedRowsTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("armoflow-rows-").FullName;
    private ServiceProvider _services = null!;

    private AuditStore Audit => _services.GetRequiredService<AuditStore>();
    private IDbContextFactory<ArmoFlowDbContext> Contexts => _services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>();
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        Workspace workspace = new(_folder);
        workspace.TryLock().ShouldBeTrue();
        _services = new ServiceCollection().AddLogging().AddEmbeddedPersistence(workspace).BuildServiceProvider();
        await using ArmoFlowDbContext db = await Context();
        await db.Database.MigrateAsync();
        Caller.Current = new Caller("auditor", "request-7");
    }

    public async ValueTask DisposeAsync()
    {
        await _services.DisposeAsync();
        Microsoft.Data.Sqlite.SqliteConnection.ClearAllPools();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task Every_table_is_either_vouched_for_or_exempt_with_a_reason()
    {
        await using ArmoFlowDbContext db = await Context();
        foreach (IEntityType entity in db.Model.GetEntityTypes())
        {
            bool isExempt = AuditedTables.Exempt.TryGetValue(entity.ClrType, out string? reason);
            (isExempt ^ AuditedTables.IsAudited(entity.ClrType))
                .ShouldBeTrue($"{entity.ClrType.Name}: put it on one of the two lists in AuditedTables");
            if (isExempt) reason.ShouldNotBeNullOrWhiteSpace();
        }
    }

    [Fact]
    public async Task Whatever_column_of_whatever_table_is_changed_is_found_and_named_online_and_from_an_export()
    {
        await AuditedScenario.Fill(Contexts, Cancel);
        await using ArmoFlowDbContext db = await Context();
        AuditVerdict sound = await Audit.Verify(Cancel);
        (sound.IsWhole, sound.What, sound.Unrecorded).ShouldBe((true, null, 0));
        int tampered = 0;
        foreach ((AuditedTable table, string column, bool isBound) in AuditedScenario.Columns(db).ToList())
        {
            string type = await Scalar(db, $"select type from pragma_table_info('{table.Name}') where name = '{column}'");
            string rowid = await Scalar(db, $"select rowid from {table.Name} limit 1"), old =
                await Scalar(db, $"select quote({column}) from {table.Name} where rowid = {rowid}");
            string other = AuditedScenario.Other(db, type, column);
            bool isRowId = table.Key is [{ } only] && only.Name == column && type == "INTEGER";
            await AuditedScenario.Write(db, $"update {table.Name} set {column} = {other} where rowid = {rowid}", Cancel);
            AuditVerdict online = await Audit.Verify(Cancel), offline = await VerifyExport();
            string where = $"{table.Name}.{column}";
            foreach (AuditVerdict verdict in new[] { online, offline })
            {
                verdict.IsWhole.ShouldBe(!isBound, where);
                if (!isBound) continue;
                bool isKey = table.Key.Any(k => k.Name == column);
                verdict.Findings.ShouldContain(f => f.Table == table.Name && (isKey || f.Columns.SequenceEqual(new[] { column })), where);
            }
            await AuditedScenario.Write(db,
                $"update {table.Name} set {column} = {old} where rowid = {(isRowId ? $"{rowid} + 7" : rowid)}", Cancel);
            tampered++;
        }
        tampered.ShouldBeGreaterThan(100);
        (await Audit.Verify(Cancel)).What.ShouldBeNull("all was put back as it was");
    }

    [Fact]
    public async Task A_row_that_is_removed_or_entered_past_the_program_is_found_and_named()
    {
        await AuditedScenario.Fill(Contexts, Cancel);
        await using ArmoFlowDbContext db = await Context();
        foreach (AuditedTable table in AuditedTables.Of(db).All)
        {
            await AuditedScenario.Write(db,
                $"create temp table kept as select * from {table.Name}; delete from {table.Name} where rowid = (select min(rowid) "
                + $"from {table.Name})", Cancel);
            foreach (AuditVerdict verdict in new[] { await Audit.Verify(Cancel), await VerifyExport() })
            {
                verdict.IsWhole.ShouldBeFalse(table.Name);
                verdict.Findings.ShouldContain(f => f.Table == table.Name && f.What.Contains("missing"), table.Name);
            }
            await AuditedScenario.Write(db, $"delete from {table.Name}; insert into {table.Name} select * from kept", Cancel);
            (await Audit.Verify(Cancel)).What.ShouldBeNull(table.Name);

            AuditedColumn key = table.Key[^1];
            string type = await Scalar(db, $"select type from pragma_table_info('{table.Name}') where name = '{key.Name}'");
            string columns = string.Join(", ", db.Model.FindEntityType(table.Entity)!.GetProperties()
                .Select(p => p.GetColumnName(StoreObjectIdentifier.Table(table.Name))).Where(c => c != key.Name));
            string unique = table.Name switch
            {
                "model_versions" => columns.Replace("digest", "digest || 'x'", StringComparison.Ordinal),
                "alias_periods" => columns.Replace("alias,", "alias || 'x',", StringComparison.Ordinal),
                _ => columns
            };
            await AuditedScenario.Write(db,
                $"insert into {table.Name} ({key.Name}, {columns}) select {AuditedScenario.Other(db, type, key.Name)} + 0 * 1, "
                + $"{unique} from {table.Name} order by rowid desc limit 1".Replace(" + 0 * 1", type == "TEXT" ? "" : " + 100",
                    StringComparison.Ordinal), Cancel);
            foreach (AuditVerdict verdict in new[] { await Audit.Verify(Cancel), await VerifyExport() })
            {
                if (table.Entity == typeof(StepResult))
                {
                    verdict.Unrecorded.ShouldBe(1, "a step that no run has recorded is said to be so");
                    continue;
                }
                verdict.IsWhole.ShouldBeFalse(table.Name);
                verdict.Findings.ShouldContain(f => f.Table == table.Name && f.What.Contains("no event vouches"), table.Name);
            }
            await AuditedScenario.Write(db, $"delete from {table.Name}; insert into {table.Name} select * from kept; drop table kept",
                Cancel);
        }
    }

    [Fact]
    public async Task A_change_past_the_program_is_not_washed_clean_by_a_change_that_the_program_makes_after_it()
    {
        await AuditedScenario.Fill(Contexts, Cancel);
        await using ArmoFlowDbContext db = await Context();
        await AuditedScenario.Write(db,
            "update runs set metrics = replace(metrics, '12', '13'), name = 'other' where current_state = 'Completed'", Cancel);
        RunState run = await db.Runs.SingleAsync(r => r.CurrentState == "Completed", Cancel);
        run.CurrentState = "Evaluating";
        await db.SaveChangesAsync(Cancel);
        AuditVerdict verdict = await Audit.Verify(Cancel);
        verdict.IsWhole.ShouldBeFalse();
        verdict.Findings.Single().ToString().ShouldContain("changed past ArmoFlow");
    }

    [Fact]
    public async Task Changes_of_a_row_at_the_same_time_are_no_contradiction()
    {
        await AuditedScenario.Fill(Contexts, Cancel);
        await AuditedScenario.ChangeAtOnce(Contexts, Cancel);
        (await Audit.Verify(Cancel)).What.ShouldBeNull();
    }

    [Fact]
    public async Task A_step_that_is_used_again_is_held_against_what_it_was()
    {
        await AuditedScenario.Fill(Contexts, Cancel);
        await using ArmoFlowDbContext db = await Context();
        await AuditedScenario.Write(db, "update step_results set hardware = 'another machine'", Cancel);
        RunState run = await db.Runs.SingleAsync(r => r.CurrentState == "Initial", Cancel);
        run.Steps[0].Key = new string('a', 64);
        await db.SaveChangesAsync(Cancel);
        (await Audit.Verify(Cancel)).Findings.ShouldContain(f => f.Table == "step_results" && f.What.Contains("at event"));
    }

    [Fact]
    public async Task A_step_done_again_takes_the_place_of_the_one_whose_outputs_are_gone()
    {
        await AuditedScenario.Fill(Contexts, Cancel);
        StepStore steps = _services.GetRequiredService<StepStore>();
        await steps.Enter(new StepResult
        {
            Key = new string('a', 64),
            Step = "ingestion",
            Artifacts = [new StepArtifact { Name = "x", Sha256 = "y" }]
        }, Cancel);
        AuditVerdict verdict = await Audit.Verify(Cancel);
        (verdict.What, verdict.Unrecorded).ShouldBe((null, 2));
        await using ArmoFlowDbContext db = await Context();
        RunState run = await db.Runs.SingleAsync(r => r.CurrentState == "Initial", Cancel);
        run.Steps[0].Key = new string('a', 64);
        await db.SaveChangesAsync(Cancel);
        verdict = await Audit.Verify(Cancel);
        (verdict.What, verdict.Unrecorded).ShouldBe((null, 0));
    }

    [Fact]
    public async Task Answers_name_the_event_that_vouches_for_them_and_say_where_the_row_disagrees()
    {
        await AuditedScenario.Fill(Contexts, Cancel);
        await using ArmoFlowDbContext db = await Context();
        ModelRegistry registry = _services.GetRequiredService<ModelRegistry>();
        AliasPeriod period = (await registry.History("m", Cancel)).Single();
        AuditEventDocument proof = (await Audit.Query($"sequence = {period.ProvedBy}", null, 1, Cancel)).Events.Single();
        proof.Rows.ShouldNotBeNull().ShouldContain("alias_periods");
        period.Disagrees.ShouldBeNull();
        Lineage lineage = _services.GetRequiredService<Lineage>();
        LineageStep step = (await lineage.Trace(new string('b', 64), LineageDirection.Up, null, Cancel)).Single();
        (step.ProvedBy, step.Disagrees).ShouldBe((step.ProvedBy.ShouldNotBeNull(), null));

        await AuditedScenario.Write(db,
            "update alias_periods set version = 2; update step_artifacts set sha256 = 'ffff' where not is_output", Cancel);
        period = (await registry.At("m", "champion", period.ValidFrom, DateTimeOffset.MaxValue, Cancel)).ShouldNotBeNull();
        (period.ProvedBy, period.Version).ShouldBe((null, 2));
        period.Disagrees.ShouldNotBeNull().ShouldContain("differs in version");
        step = (await _services.GetRequiredService<Lineage>().Trace(new string('b', 64), LineageDirection.Up, null, Cancel)).Single();
        step.ProvedBy.ShouldBeNull();
        step.Disagrees.ShouldNotBeNull().ShouldContain("step_artifacts");
    }

    [Fact]
    public async Task A_kept_head_of_any_age_is_accepted_and_one_of_another_trail_is_not()
    {
        await AuditedScenario.Fill(Contexts, Cancel);
        string path = Path.Combine(_folder, "export.jsonl");
        await using (FileStream stream = File.Create(path)) await Audit.Export(stream, asParquet: false, Cancel);
        List<AuditEvent> events = await AuditStore.ReadExport(path).ToListAsync(Cancel);
        foreach (AuditEvent e in events)
        {
            (await AuditVerification.Verify(AuditStore.ReadExport(path), null, Cancel, new SignedHead(e.Sequence, e.Hash, e.At)))
                .IsWhole.ShouldBeTrue($"event {e.Sequence}");
        }
        (await AuditVerification.Verify(AuditStore.ReadExport(path), null, Cancel, new SignedHead(0, AuditHead.Start, default)))
            .IsWhole.ShouldBeTrue("taken down before the first event");
        AuditVerdict other = await AuditVerification.Verify(AuditStore.ReadExport(path), null, Cancel,
            new SignedHead(3, events[3].Hash, events[2].At));
        (other.IsWhole, other.BrokenAt).ShouldBe((false, 3));
        AuditVerdict newer = await AuditVerification.Verify(AuditStore.ReadExport(path), null, Cancel,
            new SignedHead(events.Count + 1, events[0].Hash, events[^1].At));
        (newer.IsWhole, newer.BrokenAt).ShouldBe((false, events.Count + 1));
        newer.What.ShouldNotBeNull().ShouldContain("newer than the last event");
    }

    [Fact]
    public async Task Rows_of_an_earlier_time_and_some_of_many_are_held_against_the_events_until_then()
    {
        await AuditedScenario.Fill(Contexts, Cancel);
        string rows = Path.Combine(_folder, "rows.jsonl"), table = Path.Combine(_folder, "rows.parquet"), some =
            Path.Combine(_folder, "some.jsonl"), events = Path.Combine(_folder, "events.jsonl");
        await using (FileStream target = File.Create(rows)) await Audit.Export(Stream.Null, asParquet: false, Cancel, target);
        await using (FileStream target = File.Create(table))
        {
            await Audit.Export(Stream.Null, asParquet: false, Cancel, target, rowsAsParquet: true);
        }
        await using (FileStream target = File.Create(some))
        {
            await Audit.Export(Stream.Null, asParquet: false, Cancel, target, which: r =>
            r.Table == "alias_periods");
        }
        await using (ArmoFlowDbContext db = await Context())
        {
            foreach (RunState run in await db.Runs.ToListAsync(Cancel)) run.Error = "changed since";
            await db.SaveChangesAsync(Cancel);
        }
        await using (FileStream target = File.Create(events)) await Audit.Export(target, asParquet: false, Cancel);
        foreach (string file in new[] { rows, table, some })
        {
            AuditVerdict verdict = await AuditVerification.VerifyExport(events, file, null, [], null, Cancel);
            (verdict.IsWhole, verdict.What).ShouldBe((true, null), file);
            verdict.Rows.ShouldNotBeNull().ShouldBe(file == some ? 1 : verdict.Rows!.Value);
        }
        await File.WriteAllTextAsync(some, (await File.ReadAllTextAsync(some, Cancel))
            .Replace("\"version\":1", "\"version\":2", StringComparison.Ordinal), Cancel);
        (await AuditVerification.VerifyExport(events, some, null, [], null, Cancel)).Findings.Single().Columns.ShouldBe(["version"]);
    }

    [Fact]
    public async Task Rows_from_before_events_vouched_for_rows_are_taken_in_once_and_said_to_be()
    {
        await using ArmoFlowDbContext db = await Context();
        await db.GetService<IMigrator>().MigrateAsync("Figures", Cancel);
        await AuditedScenario.Write(db,
            $"insert into legal_holds (subject, reason, \"by\", at) values ('model/m', 'old', 'ann', '2026-01-01T00:00:00.0000000Z'); "
            + $"insert into datasets (name, created_at, created_by) values ('old', '2026-01-01T00:00:00.0000000Z', 'ann')", Cancel);
        await db.Database.MigrateAsync(Cancel);
        await Audit.Adopt(Cancel);
        await Audit.Adopt(Cancel);
        AuditVerdict verdict = await Audit.Verify(Cancel);
        (verdict.IsWhole, verdict.AdoptedAt, verdict.AdoptedRows, verdict.Rows).ShouldBe((true, 1, 2, 2));
        (await Audit.Query("action = 'trail.adopted' AND subject = 'rows'", null, 10, Cancel)).Events.Count.ShouldBe(1);
        await AuditedScenario.Write(db, "update legal_holds set reason = 'new'", Cancel);
        (await Audit.Verify(Cancel)).Findings.Single().Columns.ShouldBe(["reason"]);
    }

    /// <summary>
    /// As after an upgrade whose migration adds a column: rows are bound with it from then on, but for those that were changed before.
    /// </summary>
    [Fact]
    public async Task A_new_column_is_covered_after_an_upgrade_and_a_change_before_it_is_still_found()
    {
        await AuditedScenario.Fill(Contexts, Cancel);
        await using ArmoFlowDbContext db = await Context();
        // The trail as a version without 'reason' would have written it.
        AuditedTable holds = AuditedTables.Of(db).Find(typeof(LegalHold))!;
        string[] older = [.. holds.ColumnNames.Where(c => c != "reason")];
        await Audit.Adopt(Cancel);
        List<BoundRow> bound = [];
        await AuditedScenario.Write(db,
            "insert into legal_holds (subject, reason, \"by\", at) values ('model/a', '', 'ann', '2026-01-01T00:00:00.0000000Z'), "
            + "('model/b', '', 'ann', '2026-01-01T00:00:00.0000000Z')", Cancel);
        await foreach (RowValues row in RowReader.All(db, holds, Cancel))
        {
            if (row.Key.Contains("model/", StringComparison.Ordinal))
            {
                bound.Add(new BoundRow(row.Table, row.Key, null, row.Only(older)!.Digest(), row.Only(older)!.Marks()));
            }
        }
        AuditEvent layouts = AuditTrail.New(db, RowLedger.Adopted, RowLedger.LayoutSubject,
            after: new { tables = AuditedTables.Of(db).All.ToDictionary(t => t.Name, t => t == holds ? older : [.. t.ColumnNames]) });
        AuditEvent entered = AuditTrail.New(db, "hold.put", "model/a");
        entered.Rows = BoundRow.Write(bound);
        await AuditTrail.Bind(db, [layouts, entered], Cancel);
        (await Audit.Verify(Cancel)).What.ShouldBeNull("the old columns are checked");
        await AuditedScenario.Write(db, "update legal_holds set \"by\" = 'bob' where subject = 'model/b'", Cancel);

        await Audit.Adopt(Cancel);
        RowFinding finding = (await Audit.Verify(Cancel)).Findings.Single();
        (finding.Key, finding.Columns.Single()).ShouldBe(("[\"model/b\"]", "by"));
        await AuditedScenario.Write(db, "update legal_holds set reason = 'new' where subject = 'model/a'", Cancel);
        (await Audit.Verify(Cancel)).Findings.ShouldContain(f => f.Key == "[\"model/a\"]" && f.Columns.Single() == "reason");
    }

    [Fact]
    public void An_event_without_rows_has_the_hash_that_it_always_had()
    {
        AuditEvent e = new()
        {
            Sequence = 1,
            At = DateTimeOffset.UnixEpoch,
            Actor = "a",
            Action = "b",
            Subject = "c",
            After = "{}",
            PreviousHash = AuditHead.Start
        };
        string before = "[\"1\",\"1970-01-01T00:00:00.0000000Z\",\"a\",\"b\",\"c\",null,\"{}\",null,\"" + AuditHead.Start + "\"]";
        e.ComputeHash()
            .ShouldBe(Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(before))));
        string without = e.ComputeHash();
        e.Rows = "[]";
        e.ComputeHash().ShouldNotBe(without);
    }

    private async Task<AuditVerdict> VerifyExport()
    {
        string events = Path.Combine(_folder, "all.jsonl");
        await using (FileStream target = File.Create(events)) await Audit.Export(target, asParquet: false, Cancel, target);
        return await AuditVerification.VerifyExport(events, events, null, [], null, Cancel);
    }

    private static async Task<string> Scalar(ArmoFlowDbContext db, string query)
    {
        await db.Database.OpenConnectionAsync(Cancel);
        await using DbCommand command = db.Database.GetDbConnection().CreateCommand();
        command.CommandText = query;
        return Convert.ToString(await command.ExecuteScalarAsync(Cancel), System.Globalization.CultureInfo.InvariantCulture)!;
    }

    private Task<ArmoFlowDbContext> Context() => Contexts.CreateDbContextAsync(Cancel);
}

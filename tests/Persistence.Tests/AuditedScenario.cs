using System.Data.Common;
using System.Text.Json.Nodes;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Faults;
using ArmoFlow.Contracts.Retention;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Schedules;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence.Access;
using ArmoFlow.Persistence.Alerts;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Datasets;
using ArmoFlow.Persistence.Faults;
using ArmoFlow.Persistence.Models;
using ArmoFlow.Persistence.Retention;
using ArmoFlow.Persistence.Runs;
using ArmoFlow.Persistence.Schedules;
using ArmoFlow.Persistence.Steps;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;

namespace ArmoFlow.Persistence.Tests;

/// <summary>
/// A database with rows in every audited table, entered as the program enters them and changed since, and their owner, who writes past the
/// program.
/// </summary>
internal static class AuditedScenario
{
    /// <summary>Enters at least one row of every audited table, and changes those that change in operation.</summary>
    public static async Task Fill(IDbContextFactory<ArmoFlowDbContext> contexts, CancellationToken cancel)
    {
        DateTimeOffset now = new DateTimeOffset(2026, 11, 2, 1, 0, 0, TimeSpan.Zero).AddTicks(1234567);
        RunSpec spec = new()
        {
            Name = "m",
            Folder = "/",
            Backbone = new BackboneSpec("b"),
            Ratings = [],
            Preferences = [],
            Tags = ["nightly"]
        };
        Guid id = Guid.NewGuid(), judged = Guid.NewGuid();
        string key = new('a', 64);
        await using (ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel))
        {
            StepResult result = new()
            {
                Key = key,
                Step = StepNames.Ingestion,
                Version = 1,
                Parameters = """{"a":1}""",
                Detail = "12 rows",
                Metrics = """{"rows":12}""",
                Hardware = "AMD EPYC, 8 cores",
                CreatedAt = now
            };
            result.Artifacts.Add(new StepArtifact
            {
                IsOutput = true,
                Name = ArtifactNames.Conversations,
                Sha256 = new string('b', 64),
                Bytes = 7
            });
            result.Artifacts.Add(new StepArtifact { IsOutput = false, Name = "r.jsonl", Sha256 = new string('c', 64), Bytes = 9 });
            db.Add(result);
            await db.SaveChangesAsync(cancel);
        }
        await using (ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel))
        {
            foreach (Guid run in new[] { id, judged })
            {
                RunState state = new() { CorrelationId = run, Trigger = "schedule nightly" };
                state.Open(spec, now);
                db.Runs.Add(state);
                db.RunTags.Add(new RunTag { RunId = run, Tag = "nightly", SubmittedAt = now });
            }
            db.SubmissionKeys.Add(new SubmissionKey { Key = "ann k1", SpecDigest = "d", RunId = id, At = now });
            db.Add(new Dataset { Name = "ratings", CreatedAt = now, CreatedBy = "ann" });
            db.Add(new DatasetFile
            {
                Dataset = "ratings",
                Sha256 = new string('c', 64),
                Version = 1,
                FileName = "r.jsonl",
                Bytes = 9,
                Rows = 12,
                AddedAt = now,
                AddedBy = "ann"
            });
            db.Add(new WatchedPlace { Dataset = "ratings", Address = "/data/in", CreatedBy = "ann", CreatedAt = now });
            db.Add(new RetrainPolicy
            {
                Name = "weekly",
                Spec = spec,
                CreatedBy = "ann",
                Versions = new Dictionary<string,
                int>
                { ["ratings"] = 1 }
            });
            db.Add(new Schedule
            {
                Name = "nightly",
                Cron = "0 2 * * *",
                Spec = spec,
                ActiveSince = now,
                UpdatedAt = now,
                CreatedBy = "ann"
            });
            db.Add(new Firing
            {
                Schedule = "nightly",
                DueAt = now,
                FiredAt = now,
                Outcome = FiringOutcome.Submitted,
                RunId = id,
                Detail = "on time"
            });
            db.Add(new AccessKey
            {
                Id = "0a1b",
                Name = "ann",
                Scope = Scope.Operator,
                Hash = new string('d', 64),
                CreatedAt = now,
                CreatedBy = "root"
            });
            db.Add(new LegalHold { Subject = $"run/{id}", Reason = "case 7", By = "ann", At = now });
            db.Add(new RetentionPolicy { OlderThanDays = 30.5, KeepLast = 3, Cron = "0 3 * * *", SetBy = "ann", ActiveSince = now });
            db.Add(new Tombstone { Sha256 = new string('e', 64), Bytes = 5, Why = "of an old run", At = now });
            db.Add(new Exclusion { Kind = ExclusionKind.Source, Value = "judge", Reason = "asked for", By = "ann", At = now });
            db.Add(new FaultRow
            {
                Fingerprint = "f",
                Queue = "ingestion",
                MessageType = "t",
                ContentType = "c",
                Body = "{}",
                Reason = "r",
                Machine = "m",
                FaultedAt = now
            });
            await db.SaveChangesAsync(cancel);
        }
        await using (ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel))
        {
            RunState run = await db.Runs.SingleAsync(r => r.CorrelationId == id, cancel);
            run.CurrentState = "ExtractingFeatures";
            run.Attempt = 2;
            run.Steps[0].Key = key;
            run.Steps[0].Status = StepStatus.Completed;
            run.Steps[0].EndedAt = now;
            run.Artifacts["conversations"] = new ArtifactRef(new string('b', 64), 7);
            run.Metrics["ingestion"] = new JsonObject { ["rows"] = 12, ["share"] = 0.1 };
            db.Add(new ModelVersion { Model = "m", Version = 1, RunId = id, Digest = "d1", CreatedAt = now, Tags = ["good"] });
            db.Add(new ModelVersion { Model = "m", Version = 2, RunId = id, Digest = "d2", CreatedAt = now });
            await db.SaveChangesAsync(cancel);
            run.CurrentState = "Completed";
            run.Score = 0.875;
            run.HeldOutAccuracy = 2.0 / 3;
            run.EndedAt = now.AddHours(1);
            db.Add(new ModelPolicy
            {
                Model = "m",
                Version = 1,
                Policy = new PolicySpec { MinimumScore = 0.8 },
                SetBy = "ann",
                At = now,
                Reason = "a floor"
            });
            db.Add(new PromotionApproval { Model = "m", Alias = "champion", Version = 1, By = "ann", At = now, Reason = "good figures" });
            db.Add(new AliasPeriod
            {
                Model = "m",
                Alias = "champion",
                Version = 1,
                ValidFrom = now,
                KnownFrom = now,
                DecidedBy = "ann",
                Reason = "first"
            });
            db.Add(new ModelEvaluation { RunId = judged, Model = "m", Version = 1, At = now, Score = 0.9 });
            db.Add(new Alert { RunId = judged, Model = "m", Version = 1, RaisedAt = now, Text = "below", NextAttemptAt = now });
            (await db.Schedules.SingleAsync(cancel)).PausedAt = now;
            (await db.DatasetFiles.SingleAsync(cancel)).WithdrawnIn = 2;
            await db.SaveChangesAsync(cancel);
        }
        await using (ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel))
        {
            ModelEvaluation evaluation = await db.ModelEvaluations.SingleAsync(cancel);
            evaluation.Holds = false;
            evaluation.Verdicts = """[{"gate":"score"}]""";
            (await db.Faults.SingleAsync(cancel)).Status = FaultStatus.Archived;
            (await db.Tombstones.SingleAsync(cancel)).RemovedAt = now;
            await db.SaveChangesAsync(cancel);
        }
    }

    /// <summary>
    /// Lets several change the same row at the same time, each a column of its own: none of them knows of the others' changes.
    /// </summary>
    public static Task ChangeAtOnce(IDbContextFactory<ArmoFlowDbContext> contexts, CancellationToken cancel) =>
        Parallel.ForAsync(0, 40, cancel, async (i, stop) =>
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(stop);
        ModelVersion version = await db.ModelVersions.SingleAsync(v => v.Version == 1, stop);
        if (i % 2 == 0) version.Notes = $"notes {i}";
        else version.Tags = [$"tag {i}"];
        await db.SaveChangesAsync(stop);
    });

    /// <summary>Every audited table with every column of it, and whether the trail vouches for the column.</summary>
    public static IEnumerable<(AuditedTable Table, string Column, bool IsBound)> Columns(ArmoFlowDbContext db) =>
        from table in AuditedTables.Of(db).All
        let stored = StoreObjectIdentifier.Table(table.Name)
        from column in db.Model.FindEntityType(table.Entity)!.GetProperties().Select(p => p.GetColumnName(stored)!)
        select (table, column, table.ColumnNames.Contains(column));

    /// <summary>Runs a statement as the owner of the database may: without the rules that bind others.</summary>
    public static async Task Write(ArmoFlowDbContext db, string statement, CancellationToken cancel)
    {
        await db.Database.OpenConnectionAsync(cancel);
        await using DbCommand command = db.Database.GetDbConnection().CreateCommand();
        command.CommandText = $"{(db.Database.IsNpgsql() ? "set session_replication_role = replica" : "pragma foreign_keys = off")}; "
            + $"{statement}";
        await command.ExecuteNonQueryAsync(cancel);
    }

    /// <summary>An expression of SQL that is another value of the column's type than the one that stands there.</summary>
    public static string Other(ArmoFlowDbContext db, string type, string column) => type switch
    {
        "uuid" => "'00000000-0000-0000-0000-00000000dead'",
        "boolean" => $"not coalesce({column}, false)",
        "timestamp with time zone" => $"coalesce({column}, now()) + interval '1 microsecond'",
        "integer" or "bigint" or "double precision" or "INTEGER" or "REAL" => $"coalesce({column}, 0) + 7",
        _ => $"coalesce({column}, '') || ' '",
    };
}

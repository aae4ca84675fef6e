using System.Diagnostics;
using System.Globalization;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Retention;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;
using NpgsqlTypes;

namespace ArmoFlow.Bench;

/// <summary>
/// Follows an audit trail of a million events in Postgres to its end, with a row to every fifth; beside reading the rows, and beside
/// hashing alone.
/// </summary>
internal static class AuditBench
{
    private const int EventsPerRow = 5;

    public static async Task<int> Run(int events)
    {
        await using Servers servers = await Servers.Start();
        await using ServiceProvider services = servers.Database();
        List<AuditEvent> trail = Make(events, await Rows(servers.Postgres, services, events / EventsPerRow));
        await Fill(servers.Postgres, trail);
        AuditStore store = services.GetRequiredService<AuditStore>();
        AuditVerdict verdict = await store.Verify(default);
        long start = Stopwatch.GetTimestamp();
        verdict = await store.Verify(default);
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        double reading = await Reading(servers.Postgres), hashing = Hashing(trail);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"""
            {verdict.Events:N0} events, {(verdict.IsWhole ? "whole" : $"broken: {verdict.What}")}; {verdict.Rows:N0} rows held against them
              verify                {seconds,8:f1} s
              reading the rows      {reading,8:f1} s   bare Npgsql
              hashing alone         {hashing,8:f1} s   reading + hashing ÷ verify {(reading + hashing) / seconds:f2}
            """));
        return verdict.IsWhole && verdict.Rows == events / EventsPerRow && seconds < 15 ? 0 : 1;
    }

    /// <summary>Rows for the trail to vouch for, and what it says of each.</summary>
    private static async Task<Queue<BoundRow>> Rows(string postgres, ServiceProvider services, int count)
    {
        await using (NpgsqlConnection connection = new(postgres))
        {
            await connection.OpenAsync();
            await using NpgsqlCommand fill =
                new("insert into legal_holds (subject, reason, by, at) select 'model/' || n, 'case ' || n, 'auditor', now() from "
                + "generate_series(1, $1) n", connection)
                { Parameters = { new() { Value = count } } };
            await fill.ExecuteNonQueryAsync();
        }
        Queue<BoundRow> rows = new(count);
        await using ArmoFlowDbContext db = await services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>()
            .CreateDbContextAsync();
        await db.Database.OpenConnectionAsync();
        await foreach (RowValues row in RowReader.All(db, AuditedTables.Of(db).Find(typeof(LegalHold))!,
            default)) rows.Enqueue(new BoundRow(row.Table, row.Key, null, row.Digest(), row.Marks()));
        return rows;
    }

    private static List<AuditEvent> Make(int count, Queue<BoundRow> rows)
    {
        List<AuditEvent> trail = new(count);
        string previous = AuditHead.Start;
        for (int i = 1; i <= count; i++)
        {
            AuditEvent e = new()
            {
                Sequence = i,
                At = DateTimeOffset.UnixEpoch.AddMicroseconds(i),
                Actor = "armoflow",
                Action = "run.state",
                Subject = $"run/{Guid.Empty}",
                Before = """{"state":"Ingesting"}""",
                After = """{"state":"ExtractingFeatures","error":null}""",
                PreviousHash = previous
            };
            if (i % EventsPerRow == 0) e.Rows = BoundRow.Write([rows.Dequeue()]);
            previous = e.Hash = e.ComputeHash();
            trail.Add(e);
        }
        return trail;
    }

    private static async Task Fill(string postgres, List<AuditEvent> trail)
    {
        await using NpgsqlConnection connection = new(postgres);
        await connection.OpenAsync();
        await using (NpgsqlBinaryImporter copy =
            await connection.BeginBinaryImportAsync("copy audit_events (sequence, at, actor, action, subject, before, after, rows, "
            + "previous_hash, hash) from stdin (format binary)"))
        {
            foreach (AuditEvent e in trail)
            {
                await copy.StartRowAsync();
                await copy.WriteAsync(e.Sequence, NpgsqlDbType.Bigint);
                await copy.WriteAsync(e.At, NpgsqlDbType.TimestampTz);
                foreach (string? text in new[] { e.Actor, e.Action, e.Subject, e.Before, e.After, e.Rows, e.PreviousHash,
                    e.Hash }) await copy.WriteAsync(text, NpgsqlDbType.Text);
            }
            await copy.CompleteAsync();
        }
        await using NpgsqlCommand head = new("update audit_heads set sequence = $1, hash = $2", connection)
        {
            Parameters = { new() { Value = trail[^1].Sequence }, new() { Value = trail[^1].Hash } }
        };
        await head.ExecuteNonQueryAsync();
    }

    private static async Task<double> Reading(string postgres)
    {
        long start = Stopwatch.GetTimestamp();
        await using NpgsqlConnection connection = new(postgres);
        await connection.OpenAsync();
        await using NpgsqlCommand all = new("select * from audit_events order by sequence", connection);
        await using NpgsqlDataReader reader = await all.ExecuteReaderAsync();
        object[] row = new object[reader.FieldCount];
        while (await reader.ReadAsync()) reader.GetValues(row);
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private static double Hashing(List<AuditEvent> trail)
    {
        long start = Stopwatch.GetTimestamp();
        foreach (AuditEvent e in trail) e.ComputeHash();
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }
}

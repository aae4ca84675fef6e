using System.Diagnostics;
using System.Globalization;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Orchestrator;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Runs;
using ArmoFlow.Persistence.Steps;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;

namespace ArmoFlow.Bench;

/// <summary>Fills the database with a million runs and their lineage, and times what people ask of them.</summary>
internal static class QueryBench
{
    private const int Repetitions = 41;

    public static async Task<int> Run(int runs)
    {
        await using Servers servers = await Servers.Start();
        await Fill(servers.Postgres, runs);
        ServiceCollection collection = new();
        collection.AddLogging().AddServerPersistence(servers.Postgres, servers.Artifacts, CacheOptions.Default).AddRunQueries();
        await using ServiceProvider services = collection.BuildServiceProvider();
        RunQueries queries = services.GetRequiredService<RunQueries>();
        Lineage lineage = services.GetRequiredService<Lineage>();
        DateTimeOffset middle = new(2026, 6, 1, 0, 0, 0, TimeSpan.Zero);
        RunPage first = await queries.List(new RunFilter(), default);
        RunPage deep = await queries.List(new RunFilter { To = middle }, default);

        bool fine = true;
        Random random = new(17);
        fine &= await Time("runs show", () => queries.Find(Id(random.Next(runs)), default));
        fine &= await Time("list, newest", () => queries.List(new RunFilter(), default));
        fine &= await Time("list, next page", () => queries.List(new RunFilter { Cursor = first.Cursor }, default));
        fine &= await Time("list, a page in the middle", () => queries.List(new RunFilter { Cursor = deep.Cursor }, default));
        fine &= await Time("list by name", () => queries.List(new RunFilter { Name = $"name-{random.Next(1000)}" }, default));
        fine &= await Time("list by status", () => queries.List(new RunFilter { Status = RunStatus.Failed }, default));
        fine &= await Time("list by name and status",
            () => queries.List(new RunFilter { Name = $"name-{random.Next(1000)}", Status = RunStatus.Cancelled }, default));
        fine &= await Time("list by tag", () => queries.List(new RunFilter { Tag = $"team-{random.Next(50)}" }, default));
        fine &= await Time("list by tag and status",
            () => queries.List(new RunFilter { Tag = $"team-{random.Next(50)}", Status = RunStatus.Failed }, default));
        fine &= await Time("list by tag, name, status",
            () => queries.List(new RunFilter
            {
                Tag = $"team-{random.Next(50)}",
                Name = $"name-{random.Next(1000)}",
                Status = RunStatus.Failed,
            }, default));
        fine &= await Time("list by time", () => queries.List(new RunFilter { From = middle, To = middle.AddDays(1) }, default));
        fine &= await Time("lineage up", () => lineage.Trace(Digest(random.Next(runs / 10), 6), LineageDirection.Up, null, default));
        fine &= await Time("lineage down", () => lineage.Trace(Digest(random.Next(runs / 10), 0), LineageDirection.Down, null, default));

        fine &= await Plans(servers.Postgres);
        return fine ? 0 : 1;
    }

    /// <summary>Prints how long a question takes; true below 50 ms.</summary>
    private static async Task<bool> Time(string what, Func<Task> ask)
    {
        await ask();
        double[] milliseconds = new double[Repetitions];
        for (int i = 0; i < Repetitions; i++)
        {
            long start = Stopwatch.GetTimestamp();
            await ask();
            milliseconds[i] = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
        }
        double median = milliseconds.Order().ElementAt(Repetitions / 2);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{what,-28}{median,8:f1} ms median {milliseconds.Max(),8:f1} ms slowest"));
        return median < 50;
    }

    /// <summary>The plans of what lists ask; true where each goes by an index.</summary>
    private static async Task<bool> Plans(string postgres)
    {
        await using NpgsqlConnection connection = new(postgres);
        await connection.OpenAsync();
        Console.WriteLine("plans:");
        bool fine = await Explain(connection,
            "select * from runs where current_state = 'Failed' order by submitted_at desc, correlation_id desc limit 50");
        fine &=
            await Explain(connection, "select * from runs where name = 'name-7' order by submitted_at desc, correlation_id desc limit 50");
        fine &= await Explain(connection,
            "select r.* from run_tags t join runs r on r.correlation_id = t.run_id where t.tag = 'team-7' order by t.submitted_at desc, "
                + "r.correlation_id desc limit 50");
        fine &= await Explain(connection,
            "select * from runs where submitted_at < '2026-06-01' order by submitted_at desc, correlation_id desc limit 50");
        fine &= await Explain(connection, $"select key from step_artifacts where is_output and sha256 = '{Digest(5, 3)}'");
        return fine;
    }

    private static Guid Id(int run) => new(run, 0, 0, [0, 0, 0, 0, 0, 0, 0, 0]);

    private static string Digest(int model, int level) =>
        Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes($"{model}/{level}")));

    /// <summary>Runs over two years, 1,000 names, 50 tags of which each run has two; a tenth as many models, each of six steps.</summary>
    private static async Task Fill(string postgres, int runs)
    {
        await using NpgsqlConnection connection = new(postgres);
        await connection.OpenAsync();
        foreach (string sql in new[]
        {
            $$$$"""
            insert into runs (correlation_id, current_state, name, spec_digest, tags, spec, steps, artifacts, metrics, bad_input,
                              attempt, submitted_at, ended_at, workflow_version)
            select (lpad(to_hex(i), 8, '0') || '-0000-0000-0000-000000000000')::uuid,
                   case when i % 50 = 0 then 'Failed' when i % 333 = 0 then 'Cancelled' else 'Completed' end,
                   'name-' || (i::bigint * 7919 % 1000), md5(i::text), '["team-' || i % 50 || '","all-' || i % 3 || '"]',
                   '{"name":"n","folder":"/","backbone":{"path":"b"},"ratings":[],"preferences":[]}',
                   (select '[' || string_agg('{"name":"' || s || '","status":"Completed","detail":"' || repeat('x', 80) || '"}', ',') || ']'
                    from unnest(array['ingestion','features','regression','decorrelation','gating','evaluation']) s),
                   '{}', '{"evaluation":{"scorers":{"gate":{"heldOutAccuracy":0.9}}},"gating":{"lossCurve":['
                   || repeat('0.5,', 200) || '0.5]}}', false, 6,
                   timestamptz '2025-01-01' + i * interval '63 seconds', timestamptz '2025-01-01' + i * interval '63 seconds', 1
            from generate_series(0, {{{{runs - 1}}}}) i
            """,
            "insert into run_tags (run_id, tag, submitted_at, state) select correlation_id, jsonb_array_elements_text(tags::jsonb), "
                + "submitted_at, current_state from runs",
            $$"""
            insert into step_results (key, step, version, parameters, detail, metrics, hardware, created_at)
            select 'key-' || m || '-' || s, 'step-' || s, 1, '{}', '', '{}', 'cpu', timestamptz '2025-01-01' + m * interval '1 minute'
            from generate_series(0, {{(runs / 10) - 1}}) m, generate_series(1, 6) s
            """,
            $$"""
            insert into step_artifacts (key, is_output, name, sha256, bytes)
            select 'key-' || m || '-' || s, side = 1, 'a', encode(sha256((m || '/' || (s - 1 + side))::bytea), 'hex'), 1
            from generate_series(0, {{(runs / 10) - 1}}) m, generate_series(1, 6) s, generate_series(0, 1) side
            """,
            "analyze",
        })
        {
            await using NpgsqlCommand command = new(sql, connection) { CommandTimeout = 1200 };
            await command.ExecuteNonQueryAsync();
        }
    }

    private static async Task<bool> Explain(NpgsqlConnection connection, string sql)
    {
        await using NpgsqlCommand command = new("explain " + sql, connection);
        await using NpgsqlDataReader reader = await command.ExecuteReaderAsync();
        List<string> plan = [];
        while (await reader.ReadAsync()) plan.Add(reader.GetString(0));
        string scans = string.Join("; ",
            plan.Select(l => l.Trim(' ', '-', '>'))
                .Where(l => l.Contains("Scan", StringComparison.Ordinal))
                .Select(l => l.Split("  (")[0]));
        Console.WriteLine($"  {sql}\n    {scans}");
        return !scans.Contains("Seq Scan", StringComparison.Ordinal);
    }
}

using System.Diagnostics;
using System.Globalization;
using Npgsql;

namespace ArmoFlow.Bench;

/// <summary>What an orchestrator and a worker cost while there is nothing to do: share of a core, and statements a second.</summary>
internal static class IdleBench
{
    public static async Task<int> Run(int seconds)
    {
        await using Servers servers = await Servers.Start();
        Process[] processes =
        [
            await servers.Program("orchestrator on ", "orchestrator", "--urls", "http://127.0.0.1:0"),
            await servers.Program("worker for ", "worker")
        ];
        await Task.Delay(TimeSpan.FromSeconds(60)); // what starting costs, with code compiled anew in the background, is another matter
        TimeSpan[] before = [.. processes.Select(p => p.TotalProcessorTime)];
        long statements = await Statements(servers.Postgres);
        await Task.Delay(TimeSpan.FromSeconds(seconds));
        long made = await Statements(servers.Postgres) - statements - 1; // less the count itself
        bool fine = (double)made / seconds < 2;
        foreach ((Process process, string name, TimeSpan start) in processes.Zip(["orchestrator", "worker"], before))
        {
            process.Refresh();
            double share = (process.TotalProcessorTime - start).TotalSeconds / seconds;
            fine &= share < 0.01;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{name,-14}{share,8:p2} of a core   {process.WorkingSet64 >> 20} MiB"));
        }
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"transactions  {(double)made / seconds,8:f2} a second, of both together"));
        return fine ? 0 : 1;
    }

    private static async Task<long> Statements(string postgres)
    {
        await using NpgsqlConnection connection = new(postgres);
        await connection.OpenAsync();
        await using NpgsqlCommand query =
            new("select sum(xact_commit + xact_rollback)::bigint from pg_stat_database where datname = current_database()", connection);
        return (long)(await query.ExecuteScalarAsync())!;
    }
}

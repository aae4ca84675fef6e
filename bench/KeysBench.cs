using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using ArmoFlow.Cli;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Persistence.Access;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;

namespace ArmoFlow.Bench;

/// <summary>
/// Wrong keys, as many as this machine can send, at an orchestrator that asks for keys: how many it answers, what they cost the
/// database and its memory, and how long a usable key of the same address waits meanwhile.
/// </summary>
internal static class KeysBench
{
    private const int Connections = 8, Pipelined = 64;
    private static readonly TimeSpan AskInterval = TimeSpan.FromMilliseconds(20);

    public static async Task<int> Run(int seconds)
    {
        await using Servers servers = await Servers.Start();
        await using ServiceProvider store = servers.Database();
        KeyRequest request = new() { Name = "ada", Scope = Scope.Admin };
        string key = (await store.GetRequiredService<AccessKeyStore>().Create(request, default)).Key;
        int port = FreePorts.Next();
        Process server = await servers.Program("orchestrator on ", "orchestrator", "--require-keys", "--urls", $"http://127.0.0.1:{port}");
        using HttpClient http = new() { BaseAddress = new Uri($"http://127.0.0.1:{port}/") };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        await Ask(http, TimeSpan.FromSeconds(3)); // warm

        (double[] quiet, _) = await Ask(http, TimeSpan.FromSeconds(seconds));
        long statements = await Transactions(servers.Postgres), memory = Memory(server);
        using CancellationTokenSource over = new(TimeSpan.FromSeconds(seconds));
        Task<Answers>[] flood = [.. Enumerable.Range(0, Connections).Select(_ => Task.Run(() => Flood(port, over.Token)))];
        (double[] flooded, int failed) = await Ask(http, TimeSpan.FromSeconds(seconds));
        Answers answers = (await Task.WhenAll(flood)).Aggregate((a, b) => a.And(b));
        long made = await Transactions(servers.Postgres) - statements;

        Console.WriteLine(Line($"wrong keys answered  {(double)answers.All / seconds,10:f0} a second"));
        Console.WriteLine(
            Line($"                     {answers.Unauthorized} with 401, {answers.TooMany} with 429, {answers.Others} otherwise"));
        Console.WriteLine(Line(
            $"transactions         {(double)made / seconds,10:f1} a second, those of {flooded.Length} calls with a usable key among them"));
        Console.WriteLine(Line($"memory               {memory >> 20,10} MiB before, {Memory(server) >> 20} MiB after"));
        Console.WriteLine(Line($"a usable key, quiet  {At(quiet, 50),10:f1} ms median, {At(quiet, 99):f1} ms p99"));
        Console.WriteLine(Line($"             flooded {At(flooded, 50),10:f1} ms median, {At(flooded, 99):f1} ms p99, {failed} failed"));
        return failed == 0 && answers.Others == 0 ? 0 : 1;
    }

    private sealed record Answers(long Unauthorized, long TooMany, long Others)
    {
        public long All => Unauthorized + TooMany + Others;
        public Answers And(Answers other) => new(Unauthorized + other.Unauthorized, TooMany + other.TooMany, Others + other.Others);
    }

    /// <summary>One connection that sends requests in bundles, each with a key that was never given out.</summary>
    private static async Task<Answers> Flood(int port, CancellationToken over)
    {
        using TcpClient connection = new();
        await connection.ConnectAsync(IPAddress.Loopback, port, CancellationToken.None);
        await using NetworkStream stream = connection.GetStream();
        using StreamReader answers = new(stream, Encoding.ASCII);
        long unauthorized = 0, tooMany = 0, others = 0;
        while (!over.IsCancellationRequested)
        {
            StringBuilder bundle = new();
            for (int i = 0; i < Pipelined; i++)
            {
                string wrong = Convert.ToHexString(RandomNumberGenerator.GetBytes(16));
                bundle.Append("GET /api/v1/runs HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ").Append(wrong).Append("\r\n\r\n");
            }
            await stream.WriteAsync(Encoding.ASCII.GetBytes(bundle.ToString()), CancellationToken.None);
            for (int seen = 0; seen < Pipelined;)
            {
                string? line = await answers.ReadLineAsync(CancellationToken.None);
                if (line is null) return new Answers(unauthorized, tooMany, others + 1); // hung up
                int at = line.IndexOf("HTTP/1.1 ", StringComparison.Ordinal); // an answer's body ends without a line's end
                if (at < 0) continue;
                seen++;
                string status = line.Substring(at + "HTTP/1.1 ".Length, 3);
                if (status == "401") unauthorized++;
                else if (status == "429") tooMany++;
                else others++;
            }
        }
        return new Answers(unauthorized, tooMany, others);
    }

    private static async Task<(double[] Milliseconds, int Failed)> Ask(HttpClient http, TimeSpan span)
    {
        List<double> milliseconds = [];
        int failed = 0;
        for (long start = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(start) < span; await Task.Delay(AskInterval))
        {
            long asked = Stopwatch.GetTimestamp();
            using HttpResponseMessage answer = await http.GetAsync("api/v1/runs");
            if (!answer.IsSuccessStatusCode) failed++;
            milliseconds.Add(Stopwatch.GetElapsedTime(asked).TotalMilliseconds);
        }
        milliseconds.Sort();
        return ([.. milliseconds], failed);
    }

    private static long Memory(Process process)
    {
        process.Refresh();
        return process.WorkingSet64;
    }

    private static async Task<long> Transactions(string postgres)
    {
        await using NpgsqlConnection connection = new(postgres);
        await connection.OpenAsync();
        const string Transactions =
            "select sum(xact_commit + xact_rollback)::bigint from pg_stat_database where datname = current_database()";
        await using NpgsqlCommand query = new(Transactions, connection);
        return (long)(await query.ExecuteScalarAsync())!;
    }

    private static double At(double[] sorted, int percent) => sorted[sorted.Length * percent / 100];

    private static string Line(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}

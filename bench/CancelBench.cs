using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Json;
using System.Text.Json;
using ArmoFlow.Cli;

namespace ArmoFlow.Bench;

/// <summary>
/// Cancels runs of a spec during feature extraction, on two workers, and prints how long after the request the workers still used
/// a processor. The first run's processes are cold: their code is compiled while they are asked to stop.
/// </summary>
internal static class CancelBench
{
    private static readonly TimeSpan Sample = TimeSpan.FromMilliseconds(50), Extracting = TimeSpan.FromSeconds(5),
        Watched = TimeSpan.FromSeconds(4);
    private const double Idle = 0.1, Window = 1, LimitSeconds = 1; // idle: less than a tenth of a core over a second, all workers together

    public static async Task<int> Run(string spec, int times)
    {
        await using Servers servers = await Servers.Start();
        int port = FreePorts.Next();
        await servers.Program("orchestrator on ", "orchestrator", "--urls", $"http://127.0.0.1:{port}");
        Process[] workers = [await servers.Program("worker for ", "worker"), await servers.Program("worker for ", "worker")];
        using HttpClient http = new() { BaseAddress = new Uri($"http://127.0.0.1:{port}/api/v1/") };
        string yaml = await File.ReadAllTextAsync(spec);
        bool fine = true;
        for (int i = 0; i < times; i++) fine &= await CancelOne(http, await SubmitOne(http, yaml), workers, i);
        return fine ? 0 : 1;
    }

    /// <summary>Submits a run and waits until its features are extracted.</summary>
    private static async Task<string> SubmitOne(HttpClient http, string yaml)
    {
        using HttpResponseMessage submitted =
            await http.PostAsync("runs", new StringContent(yaml, System.Text.Encoding.UTF8, "application/yaml"));
        submitted.EnsureSuccessStatusCode();
        string id = (await submitted.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("runId").GetString()!;
        while (await Status(http, id) is var status && status != "ExtractingFeatures")
        {
            if (status is "Completed" or "Failed")
            {
                throw new InvalidOperationException(
                    $"run {id} is {status} before it could be cancelled; give a spec whose features take longer");
            }
            await Task.Delay(Sample);
        }
        return id;
    }

    private static async Task<bool> CancelOne(HttpClient http, string id, Process[] workers, int i)
    {
        await Task.Delay(Extracting);
        List<(double At, double Used)> samples = [(0, Used(workers))];
        long asked = Stopwatch.GetTimestamp();
        Task<HttpResponseMessage> cancel = http.PostAsync($"runs/{id}/cancel", null);
        double answered = double.NaN;
        while (Stopwatch.GetElapsedTime(asked) < Watched)
        {
            await Task.Delay(Sample);
            samples.Add((Stopwatch.GetElapsedTime(asked).TotalSeconds, Used(workers)));
            if (double.IsNaN(answered) && cancel.IsCompleted) answered = samples[^1].At;
        }
        (await cancel).Dispose();
        double idleFrom = samples.First(s => samples.Last(l => l.At <= s.At + Window).Used - s.Used < Idle * Window).At;
        string end = await Status(http, id);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"cancel {i + 1}{(i == 0 ? " (cold)" : ""),-7}  answered after {answered:f2} s; workers below {Idle:p0} of a core after "
                + $"{idleFrom:f2} s, having used {samples.First(s => s.At >= idleFrom).Used - samples[0].Used:f2} s of processor; "
                + $"{end}"));
        return idleFrom < LimitSeconds;
    }

    private static double Used(Process[] processes)
    {
        foreach (Process process in processes) process.Refresh();
        return processes.Sum(p => p.TotalProcessorTime.TotalSeconds);
    }

    private static async Task<string> Status(HttpClient http, string id) =>
        (await http.GetFromJsonAsync<JsonElement>($"runs/{id}")).GetProperty("status").GetString()!;
}

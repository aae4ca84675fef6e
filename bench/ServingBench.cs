using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Json;
using ArmoFlow.Cli.Sample;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Text;
using static TorchSharp.torch;

namespace ArmoFlow.Bench;

/// <summary>
/// Scores over HTTP from the sample's model, by 1, 8 and 64 clients that each send one response at a time; beside the bare forward
/// pass of the same responses in this process, one at a time and in batches of 64. An alias is swapped while they ask.
/// </summary>
internal static class ServingBench
{
    private const int Responses = 512, Warmup = 64;

    public static async Task<int> Run(int seconds)
    {
        string folder = Path.Combine(Directory.CreateTempSubdirectory("armoflow-serving-").FullName, "sample");
        string workspace = await Prepare(folder);
        (string Prompt, string Response)[] texts = [.. (await Read(Path.Combine(folder, "data", "pairs.jsonl"))).Take(Responses)];
        using Process server = Start("serve", "--urls", "http://127.0.0.1:0", "--workspace", workspace);
        try
        {
            string? line = await server.StandardError.ReadLineAsync();
            while (line?.Contains(" on http", StringComparison.Ordinal) == false) line = await server.StandardError.ReadLineAsync();
            if (line is null) return 1;
            _ = server.StandardError.ReadToEndAsync();
            using HttpClient http = new(new SocketsHttpHandler
            {
                MaxConnectionsPerServer = 128
            })
            { BaseAddress = new Uri(line.Split(" on ")[1].Split(';')[0]) };
            for (int i = 0; i < Warmup; i++) await Ask(http, texts[i]);

            bool fine = true;
            foreach (int clients in new[] { 1, 8, 64 }) fine &= await Load(http, texts, clients, seconds);
            server.Kill();
            Bare(Path.Combine(folder, "backbone"), texts);
            return fine ? 0 : 1;
        }
        finally
        {
            if (!server.HasExited) server.Kill();
            Directory.Delete(Path.GetDirectoryName(folder)!, recursive: true);
        }
    }

    /// <summary>A workspace with two versions of a model.</summary>
    private static async Task<string> Prepare(string folder)
    {
        SampleProject.Write(folder);
        string spec = Path.Combine(folder, "spec.yaml"), workspace = Path.Combine(folder, "workspace");
        File.WriteAllText(spec, File.ReadAllText(spec).Replace("steps: 1500", "steps: 100", StringComparison.Ordinal));
        await Program("run", spec, "--workspace", workspace);
        File.WriteAllText(spec, File.ReadAllText(spec).Replace("seed: 17", "seed: 18", StringComparison.Ordinal));
        await Program("run", spec, "--workspace", workspace);
        await Program("models", "promote", "sample@1", "--workspace", workspace);
        return workspace;
    }

    /// <summary>So many clients that ask one request after the other; true where all were answered.</summary>
    private static async Task<bool> Load(HttpClient http, (string Prompt, string Response)[] texts, int clients, int seconds)
    {
        List<double> milliseconds = [];
        int failures = 0, next = 0;
        long start = Stopwatch.GetTimestamp();
        Task swap = clients == 8 ? Swap(http, seconds) : Task.CompletedTask;
        await Task.WhenAll(Enumerable.Range(0, clients).Select(async _ =>
        {
            while (Stopwatch.GetElapsedTime(start).TotalSeconds < seconds)
            {
                long asked = Stopwatch.GetTimestamp();
                if (!await Ask(http, texts[Interlocked.Increment(ref next) % texts.Length])) Interlocked.Increment(ref failures);
                lock (milliseconds) milliseconds.Add(Stopwatch.GetElapsedTime(asked).TotalMilliseconds);
            }
        }));
        double elapsed = Stopwatch.GetElapsedTime(start).TotalSeconds;
        await swap;
        milliseconds.Sort();
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{clients,4} clients {milliseconds.Count / elapsed,8:f0} requests/s   p50 "
                + $"{milliseconds[milliseconds.Count / 2],7:f1} ms   p99 {milliseconds[milliseconds.Count * 99 / 100],7:f1} ms   "
                + $"{failures} failed{(clients == 8 ? ", with an alias swapped every second" : "")}"));
        return failures == 0;
    }

    private static void Bare(string backbone, (string Prompt, string Response)[] texts)
    {
        ChatTokenizer tokenizer = Backbones.Tokenizer(backbone);
        EncodedConversation[] encoded = [.. texts.Select(t => tokenizer.Encode(Conversation.Create(t.Prompt, t.Response, "bench")))];
        using FeatureExtractor extractor = new(backbone, ScalarType.Float32, CPU);
        double single = SecondsEach(encoded[..Warmup], 1), batched = SecondsEach(encoded, 64);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"bare forward pass: {1 / single:f0} responses/s one at a time ({single * 1000:f1} ms each), "
            + $"{1 / batched:f0} responses/s in batches of 64"));

        double SecondsEach(EncodedConversation[] all, int size) => Measure.Seconds(() =>
        {
            foreach (EncodedConversation[] batch in all.Chunk(size)) extractor.Extract(batch);
        }) / all.Length;
    }

    private static async Task<bool> Ask(HttpClient http, (string Prompt, string Response) text)
    {
        using HttpResponseMessage response = await http.PostAsJsonAsync("/api/v1/score",
            new { model = "sample@champion", prompt = text.Prompt, response = text.Response, explain = false });
        await response.Content.ReadAsByteArrayAsync();
        return response.IsSuccessStatusCode;
    }

    private static async Task Swap(HttpClient http, int seconds)
    {
        for (int i = 0; i < seconds - 1; i++)
        {
            using HttpResponseMessage response =
                await http.PutAsJsonAsync("/api/v1/models/sample/aliases/champion", new { version = 2 - (i % 2) });
            response.EnsureSuccessStatusCode();
            await Task.Delay(1000);
        }
    }

    private static async Task<List<(string, string)>> Read(string path)
    {
        List<(string, string)> texts = [];
        await foreach (SourceRow row in RowReader.Read(path, path))
        {
            Conversation chosen = PairFormats.Pair(row).Chosen;
            texts.Add((chosen.Prompt.Last().Content, chosen.Response.Content));
        }
        return texts;
    }

    private static Process Start(params string[] arguments) =>
        Process.Start(new ProcessStartInfo("dotnet", [Servers.Executable, .. arguments])
        {
            RedirectStandardError = true,
            RedirectStandardOutput = true
        })!;

    private static async Task Program(params string[] arguments)
    {
        using Process process = Start(arguments);
        Task<string> error = process.StandardError.ReadToEndAsync(), output = process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        if (process.ExitCode != 0) throw new InvalidOperationException($"{string.Join(' ', arguments)}: {await error} {await output}");
    }
}

using System.Globalization;
using System.IO.Compression;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Nodes;
using ArmoFlow.RewardModel.Tests;
using Shouldly;
using Xunit;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>Backbones with chat templates of their own, on real data: trained, scored, exported, imported, served.</summary>
public class FamilyRunTests
{
    private const int Rows = 60;
    private const string Assistant =
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n";

    [Theory]
    [InlineData("qwen2", 0, Assistant + "<|im_start|>user\n{0}<|im_end|>\n<|im_start|>assistant\n{1}<|im_end|>\n")]
    [InlineData("gemma2", 1, "<bos><start_of_turn>user\n{0}<end_of_turn>\n<start_of_turn>model\n{1}<end_of_turn>\n")]
    [InlineData("mistral", 0, "<s>[INST] {0}[/INST] {1}</s>")]
    [InlineData("phi3", 0, "<|user|>\n{0}<|end|>\n<|assistant|>\n{1}<|end|>\n<|endoftext|>")] // f(x) depends on the answer's length
    public async Task A_family_runs_from_data_to_served_scores(string family, int refused, string template)
    {
        string backbone = SharedData.Require(Path.Combine("families", family));
        using TemporaryProject project = new(backbone);
        JsonNode run = (await CommandLine.Succeed("run", project.Spec, "--workspace", project.Workspace, "--json")).Json;
        JsonNode features = run["metrics"]!["features"]!;
        (features["refused"]?.GetValue<int>() ?? 0).ShouldBe(refused);
        features["extracted"]!.GetValue<int>().ShouldBeGreaterThan(120);
        // Pairs of one prompt share its pass, unless states depend on the whole's length.
        long tokens = features["tokens"]!.GetValue<long>(), computed = features["tokensComputed"]!.GetValue<long>();
        if (family == "phi3") computed.ShouldBe(tokens);
        else computed.ShouldBeInRange(tokens / 4, tokens - 1);
        string id = run["runId"]!.GetValue<string>(), exported = Path.Combine(project.Folder, "exported");
        string[] score = ["--input", project.Answers, "--json"];
        double[] before = Scores(await CommandLine.Succeed(["score", "--run", id, "--workspace", project.Workspace, .. score]));
        before.Distinct().Count().ShouldBe(3);

        await CommandLine.Succeed("models", "export", "--run", id, "--workspace", project.Workspace, "--out", exported);
        Near(Scores(await CommandLine.Succeed(["score", "--path", exported, .. score])), before);

        await CommandLine.Succeed("models", "promote", $"{family}@1", "--workspace", project.Workspace);
        await using Member server = await Member.Serve(project.Workspace, "http://127.0.0.1:0");
        using HttpClient http = new() { BaseAddress = new Uri(server.Url) };
        string[] query = [.. TemporaryProject.Texts.Select(Rendered)];
        HttpResponseMessage answer = await http.PostAsJsonAsync($"/get_reward?model={family}", new { query },
            TestContext.Current.CancellationToken);
        string body = await answer.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
        answer.IsSuccessStatusCode.ShouldBeTrue(body);
        Near([.. JsonNode.Parse(body)!["rewards"]!.AsArray().Select(r => r!.GetValue<double>())], before);

        string Rendered((string Prompt, string Response) text) =>
            string.Format(CultureInfo.InvariantCulture, template, text.Prompt, text.Response);
    }

    private static double[] Scores(CommandResult result) =>
        [.. result.Json["scores"]!.AsArray().Select(s => s!["score"]!.GetValue<double>())];

    private static void Near(double[] found, double[] expected)
    {
        found.Length.ShouldBe(expected.Length);
        found.Zip(expected).ShouldAllBe(p => Math.Abs(p.First - p.Second) < 1e-5 * Math.Max(1, Math.Abs(p.Second)));
    }

    /// <summary>The first rows of real files, and one rating of a conversation with a system turn.</summary>
    private sealed class TemporaryProject : IDisposable
    {
        public static (string Prompt, string Response)[] Texts { get; } =
            [("Why is the sky blue?", "Air scatters blue light most."), ("Why is the sky blue?", "No idea."), ("Say hi.", "Hi there!")];

        private const string WithSystemTurn = """{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Q"},"""
            + """{"role":"assistant","content":"A"}],"alpaca-judge":0.5,"hh-harmless":null,"prometheus-score":null,"verbosity":0.1}""";

        public string Folder { get; } = Directory.CreateTempSubdirectory("armoflow-family-").FullName;
        public string Spec => Path.Combine(Folder, "spec.yaml");
        public string Workspace => Path.Combine(Folder, ".armoflow");
        public string Answers => Path.Combine(Folder, "answers.jsonl");

        public TemporaryProject(string backbone)
        {
            foreach (string file in new[] { "ratings/alpaca-judge", "ratings/hh-harmless", "pairs/alpaca-eval", "bench/llmbar" }) Cut(file);
            File.AppendAllText(Path.Combine(Folder, "alpaca-judge.jsonl"), WithSystemTurn + "\n");
            File.WriteAllLines(Answers, Texts.Select(t => JsonSerializer.Serialize(new { prompt = t.Prompt, response = t.Response })));
            File.WriteAllText(Spec, $$"""
                name: {{Path.GetFileName(backbone)}}
                objectives: [alpaca-judge, hh-harmless, verbosity]
                backbone: { path: {{backbone}} }
                ratings:
                  - { name: judge, files: [alpaca-judge.jsonl], ignore: [prometheus-score] }
                  - { name: harmless, files: [hh-harmless.jsonl], ignore: [prometheus-score] }
                preferences:
                  - { name: alpaca-eval, files: [alpaca-eval.jsonl] }
                benchmark: { files: [llmbar.jsonl] }
                regression: { alphas: [1, 100] }
                decorrelation: { verbosity: verbosity }
                gating: { steps: 50, batchSize: 64, hidden: [32] }
                """);
        }

        private void Cut(string file)
        {
            using FileStream packed = File.OpenRead(SharedData.Require($"real-mini/{file}.jsonl.gz"));
            using StreamReader lines = new(new GZipStream(packed, CompressionMode.Decompress));
            using StreamWriter target = new(Path.Combine(Folder, $"{Path.GetFileName(file)}.jsonl"));
            for (int i = 0; i < Rows && lines.ReadLine() is { } line; i++) target.WriteLine(line);
        }

        public void Dispose() => Directory.Delete(Folder, recursive: true);
    }
}

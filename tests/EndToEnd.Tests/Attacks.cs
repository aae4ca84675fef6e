using System.Diagnostics;
using System.IO.Compression;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json.Nodes;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>A spec that names something poisonous.</summary>
/// <param name="Name">What is wrong with it.</param>
/// <param name="Spec">Its text.</param>
/// <param name="Error">What the error says of it.</param>
internal sealed record Poison(string Name, string Spec, string Error);

/// <summary>A request that costs its sender little, and a careless server everything.</summary>
/// <param name="Name">What is wrong with it.</param>
/// <param name="Send">Sends it.</param>
/// <param name="Says">What the answer says of it.</param>
internal sealed record Attack(string Name, Func<HttpClient, Task<HttpResponseMessage>> Send, string Says);

/// <summary>What has stopped servers before: requests, and runs on files that never end, loop or burst.</summary>
internal static class Attacks
{
    private const int Nested = 100_000, Aliases = 400, LongKey = 120_000, LongWord = 400_000, Turns = 40_000, LongCell = 3_000_000;
    private const int LongSpec = 25_000_000, References = 300;

    public static IReadOnlyList<Attack> Requests(string model) =>
    [
        new("100,000 nested lists in a spec", http => Submit(http, "name: " + new string('[', Nested)), "nest"),
        new("100,000 nested lists in JSON", http => Submit(http, new string('[', Nested), "application/json"), "nest"),
        new("a key that is a list within itself", http => Submit(http, "? &a [*a]\n: 1"), "as a key"),
        new("a list used by 400 aliases", http => Submit(http, Aliased()), "200,000 values"),
        new("a spec of 25 MB", http => Submit(http, "name: a\n# " + new string('x', LongSpec)), "at most 1,048,576"),
        new("a key of 120,000 letters", http => Submit(http, LongKeyed(), "application/json"), "unknown key"),
        new("a word of 400,000 letters", http => Score(http, model, new string('a', LongWord)), "tokens"),
        new("2,000 turns", http => http.PostAsJsonAsync($"get_reward?model={model}", new { query = new[] { Rendered(2_000) } }), "turns"),
        new("40,000 turns", http => http.PostAsJsonAsync($"get_reward?model={model}", new { query = new[] { Rendered(Turns) } }),
            "characters"),
        .. Enumerable.Range(1000, References)
            .Select(i => new Attack($"version {i}", http => Score(http, $"{model}@{i}", "a"), "no version")),
    ];

    /// <summary>Runs on files that must cost their own run only.</summary>
    public static async Task<IReadOnlyList<Poison>> Runs(SmallProject project)
    {
        string text = File.ReadAllText(project.Spec);
        List<Poison> poisons = [];
        await MakePipe(project.Data("pipe.jsonl"));
        poisons.Add(new("a named pipe as data", WithRatings("pipe.jsonl"), "named pipe"));
        WriteForgedFooter(project.Data("forged.parquet"));
        poisons.Add(new("a Parquet footer of 112 bytes with forged counts", WithRatings("forged.parquet"), "forged.parquet"));
        WriteBomb(project.Data("bomb.jsonl.gz"));
        poisons.Add(new("a gzip bomb", WithRatings("bomb.jsonl.gz"), "times its size"));
        WriteLongCell(project.Data("ratings.jsonl"), project.Data("cell.jsonl"));
        poisons.Add(new("3 MB in one cell", WithRatings("cell.jsonl"), "helpfulness"));
        string piped = CopyBackbone(project, "piped");
        File.Delete(Path.Combine(piped, "config.json"));
        await MakePipe(Path.Combine(piped, "config.json"));
        poisons.Add(new("a named pipe in a backbone", WithBackbone("piped"), "named pipe"));
        SetSplitPattern(CopyBackbone(project, "exponential"), "(o+)+!|\\s+|\\S+");
        WriteWord(project.Data("ratings.jsonl"), project.Data("o.jsonl"), new string('o', 5000));
        poisons.Add(new("a split pattern without end", WithBackbone("exponential", WithRatings("o.jsonl")), "tokenizer.json"));
        return poisons;

        string WithRatings(string file) => text.Replace("data/ratings.jsonl", $"data/{file}", StringComparison.Ordinal);
        string WithBackbone(string folder, string? spec = null) =>
            (spec ?? text).Replace("path: backbone/", $"path: {folder}/", StringComparison.Ordinal);
    }

    /// <summary>A spec one of whose rows is a word of 400,000 letters: the row is left out, and the run ends well.</summary>
    public static string LongWordRun(SmallProject project)
    {
        WriteWord(project.Data("ratings.jsonl"), project.Data("word.jsonl"), new string('a', LongWord));
        return File.ReadAllText(project.Spec)
            .Replace("data/ratings.jsonl", "data/word.jsonl", StringComparison.Ordinal)
            .Replace("format: armorm-ratings", "format: armorm-ratings, maxDroppedShare: 0.5", StringComparison.Ordinal);
    }

    public static Task MakePipe(string path) => Succeeds("mkfifo", path);

    private static async Task Succeeds(string program, string argument)
    {
        using Process process = Process.Start(program, [argument]);
        await process.WaitForExitAsync();
        if (process.ExitCode != 0) throw new InvalidOperationException($"{program} {argument}: {process.ExitCode}");
    }

    public static Task<HttpResponseMessage> Submit(HttpClient http, string spec, string type = "application/yaml", string? folder = null)
    {
        HttpRequestMessage request = new(HttpMethod.Post, "api/v1/runs") { Content = new StringContent(spec, Encoding.UTF8, type) };
        if (folder is not null) request.Headers.Add("X-Spec-Folder", folder);
        return http.SendAsync(request);
    }

    public static Task<HttpResponseMessage> Score(HttpClient http, string model, string prompt) =>
        http.PostAsJsonAsync("api/v1/score", new { model, prompt, response = "clear useful answer", explain = false });

    private static string Aliased()
    {
        string words = string.Join(", ", Enumerable.Repeat("word", 2000));
        return $"name: a\nobjectives: [o]\nfirst: &list [{words}]\nlists: [{string.Join(", ", Enumerable.Repeat("*list", Aliases))}]\n";
    }

    private static string LongKeyed() => $$"""{"{{new string('o', LongKey)}}": 1}""";

    private static string Rendered(int turns)
    {
        StringBuilder text = new("<|begin_of_text|>");
        for (int i = 0; i < turns; i++)
        {
            string role = i % 2 == 0 ? "user" : "assistant";
            text.Append("<|start_header_id|>").Append(role).Append("<|end_header_id|>\n\na<|eot_id|>");
        }
        return text.ToString();
    }

    private static void WriteForgedFooter(string path)
    {
        // A schema of one column with two thousand million children.
        byte[] children = [0x80, 0xd0, 0xac, 0xf3, 0x0e];
        byte[] footer = [0x15, 0x02, 0x19, 0x1c, 0x48, 0x01, (byte)'s', 0x15, .. children, 0x00, 0x16, 0x00, 0x19, 0x0c, 0x00];
        File.WriteAllBytes(path, [.. "PAR1"u8, .. footer, .. new byte[100 - footer.Length], .. BitConverter.GetBytes(100), .. "PAR1"u8]);
    }

    private static void WriteBomb(string path)
    {
        byte[] spaces = Encoding.ASCII.GetBytes(new string(' ', 1 << 20));
        using GZipStream zip = new(File.Create(path), CompressionLevel.SmallestSize);
        for (int i = 0; i < 300; i++) zip.Write(spaces);
    }

    private static void WriteLongCell(string from, string to)
    {
        string[] lines = File.ReadAllLines(from);
        JsonNode row = JsonNode.Parse(lines[^1])!;
        row["helpfulness"] = new string('9', LongCell) + "x";
        File.WriteAllLines(to, [.. lines[..^1], row.ToJsonString()]);
    }

    private static void WriteWord(string from, string to, string word)
    {
        string[] lines = File.ReadAllLines(from);
        JsonNode row = JsonNode.Parse(lines[^1])!;
        row["messages"]![0]!["content"] = word;
        File.WriteAllLines(to, [.. lines[..^1], row.ToJsonString()]);
    }

    private static string CopyBackbone(SmallProject project, string name)
    {
        string folder = Directory.CreateDirectory(Path.Combine(project.Folder, name)).FullName;
        foreach (string file in Directory.GetFiles(Path.Combine(project.Folder, "backbone")))
        {
            File.Copy(file, Path.Combine(folder, Path.GetFileName(file)));
        }
        return folder;
    }

    private static void SetSplitPattern(string backbone, string pattern)
    {
        string path = Path.Combine(backbone, "tokenizer.json");
        JsonNode tokenizer = JsonNode.Parse(File.ReadAllText(path))!;
        JsonNode split = tokenizer["pre_tokenizer"]!["pretokenizers"]!.AsArray().Single(p => p!["type"]!.GetValue<string>() == "Split")!;
        split["pattern"]!["Regex"] = pattern;
        File.WriteAllText(path, tokenizer.ToJsonString());
    }
}

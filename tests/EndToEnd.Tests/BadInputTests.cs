using System.IO.Compression;
using Shouldly;
using Xunit;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>
/// Each of these ends with exit code 2 and an error that names place, found, expected and remedy, and leaves nothing half-written.
/// </summary>
public class BadInputTests
{
    private const string Rated =
        """{"messages":[{"role":"user","content":"Q"},"""
            + """{"role":"assistant","content":"A"}],"helpfulness":0.5,"safety":0.5,"clarity":0.5,"verbosity":0.5}""";

    [Theory]
    [InlineData("""{"messages": [{"role": "us""", "breaks off")]
    [InlineData("""{"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}],"safety":1.5}""", "column 'safety'",
        "a rating from 0 to 1")]
    [InlineData("""{"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}],"safety":"high"}""", "column 'safety'",
        "the text 'high'", "a number")]
    [InlineData("""{"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}],"safety":NaN}""", "NaN",
        "a finite number, or null")]
    [InlineData("""{"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}],"saftey":0.5}""",
        "objective 'saftey' is not in this spec", "Did you mean 'safety'?")]
    [InlineData("""{"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":""}],"safety":0.5}""", "an empty response")]
    [InlineData("""{"messages":[{"role":"user","content":"Q"}],"safety":0.5}""", "ends with a user turn")]
    public async Task A_rated_row_with_a_defect(string row, params string[] expected)
    {
        using SmallProject project = new(ratings: 50, pairs: 20);
        project.Append("ratings.jsonl", row);
        await project.Refused(["data/ratings.jsonl line 51", .. expected]);
        NothingHalfWritten(project);
    }

    [Fact]
    public async Task Identical_chosen_and_rejected()
    {
        using SmallProject project = new(ratings: 50, pairs: 20);
        project.Append("pairs.jsonl", """{"prompt":"Q","chosen":"same","rejected":"same"}""");
        await project.Refused("data/pairs.jsonl line 21", "identical chosen and rejected", "maxDroppedShare");
    }

    [Fact]
    public async Task A_truncated_gzip()
    {
        using SmallProject project = new(ratings: 400, pairs: 20);
        using (GZipStream zip = new(File.Create(project.Data("ratings.jsonl.gz")), CompressionLevel.Optimal))
            zip.Write(File.ReadAllBytes(project.Data("ratings.jsonl")));
        byte[] whole = File.ReadAllBytes(project.Data("ratings.jsonl.gz"));
        File.WriteAllBytes(project.Data("ratings.jsonl.gz"), whole[..(whole.Length / 2)]);
        project.Edit("data/ratings.jsonl", "data/ratings.jsonl.gz");
        await project.Refused("data/ratings.jsonl.gz", "breaks off", "a whole gzip file");
        NothingHalfWritten(project);
    }

    [Theory]
    [InlineData("preferences:", "preferances:", "line", "unknown key 'preferances'", "Did you mean 'preferences'?")]
    [InlineData("data/ratings.jsonl", "data/rating.jsonl", "data/rating.jsonl", "no such file")]
    [InlineData("data/ratings.jsonl", "data/*.parquet", "data/*.parquet", "matches no file")]
    [InlineData("objectives: [helpfulness, safety, clarity, verbosity]", "objectives: [helpfulness, safety, clarity, verbosity, wit]",
        "objective 'wit'", "no row of any source rates it")]
    [InlineData("format: pairs", "format: peers", "format 'peers'", "Did you mean 'pairs'?")]
    [InlineData("path: backbone/", "path: elsewhere/", "config.json", "no such file")]
    public async Task A_spec_that_asks_for_what_is_not_there(string from, string to, params string[] expected)
    {
        using SmallProject project = new(ratings: 50, pairs: 20);
        project.Edit(from, to);
        await project.Refused(expected);
    }

    [Theory]
    [InlineData("\"intermediate_size\": 192", "\"intermediate_size\": 200", ".mlp.", "[192, 96]", "[200, 96]")]
    [InlineData("\"model_type\": \"llama\"", "\"model_type\": \"mamba\"", "model_type 'mamba'", "'llama'")]
    public async Task A_backbone_whose_configuration_is_wrong(string from, string to, params string[] expected)
    {
        using SmallProject project = new(ratings: 50, pairs: 20);
        string config = Path.Combine(project.Folder, "backbone", "config.json"),
            text = await File.ReadAllTextAsync(config, TestContext.Current.CancellationToken);
        text.ShouldContain(from);
        await File.WriteAllTextAsync(config, text.Replace(from, to, StringComparison.Ordinal), TestContext.Current.CancellationToken);
        await project.Refused(expected);
    }

    [Fact]
    public async Task A_backbone_with_a_truncated_header_and_one_with_a_missing_shard()
    {
        using SmallProject project = new(ratings: 50, pairs: 20);
        string shard = Path.Combine(project.Folder, "backbone", "model.safetensors");
        byte[] whole = File.ReadAllBytes(shard);
        File.WriteAllBytes(shard, whole[..100]);
        await project.Refused("model.safetensors", "not a whole safetensors file");
        File.Delete(shard);
        await File.WriteAllTextAsync(Path.Combine(project.Folder, "backbone", "model.safetensors.index.json"),
            """{"weight_map":{"model.norm.weight":"model-00001-of-00001.safetensors"}}""", TestContext.Current.CancellationToken);
        await project.Refused("model-00001-of-00001.safetensors", "the shard is missing");
    }

    [Fact]
    public async Task A_full_disk()
    {
        string mount = Directory.CreateTempSubdirectory("armoflow-full-").FullName;
        Assert.SkipUnless(await SmallDisk.Succeeds("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", mount),
            "needs the right to mount a small tmpfs");
        try
        {
            using SmallProject project = new();
            // In a process of its own: it lets go of the disk.
            await CommandLine.RefusedApart(["run", project.Spec, "--workspace", Path.Combine(mount, "workspace")], "no space left",
                "Free some space");
            Directory.EnumerateFiles(mount, "*", SearchOption.AllDirectories)
                .ShouldAllBe(f => !f.EndsWith(".partial", StringComparison.Ordinal));
            (await SmallDisk.Succeeds("mount", "-o", "remount,size=64m", mount)).ShouldBeTrue();
            CommandResult freed = await CommandLine.RunApart("run", project.Spec, "--workspace", Path.Combine(mount, "workspace"));
            freed.ExitCode.ShouldBe(0, freed.Error);
        }
        finally
        {
            await SmallDisk.Succeeds("umount", mount);
            Directory.Delete(mount);
        }
    }

    [Theory]
    [InlineData("--alphas")]
    [InlineData("unknown-command")]
    public async Task A_command_line_that_is_none(string argument) =>
        await CommandLine.Refused(["run", "spec.yaml", argument], argument, "--help");

    [Fact]
    public async Task Score_and_step_refuse_bad_usage_too()
    {
        await CommandLine.Refused(["score", "--prompt", "a", "--response", "b"], "--run", "--path");
        await CommandLine.Refused([
            "score", "--run", Guid.NewGuid().ToString(), "--prompt", "a", "--response", "b", "--workspace", "/nowhere"
        ], "no workspace");
        await CommandLine.Refused(["step", "regression", "--features", "/nowhere.safetensors", "--out", "/tmp/w"], "/nowhere.safetensors",
            "no such file");
        await CommandLine.Refused(["runs", "show", "seven"], "'seven'");
    }

    private static void NothingHalfWritten(SmallProject project)
    {
        string artifacts = Path.Combine(project.Workspace, "artifacts");
        if (!Directory.Exists(artifacts)) return;
        Directory.EnumerateFiles(artifacts, "*", SearchOption.AllDirectories)
            .ShouldAllBe(f => File.ReadAllText(f).Contains("ingestion of run", StringComparison.Ordinal),
                "a failed ingestion leaves its log, and no artifact of the step");
    }
}

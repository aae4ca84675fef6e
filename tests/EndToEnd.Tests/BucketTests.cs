using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Text.Json.Nodes;
using ArmoFlow.Cli;
using ArmoFlow.Contracts;
using ArmoFlow.Persistence.Artifacts;
using Shouldly;
using Xunit;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>A server that speaks S3 (s3rver, from npm), with one bucket.</summary>
public sealed class BucketServer : IAsyncLifetime
{
    private const string Key = "S3RVER";
    private readonly string _folder = Directory.CreateTempSubdirectory("armoflow-s3-").FullName;
    private Process? _process;

    private static string Root([CallerFilePath] string path = "") => Path.GetFullPath(Path.Combine(Path.GetDirectoryName(path)!, "../.."));
    private static string Program =>
        Environment.GetEnvironmentVariable("ARMOFLOW_S3RVER") is { Length: > 0 } given
            ? given
            : Path.Combine(Root(), "artifacts", "s3rver", "node_modules", ".bin", "s3rver");

    public string Objects => Path.Combine(_folder, "armoflow");
    public static bool Installed => File.Exists(Program);

    public async ValueTask InitializeAsync()
    {
        if (!Installed) return;
        int port = FreePorts.Next();
        _process = Process.Start(new ProcessStartInfo(Program,
            ["-d", _folder, "-p", $"{port}", "-a", "127.0.0.1", "--configure-bucket", "armoflow", "--silent"])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true
        })!;
        Environment.SetEnvironmentVariable("AWS_ENDPOINT_URL", $"http://127.0.0.1:{port}");
        Environment.SetEnvironmentVariable("AWS_ACCESS_KEY_ID", Key);
        Environment.SetEnvironmentVariable("AWS_SECRET_ACCESS_KEY", Key);
        using HttpClient http = new();
        for (int i = 0; ; i++)
        {
            try { await http.GetAsync(new Uri($"http://127.0.0.1:{port}/")); return; }
            catch (HttpRequestException) when (i < 100) { await Task.Delay(100); }
        }
    }

    public ValueTask DisposeAsync()
    {
        foreach (string name in new[] { "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY" })
            Environment.SetEnvironmentVariable(name, null);
        if (_process is not null)
        {
            _process.Kill(entireProcessTree: true);
            _process.Dispose();
        }
        Directory.Delete(_folder, recursive: true);
        return ValueTask.CompletedTask;
    }
}

/// <summary>Artifacts in a bucket: the same bytes, checked; what is altered or gone is found, named and made anew.</summary>
public class BucketTests(BucketServer server, FaultBench bench) : IClassFixture<BucketServer>
{
    private const string Address = "s3://armoflow/store";

    [Fact]
    public async Task What_is_put_is_got_in_parts_too_and_an_altered_object_is_refused()
    {
        RequireServer();
        string cache = Directory.CreateTempSubdirectory("armoflow-cache-").FullName;
        using S3Bucket bucket = new(Address);
        (await bucket.Check(default)).ShouldBeNull();
        ArtifactStore store = new(Path.Combine(cache, "one"), bucket), other = new(Path.Combine(cache, "two"), bucket);
        byte[] large = new byte[20 << 20];
        new Random(17).NextBytes(large);
        ArtifactRef artifact = await store.Put(path => File.WriteAllBytesAsync(path, large), default);
        (await File.ReadAllBytesAsync(await other.Open(artifact.Sha256, default), TestContext.Current.CancellationToken)).ShouldBe(large);
        store.LocationOf(artifact.Sha256).ShouldBe($"{Address}/artifacts/{artifact.Sha256[..2]}/{artifact.Sha256}");

        ArtifactRef small = await store.PutText("hello");
        await File.WriteAllTextAsync(Path.Combine(cache, "altered"), "hullo", TestContext.Current.CancellationToken);
        await bucket.Put($"artifacts/{small.Sha256[..2]}/{small.Sha256}", Path.Combine(cache, "altered"), default);
        (await Should.ThrowAsync<ArtifactLostException>(
            () => other.Open(small.Sha256, default))).Message.ShouldContain("bytes have changed");
        (await other.IsSound(small.Sha256, small.Bytes)).ShouldBeFalse("what was altered does not count as there");
        await store.PutText("hello");
        (await File.ReadAllTextAsync(await other.Open(small.Sha256, default), TestContext.Current.CancellationToken)).ShouldBe("hello",
            "a new put replaces what was altered");
        Directory.Delete(cache, recursive: true);
    }

    [Fact]
    public async Task Scratch_files_are_recalled_by_another_worker_and_forgotten()
    {
        RequireServer();
        string folder = Directory.CreateTempSubdirectory("armoflow-scratch-").FullName;
        using S3Bucket bucket = new(Address);
        StepKey key = new(new string('a', 64));
        ScratchSpace first = new(Path.Combine(folder, "one"), null, bucket), second = new(Path.Combine(folder, "two"), null, bucket);
        (await second.Recall(key, "checkpoint", default)).ShouldBeNull();
        foreach (string content in new[] { "step 10", "step 20" })
        {
            await File.WriteAllTextAsync(Path.Combine(first.FolderOf(key), "checkpoint"), content, TestContext.Current.CancellationToken);
            await first.Keep(key, "checkpoint", default);
            (await File.ReadAllTextAsync((await second.Recall(key, "checkpoint", default))!, TestContext.Current.CancellationToken))
                .ShouldBe(content);
        }
        await second.Forget(key, default);
        (await first.Recall(key, "checkpoint", default)).ShouldBeNull();
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task A_run_on_a_bucket_gives_the_embedded_bytes_and_makes_lost_artifacts_anew()
    {
        RequireServer();
        await bench.Require();
        await using Cluster cluster = await Cluster.Make(bench.Servers, "bucket", Address);
        await Task.WhenAll(cluster.Orchestrator(apart: true), cluster.WorkerApart(), cluster.WorkerApart());
        JsonNode first = await cluster.Finished(await cluster.Submit(bench.Spec), TimeSpan.FromMinutes(5));
        first["status"]!.GetValue<string>().ShouldBe("Completed", first["error"]?.GetValue<string>());
        RunTests.Artifacts(first).ShouldBe(bench.Embedded);
        first["artifacts"]!["report"]!["path"]!.GetValue<string>().ShouldStartWith(Address);

        // Gone from the bucket and from every cache: regression, and with it what only the bucket had. New workers have no cache.
        string lost = RunTests.Artifacts(first)["regression"];
        foreach (string file in Directory.EnumerateFiles(server.Objects, "*", SearchOption.AllDirectories)
            .Where(f => f.Contains(lost, StringComparison.Ordinal)))
            File.Delete(file);
        JsonNode again = await cluster.Finished(await cluster.Submit(bench.Spec), TimeSpan.FromMinutes(5));
        RunTests.Artifacts(again).ShouldBe(bench.Embedded);
        again["steps"]!.AsArray().Single(s => s!["name"]!.GetValue<string>() == "regression")!["reused"]!.GetValue<bool>()
            .ShouldBeFalse("its artifact was gone");
        again["steps"]!.AsArray().Single(s => s!["name"]!.GetValue<string>() == "gating")!["reused"]!.GetValue<bool>().ShouldBeTrue();
    }

    [Fact]
    public async Task Wrong_credentials_and_a_missing_bucket_are_refused_with_a_remedy()
    {
        RequireServer();
        Environment.SetEnvironmentVariable("AWS_ACCESS_KEY_ID", "NOBODY");
        try
        {
            await CommandLine.Refused(["orchestrator", "--artifacts", Address, "--rabbitmq", "amqp://x", "--postgres", "Host=x"], Address,
                "AWS_ACCESS_KEY_ID");
        }
        finally { Environment.SetEnvironmentVariable("AWS_ACCESS_KEY_ID", "S3RVER"); }
        await CommandLine.Refused(["worker", "--artifacts", "s3://nowhere/store", "--rabbitmq", "amqp://x", "--postgres", "Host=x"],
            "s3://nowhere/store", "bucket exists");
    }

    private static void RequireServer() => Assert.SkipUnless(BucketServer.Installed, "needs s3rver (test.sh installs it with npm)");
}

using System.Collections.Concurrent;
using System.Text;
using ArmoFlow.Contracts;
using ArmoFlow.Persistence.Artifacts;
using Shouldly;
using Xunit;

namespace ArmoFlow.Persistence.Tests;

/// <summary>
/// Any one copy of an artifact may be damaged: nothing good is deleted, and the right bytes come back or the loss is named.
/// </summary>
public sealed class ArtifactStoreTests : IDisposable
{
    private const string Text = "ratings of a whole year";
    private readonly string _folder = Directory.CreateTempSubdirectory("armoflow-store-").FullName;
    private readonly MemoryBucket _bucket = new();

    /// <summary>Objects in memory; the wire can flip a byte of what is fetched.</summary>
    private sealed class MemoryBucket : IBucket
    {
        public ConcurrentDictionary<string, byte[]> Objects { get; } = new();
        public int FetchesToDamage { get; set; }
        public int Puts { get; private set; }
        public int Deletes { get; private set; }
        public string Address => "s3://memory/store";

        public Task<bool> Has(string name, CancellationToken cancel) => Task.FromResult(Objects.ContainsKey(name));

        public Task<long?> SizeOf(string name, CancellationToken cancel) =>
            Task.FromResult(Objects.TryGetValue(name, out byte[]? found) ? found.Length : (long?)null);

        public async Task Put(string name, string path, CancellationToken cancel)
        {
            Objects[name] = await File.ReadAllBytesAsync(path, cancel);
            Puts++;
        }

        public async Task<bool> Get(string name, string path, CancellationToken cancel)
        {
            if (!Objects.TryGetValue(name, out byte[]? found)) return false;
            byte[] sent = [.. found];
            if (FetchesToDamage-- > 0) sent[0] ^= 1;
            await File.WriteAllBytesAsync(path, sent, cancel);
            return true;
        }

        public Task Delete(string name, CancellationToken cancel)
        {
            Objects.TryRemove(name, out _);
            Deletes++;
            return Task.CompletedTask;
        }

        public Task<IReadOnlyList<string>> List(string prefix, CancellationToken cancel) =>
            Task.FromResult<IReadOnlyList<string>>([.. Objects.Keys.Where(n => n.StartsWith(prefix, StringComparison.Ordinal))]);

        public void Damage() => Objects.Single().Value[0] ^= 1;
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task A_damaged_cache_is_fetched_again_and_the_object_stays()
    {
        ArtifactRef artifact = await Store("writer").PutText(Text);
        ArtifactStore reader = Store("reader");
        DamageFile(await reader.Open(artifact.Sha256, default));
        (await Read(Store("reader"), artifact)).ShouldBe(Text);
        (_bucket.Deletes, _bucket.Objects.Count).ShouldBe((0, 1));
        Kept("reader").ShouldHaveSingleItem();
    }

    [Fact]
    public async Task A_byte_flipped_on_the_wire_once_is_fetched_again_without_a_word()
    {
        ArtifactRef artifact = await Store("writer").PutText(Text);
        _bucket.FetchesToDamage = 1;
        (await Read(Store("reader"), artifact)).ShouldBe(Text);
        (_bucket.Deletes, Kept("reader").Length).ShouldBe((0, 1));
    }

    [Fact]
    public async Task A_damaged_object_is_named_and_kept_and_a_new_put_replaces_it()
    {
        ArtifactStore writer = Store("writer"), reader = Store("reader");
        ArtifactRef artifact = await writer.PutText(Text);
        _bucket.Damage();
        ArtifactLostException lost = await Should.ThrowAsync<ArtifactLostException>(() => reader.Open(artifact.Sha256, default));
        lost.Message.ShouldContain(Kept("reader")[^1][..64]);
        lost.Message.ShouldContain("s3://memory/store/artifacts/");
        (_bucket.Deletes, _bucket.Objects.Count, Kept("reader").Length).ShouldBe((0, 1, 2));
        (await reader.IsSound(artifact.Sha256, artifact.Bytes)).ShouldBeFalse();
        (await Read(writer, artifact)).ShouldBe(Text, "who has a good copy reads on");

        (await writer.PutText(Text)).ShouldBe(artifact);
        (await Read(Store("third"), artifact)).ShouldBe(Text);
        (await Read(reader, artifact)).ShouldBe(Text);
        (await reader.IsSound(artifact.Sha256, artifact.Bytes)).ShouldBeTrue();
    }

    [Fact]
    public async Task A_sound_object_is_not_sent_twice()
    {
        await Store("writer").PutText(Text);
        await Store("other").PutText(Text);
        _bucket.Puts.ShouldBe(1);
    }

    [Fact]
    public async Task An_object_cut_short_is_replaced_by_the_next_put()
    {
        ArtifactRef artifact = await Store("writer").PutText(Text);
        foreach ((string name, byte[] bytes) in _bucket.Objects) _bucket.Objects[name] = bytes[..5];
        (await Store("other").IsSound(artifact.Sha256, artifact.Bytes)).ShouldBeFalse();
        await Store("other").PutText(Text);
        (await Read(Store("reader"), artifact)).ShouldBe(Text);
    }

    [Fact]
    public async Task Without_a_bucket_a_damaged_file_is_kept_its_loss_named_and_a_new_put_replaces_it()
    {
        ArtifactRef artifact = await Alone().PutText(Text);
        for (int damage = 1; damage <= 2; damage++)
        {
            DamageFile(await Alone().Open(artifact.Sha256, default));
            ArtifactStore store = Alone();
            if (damage == 1)
            {
                (await Should.ThrowAsync<ArtifactLostException>(
                    () => store.Open(artifact.Sha256, default))).Message.ShouldContain(store.Quarantine);
            }
            else (await store.IsSound(artifact.Sha256)).ShouldBeFalse();
            Kept("alone").Length.ShouldBe(damage, "an earlier one is not written over");
            (await Should.ThrowAsync<ArtifactLostException>(() => store.Open(artifact.Sha256, default))).Message.ShouldContain("missing");
            await store.PutText(Text);
            (await Read(store, artifact)).ShouldBe(Text);
        }
    }

    [Fact]
    public async Task A_put_over_a_damaged_file_replaces_it()
    {
        ArtifactRef artifact = await Alone().PutText(Text);
        DamageFile(await Alone().Open(artifact.Sha256, default));
        (await Alone().PutText(Text)).ShouldBe(artifact);
        (await Read(Alone(), artifact)).ShouldBe(Text);
        Kept("alone").ShouldHaveSingleItem();
    }

    [Fact]
    public async Task Many_openers_of_a_damaged_copy_all_get_the_right_bytes()
    {
        ArtifactRef artifact = await Store("writer").PutText(Text);
        DamageFile(await Store("reader").Open(artifact.Sha256, default));
        ArtifactStore one = Store("reader"), other = Store("reader"); // as two processes with one cache
        string[] read = await Task.WhenAll(Enumerable.Range(0, 40).Select(i => Read(i % 2 == 0 ? one : other, artifact)));
        read.ShouldAllBe(text => text == Text);
    }

    [Fact]
    public async Task A_full_cache_drops_what_was_opened_long_ago_and_nothing_that_was_opened_just_now()
    {
        ArtifactStore store = Store("small", cacheBytes: 10);
        ArtifactRef old = await store.PutText("an old one"), opened = await store.PutText("just opened");
        foreach (ArtifactRef artifact in new[] { old, opened })
            File.SetLastAccessTimeUtc(PathIn("small", artifact), DateTime.UtcNow.AddHours(-1));
        await store.Open(opened.Sha256, default);
        await store.PutText("a third one");
        (File.Exists(PathIn("small", old)), File.Exists(PathIn("small", opened))).ShouldBe((false, true));
        (await Read(store, old)).ShouldBe("an old one");
    }

    [Fact]
    public async Task What_another_living_process_writes_survives_the_removal_of_leftovers()
    {
        ArtifactStore store = Alone();
        string dead = "", foreign = "", ancient = "";
        ArtifactRef artifact = await store.Put(async path =>
        {
            string machine = Path.GetFileName(path).Split('~')[0];
            dead = Path.Combine(Path.GetDirectoryName(path)!, $"{machine}~{int.MaxValue}~a");
            foreign = Path.Combine(Path.GetDirectoryName(path)!, "elsewhere~1~b");
            ancient = Path.Combine(Path.GetDirectoryName(path)!, "elsewhere~2~c");
            foreach (string left in new[] { dead, foreign, ancient }) await File.WriteAllTextAsync(left, "half");
            File.SetLastWriteTimeUtc(ancient, DateTime.UtcNow.AddDays(-2));
            await File.WriteAllTextAsync(path, Text);
            Alone().RemoveLeftovers();
        }, default);
        (await Read(store, artifact)).ShouldBe(Text);
        (File.Exists(dead), File.Exists(foreign), File.Exists(ancient)).ShouldBe((false, true, false));
    }

    private ArtifactStore Store(string name, long cacheBytes = long.MaxValue) => new(Path.Combine(_folder, name), _bucket, cacheBytes);

    private ArtifactStore Alone() => new(Path.Combine(_folder, "alone"));

    private string PathIn(string store, ArtifactRef artifact) => Path.Combine(_folder, store, artifact.Sha256[..2], artifact.Sha256);

    private string[] Kept(string store)
    {
        string folder = new ArtifactStore(Path.Combine(_folder, store)).Quarantine;
        return Directory.Exists(folder) ? [.. Directory.EnumerateFiles(folder).Select(f => Path.GetFileName(f)!)] : [];
    }

    private static async Task<string> Read(ArtifactStore store, ArtifactRef artifact) =>
        await File.ReadAllTextAsync(await store.Open(artifact.Sha256, default), Encoding.UTF8);

    private static void DamageFile(string path)
    {
        byte[] bytes = File.ReadAllBytes(path);
        bytes[^1] ^= 1;
        File.WriteAllBytes(path, bytes);
    }
}

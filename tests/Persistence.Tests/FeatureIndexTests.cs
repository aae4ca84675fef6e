using System.Security.Cryptography;
using System.Text;
using ArmoFlow.Contracts;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Features;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Shouldly;
using Xunit;

namespace ArmoFlow.Persistence.Tests;

/// <summary>What was extracted once is found by its content, as long as its shard can be read.</summary>
public sealed class FeatureIndexTests : IAsyncLifetime
{
    private const string Space = "space";
    private readonly string _folder = Directory.CreateTempSubdirectory("armoflow-index-").FullName;
    private ServiceProvider _services = null!;

    private FeatureIndex Index => _services.GetRequiredService<FeatureIndex>();
    private ArtifactStore Artifacts => _services.GetRequiredService<ArtifactStore>();

    public async ValueTask InitializeAsync()
    {
        Workspace workspace = new(_folder);
        workspace.TryLock().ShouldBeTrue();
        _services = new ServiceCollection().AddLogging().AddEmbeddedPersistence(workspace).BuildServiceProvider();
        await using ArmoFlowDbContext db = await Context();
        await db.Database.MigrateAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await _services.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    private Task<ArmoFlowDbContext> Context() =>
        _services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>().CreateDbContextAsync();

    private static string Id(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));

    private static FeatureKey Key(string text) => FeatureKey.Of(Id(text));

    private async Task Enter(params FeatureShard[] shards)
    {
        await using ArmoFlowDbContext db = await Context();
        foreach (FeatureShard shard in shards) await FeatureIndex.Enter(db, shard, default);
    }

    private async Task<FeaturePlace?> Find(FeatureKind kind, FeatureKey key, string space = Space) =>
        await (await Index.Load(space, default)).Find(kind, key, default);

    [Fact]
    public async Task What_is_entered_twice_is_there_once_and_a_lost_shard_does_not_count()
    {
        ArtifactRef artifact = await Artifacts.PutText("shard");
        FeatureKey[] responses = [.. Enumerable.Range(0, 1200).Select(i => Key($"c{i}"))];
        FeatureShard shard = FeatureShard.Of(Space, artifact.Sha256, responses, [Key("p")]);
        await Enter(shard, shard);
        FeaturePlaces places = await Index.Load(Space, default);
        places.Count.ShouldBe(1201);
        for (int row = 0; row < responses.Length; row++)
        {
            (await places.Find(FeatureKind.Response, responses[row], default)).ShouldBe(new FeaturePlace(artifact.Sha256, row));
            (await places.Has(FeatureKind.Prompt, responses[row], default)).ShouldBeFalse();
        }
        (await Find(FeatureKind.Prompt, Key("p"))).ShouldBe(new FeaturePlace(artifact.Sha256, 0));
        (await Find(FeatureKind.Response, Key("unknown"))).ShouldBeNull();
        (await Find(FeatureKind.Response, responses[1], "other")).ShouldBeNull();
        await File.WriteAllTextAsync(Artifacts.LocationOf(artifact.Sha256), "damaged", TestContext.Current.CancellationToken);
        (await Find(FeatureKind.Response, responses[1])).ShouldBeNull("other bytes than were put");
        File.Delete(Artifacts.LocationOf(artifact.Sha256));
        (await Find(FeatureKind.Response, responses[1])).ShouldBeNull();
    }

    [Fact]
    public async Task A_feature_in_two_shards_is_found_in_the_one_that_is_there()
    {
        ArtifactRef lost = await Artifacts.PutText("lost"), whole = await Artifacts.PutText("whole");
        await Enter(FeatureShard.Of(Space, lost.Sha256, [Key("a"), Key("b")], []), FeatureShard.Of(Space, whole.Sha256, [Key("b")], []));
        File.Delete(Artifacts.LocationOf(lost.Sha256));
        (await Find(FeatureKind.Response, Key("b"))).ShouldBe(new FeaturePlace(whole.Sha256, 0));
        (await Find(FeatureKind.Response, Key("a"))).ShouldBeNull();
    }

    [Fact]
    public async Task The_same_bytes_are_the_features_of_two_texts_with_the_same_tokens()
    {
        ArtifactRef artifact = await Artifacts.PutText("shard");
        await Enter(FeatureShard.Of(Space, artifact.Sha256, [Key("a")], []), FeatureShard.Of(Space, artifact.Sha256, [Key("b")], []));
        (await Find(FeatureKind.Response, Key("a"))).ShouldNotBeNull();
        (await Find(FeatureKind.Response, Key("b"))).ShouldNotBeNull();
    }

    [Fact]
    public async Task What_an_older_version_entered_is_found_and_forgotten_like_the_rest()
    {
        ArtifactRef old = await Artifacts.PutText("old"), other = await Artifacts.PutText("new");
        string withBlanks = $"{Id("blanks")}-{Id("its text")[..16]}";
        await using ArmoFlowDbContext db = await Context();
        db.FeatureRows.AddRange(new FeatureRow { Space = Space, Kind = "r", Id = withBlanks, Shard = old.Sha256, Row = 7 },
            new FeatureRow { Space = Space, Kind = "p", Id = Id("p"), Shard = old.Sha256, Row = 3 });
        await db.SaveChangesAsync(TestContext.Current.CancellationToken);
        await Enter(FeatureShard.Of(Space, other.Sha256, [Key("a")], []));
        (await Find(FeatureKind.Response, FeatureKey.Of(withBlanks))).ShouldBe(new FeaturePlace(old.Sha256, 7));
        (await Find(FeatureKind.Response, Key("blanks"))).ShouldBeNull("another text");
        (await Find(FeatureKind.Prompt, Key("p"))).ShouldBe(new FeaturePlace(old.Sha256, 3));
        (await FeatureIndex.Shards(db, default)).ShouldBe([old.Sha256, other.Sha256], ignoreOrder: true);
        (await FeatureIndex.ShardsOf(db, [Id("blanks"), Id("unknown")], default)).ShouldBe([old.Sha256]);
        (await FeatureIndex.ShardsOf(db, [Id("a")], default)).ShouldBe([other.Sha256]);
        await FeatureIndex.Forget(db, [old.Sha256, other.Sha256], default);
        (await Index.Load(Space, default)).Count.ShouldBe(0);
    }

    [Theory]
    [InlineData("")]
    [InlineData("c1")]
    [InlineData("zz00000000000000000000000000000000000000000000000000000000000000")]
    [InlineData("0000000000000000000000000000000000000000000000000000000000000000-0")]
    public void What_is_no_id_has_no_key(string id) => Should.Throw<FormatException>(() => FeatureKey.Of(id));
}

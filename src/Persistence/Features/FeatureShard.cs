using System.Security.Cryptography;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;

namespace ArmoFlow.Persistence.Features;

/// <summary>
/// A shard of features, and whose they are: row i of its tensors belongs to key i. One row for all of a shard's keys, 16 bytes each: a
/// row for each key would be several times as large, and a step asks for all keys of a space anyway (decision 86).
/// </summary>
public sealed class FeatureShard
{
    /// <summary>Where its features can be compared with others: backbone, template, dtype and limit.</summary>
    public string Space { get; set; } = "";

    /// <summary>The artifact.</summary>
    public string Sha256 { get; set; } = "";

    /// <summary>Of the keys: the same bytes can be the features of other texts, whose tokens are the same.</summary>
    public string KeysDigest { get; set; } = "";

    /// <summary>Keys of f(x⊕y), packed.</summary>
    public byte[] Responses { get; set; } = [];

    /// <summary>Keys of f(x), packed.</summary>
    public byte[] Prompts { get; set; } = [];

    /// <summary>A shard with its keys.</summary>
    public static FeatureShard Of(
        string space, string sha256, IReadOnlyList<FeatureKey> responses, IReadOnlyList<FeatureKey> prompts)
    {
        byte[] packedResponses = FeatureKey.Pack(responses), packedPrompts = FeatureKey.Pack(prompts);
        return new FeatureShard
        {
            Space = space,
            Sha256 = sha256,
            KeysDigest = Convert.ToHexStringLower(SHA256.HashData([.. packedResponses, .. packedPrompts]))[..16],
            Responses = packedResponses,
            Prompts = packedPrompts,
        };
    }
}

/// <summary>
/// Where the features of one conversation ('r') or prompt ('p') lie, as versions before 0.2 entered it: read, and struck out with its
/// shard.
/// </summary>
public sealed class FeatureRow
{
    public string Space { get; set; } = "";
    public string Kind { get; set; } = "";
    public string Id { get; set; } = "";
    public string Shard { get; set; } = "";
    public int Row { get; set; }
}

internal sealed class FeatureShardConfiguration : IEntityTypeConfiguration<FeatureShard>
{
    public void Configure(EntityTypeBuilder<FeatureShard> shard) => shard.HasKey(s => new { s.Space, s.Sha256, s.KeysDigest });
}

internal sealed class FeatureRowConfiguration : IEntityTypeConfiguration<FeatureRow>
{
    public void Configure(EntityTypeBuilder<FeatureRow> row) => row.HasKey(f => new { f.Space, f.Kind, f.Id });
}

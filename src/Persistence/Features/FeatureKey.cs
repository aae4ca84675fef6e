using System.Buffers.Binary;
using System.Globalization;

namespace ArmoFlow.Persistence.Features;

/// <summary>Which of the two features of the method.</summary>
public enum FeatureKind
{
    /// <summary>f(x⊕y), of a conversation.</summary>
    Response,

    /// <summary>f(x), of a prompt.</summary>
    Prompt,
}

/// <summary>
/// What a feature is found by: 16 bytes of its conversation's or prompt's id, which is a SHA-256. Where texts of one id differ in
/// blanks that count, 8 bytes of the id and 8 of the text.
/// </summary>
public readonly record struct FeatureKey(UInt128 Value)
{
    /// <summary>Bytes of a key.</summary>
    public const int Size = 16;

    private const int Half = 16, IdLength = 64; // digits
    private const char Separator = '-';

    /// <summary>The first 8 bytes of the id, whatever the blanks are.</summary>
    public ulong Conversation => (ulong)(Value >> 64);

    /// <summary>Of an id: 64 hexadecimal digits, or these, a hyphen and 16 more.</summary>
    /// <exception cref="FormatException">It is neither.</exception>
    public static FeatureKey Of(string id)
    {
        bool isPlain = id.Length == IdLength;
        if (!isPlain && (id.Length != IdLength + 1 + Half || id[IdLength] != Separator))
            throw new FormatException($"no id of a conversation: {id}");
        return new FeatureKey(new UInt128(Digits(id, 0), Digits(id, isPlain ? Half : IdLength + 1)));
    }

    private static ulong Digits(string id, int from) =>
        ulong.Parse(id.AsSpan(from, Half), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);

    /// <summary>Keys one after the other, as a database keeps them.</summary>
    public static byte[] Pack(IReadOnlyList<FeatureKey> keys)
    {
        byte[] packed = new byte[keys.Count * Size];
        for (int i = 0; i < keys.Count; i++) BinaryPrimitives.WriteUInt128BigEndian(packed.AsSpan(i * Size, Size), keys[i].Value);
        return packed;
    }

    /// <summary>What <see cref="Pack"/> made of them.</summary>
    public static IEnumerable<FeatureKey> Unpack(byte[] packed)
    {
        for (int at = 0; at + Size <= packed.Length; at += Size)
            yield return new FeatureKey(BinaryPrimitives.ReadUInt128BigEndian(packed.AsSpan(at, Size)));
    }
}

using System.Text;

namespace ArmoFlow;

/// <summary>Which Unicode encoding a JSON text has, and a reader of it that lets no damaged character pass.</summary>
internal static class TextEncoding
{
    /// <summary>Bytes that <see cref="Of"/> looks at.</summary>
    public const int BytesNeeded = 4;

    private static readonly Encoding Utf8 = new UTF8Encoding(true, throwOnInvalidBytes: true);
    private static readonly Encoding Utf16Little = new UnicodeEncoding(bigEndian: false, true, throwOnInvalidBytes: true);
    private static readonly Encoding Utf16Big = new UnicodeEncoding(bigEndian: true, true, throwOnInvalidBytes: true);
    private static readonly Encoding Utf32Little = new UTF32Encoding(bigEndian: false, true, throwOnInvalidCharacters: true);
    private static readonly Encoding Utf32Big = new UTF32Encoding(bigEndian: true, true, throwOnInvalidCharacters: true);

    /// <summary>
    /// By the byte order mark; without one by where the zeros stand, as a JSON text begins with two ASCII characters (RFC 4627, 3).
    /// </summary>
    public static Encoding Of(ReadOnlySpan<byte> start) => start switch
    {
        [0xef, 0xbb, 0xbf, ..] => Utf8,
        [0xff, 0xfe, 0, 0, ..] => Utf32Little,
        [0, 0, 0xfe, 0xff, ..] => Utf32Big,
        [0xff, 0xfe, ..] => Utf16Little,
        [0xfe, 0xff, ..] => Utf16Big,
        [not 0, 0, 0, 0, ..] => Utf32Little,
        [0, 0, 0, not 0, ..] => Utf32Big,
        [not 0, 0, _, 0, ..] => Utf16Little,
        [0, not 0, 0, _, ..] => Utf16Big,
        _ => Utf8,
    };

    /// <summary>
    /// A reader that removes the encoding's mark and throws <see cref="DecoderFallbackException"/> at a damaged character.
    /// </summary>
    // The detection that the library offers would put an encoding in place that replaces what is damaged.
    public static StreamReader Reader(Stream text, Encoding encoding) => new(text, encoding, detectEncodingFromByteOrderMarks: false);
}

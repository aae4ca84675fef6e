namespace ArmoFlow.Contracts;

/// <summary>How hashes are written: 64 lower-case hex digits.</summary>
public static class Sha256
{
    private const int Digits = 64;

    /// <summary>True for 64 lower-case hex digits.</summary>
    public static bool IsOne(string text) => text.Length == Digits && text.All(char.IsAsciiHexDigitLower);
}

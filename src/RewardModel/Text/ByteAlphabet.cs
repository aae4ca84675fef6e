using System.Text;

namespace ArmoFlow.RewardModel.Text;

/// <summary>GPT-2's printable stand-ins for the 256 bytes, undone.</summary>
public static class ByteAlphabet
{
    private static readonly Dictionary<char, byte> ToByte = Build();
    private static readonly Dictionary<byte, char> ToChar = ToByte.ToDictionary(x => x.Value, x => x.Key);

    private static Dictionary<char, byte> Build()
    {
        Dictionary<char, byte> map = [];
        int next = 256;
        for (int b = 0; b < 256; b++)
        {
            bool printable = b is >= '!' and <= '~' or >= 0xa1 and <= 0xac or >= 0xae and <= 0xff;
            map[(char)(printable ? b : next++)] = (byte)b;
        }
        return map;
    }

    /// <summary>The bytes of a token.</summary>
    /// <param name="token">As a vocabulary spells it.</param>
    /// <param name="path">The vocabulary, for the error.</param>
    /// <exception cref="InvalidInputException">A character is not of the alphabet.</exception>
    public static byte[] Decode(string token, string path)
    {
        byte[] bytes = new byte[token.Length];
        for (int i = 0; i < token.Length; i++)
        {
            if (!ToByte.TryGetValue(token[i], out bytes[i]))
            {
                throw new InvalidInputException(path, $"token '{token}' with a character outside the byte alphabet",
                    "a byte-level vocabulary", "Use a Llama-3 style backbone.");
            }
        }
        return bytes;
    }

    /// <summary>Bytes as a vocabulary spells them.</summary>
    /// <param name="bytes">Any bytes.</param>
    public static string Encode(ReadOnlySpan<byte> bytes)
    {
        StringBuilder text = new(bytes.Length);
        foreach (byte b in bytes) text.Append(ToChar[b]);
        return text.ToString();
    }
}

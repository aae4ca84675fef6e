namespace ArmoFlow.RewardModel.Ingestion;

/// <summary>Tells a gzip file that breaks off: the decompressor takes a missing trailer for the end of the data.</summary>
internal static class GzipTrailer
{
    /// <summary>How each member begins: gzip's two bytes, and deflate (RFC 1952).</summary>
    private static readonly byte[] Magic = [0x1f, 0x8b, 0x08];

    private const int SmallestMember = 18; // 10 bytes of header and 8 of trailer

    public static void Require(FileStream file, string shownAs, CancellationToken cancel)
    {
        byte[] magic = new byte[2];
        if (file.Length < SmallestMember || file.Read(magic) < 2 || magic[0] != 0x1f || magic[1] != 0x8b)
        {
            throw new InvalidInputException(shownAs, "not gzip data", "a gzip file, as its extension says",
                "Fetch the file again, or remove .gz from its name.");
        }
        file.Position = 0;
        // One pass over the bytes: the length of the last member, modulo 2^32, closes the file.
        using BoundedInflate gzip = new(file, file.Length);
        byte[] buffer = new byte[1 << 16];
        uint total = 0;
        try
        {
            for (int n = gzip.Read(buffer); n > 0; n = gzip.Read(buffer))
            {
                total += (uint)n;
                cancel.ThrowIfCancellationRequested();
            }
        }
        catch (InvalidDataException e) when (e.Message.Contains("times its size", StringComparison.Ordinal))
        {
            throw new InvalidInputException(shownAs, e.Message, "a table of text", "Check what the file holds; nothing was read of it.");
        }
        catch (InvalidDataException)
        {
            throw Cut(shownAs);
        }
        // Several members concatenated sum up to more than the last one declares.
        uint[] declared = DeclaredLengths(file);
        if (!declared.Contains(total) && !(declared.Any(length => length < total) && HoldsSeveralMembers(file))) throw Cut(shownAs);
        file.Position = 0;
    }

    /// <summary>
    /// The last member's length as its last four bytes say it. Some programs fill the file up with zeros, as tapes are, and a length may
    /// end with zeros of its own: it stands at one of the places behind the last byte that is none.
    /// </summary>
    private static uint[] DeclaredLengths(FileStream file)
    {
        const int LengthBytes = 4;
        long data = LastByteThatIsNoZero(file) + 1;
        byte[] bytes = new byte[2 * LengthBytes];
        long begin = Math.Max(0, data - LengthBytes);
        file.Position = begin;
        int count = file.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
        List<uint> lengths = [];
        for (int at = 0; at + LengthBytes <= count; at++) lengths.Add(BitConverter.ToUInt32(bytes, at));
        return [.. lengths];
    }

    private static long LastByteThatIsNoZero(FileStream file)
    {
        byte[] buffer = new byte[1 << 16];
        for (long end = file.Length; end > 0;)
        {
            int count = (int)Math.Min(buffer.Length, end);
            file.Position = end - count;
            file.ReadExactly(buffer, 0, count);
            int last = buffer.AsSpan(0, count).LastIndexOfAnyExcept((byte)0);
            if (last >= 0) return end - count + last;
            end -= count;
        }
        return -1;
    }

    private static bool HoldsSeveralMembers(FileStream file)
    {
        file.Position = 1;
        byte[] buffer = new byte[1 << 16];
        int matched = 0;
        for (int n = file.Read(buffer); n > 0; n = file.Read(buffer))
        {
            for (int i = 0; i < n; i++)
            {
                int begun = buffer[i] == Magic[0] ? 1 : 0;
                matched = buffer[i] == Magic[matched] ? matched + 1 : begun;
                if (matched == Magic.Length) return true;
            }
        }
        return false;
    }

    private static InvalidInputException Cut(string shownAs) =>
        new(shownAs, "compressed data that breaks off before its end", "a whole gzip file", "The file was cut on its way; fetch it again.");
}

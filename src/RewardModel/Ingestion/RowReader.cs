using System.IO.Compression;
using System.Text;
using System.Text.Json;
using ArmoFlow.RewardModel.Files;
using Parquet;

namespace ArmoFlow.RewardModel.Ingestion;

/// <summary>One row of a source file: where it stands, for errors, and its fields.</summary>
public readonly record struct SourceRow(string Place, JsonElement Fields);

/// <summary>Streams the rows of JSON, JSONL, gzipped and Parquet files; memory holds one row (Parquet: one row group).</summary>
public static class RowReader
{
    private const int PartOfLineShown = 40;
    private static readonly TimeSpan LongestRowGroup = TimeSpan.FromMinutes(10);

    /// <summary>Reads one file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="shownAs">How errors name it; its extension says the kind: .json, .jsonl, .ndjson, each also with .gz, or .parquet.</param>
    /// <param name="cancel">Stops the reading.</param>
    /// <exception cref="InvalidInputException">The file is missing, damaged, or of another kind.</exception>
    public static IAsyncEnumerable<SourceRow> Read(string path, string shownAs, CancellationToken cancel = default)
    {
        InputFile.OpenData(path, shownAs).Dispose();
        string name = shownAs.EndsWith(".gz", StringComparison.OrdinalIgnoreCase) ? shownAs[..^3] : shownAs;
        return Path.GetExtension(name).ToLowerInvariant() switch
        {
            ".parquet" when name == shownAs => ReadParquet(path, shownAs, cancel),
            ".json" or ".jsonl" or ".ndjson" => ReadJson(path, shownAs, cancel),
            string other => throw new InvalidInputException(shownAs, $"a file of kind '{other}'", ".json, .jsonl, .json.gz, .jsonl.gz or .parquet", "Convert the file, or give it its right extension."),
        };
    }

    private static async IAsyncEnumerable<SourceRow> ReadJson(string path, string shownAs, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancel)
    {
        await using FileStream file = InputFile.OpenData(path, shownAs);
        bool zipped = shownAs.EndsWith(".gz", StringComparison.OrdinalIgnoreCase);
        if (zipped) GzipTrailer.Require(file, shownAs, cancel);
        await using Stream text = zipped ? new BoundedInflate(file, file.Length) : file;
        if (await StartsWithBracket(path, zipped))
        {
            await foreach (SourceRow row in ReadArray(text, shownAs, cancel)) yield return row;
            yield break;
        }
        using StreamReader reader = new(text, new UTF8Encoding(false, throwOnInvalidBytes: true));
        BoundedLines lines = new(reader);
        long number = 0;
        bool isData = false; // once it has shown a row; before, it may be any file, whose text is nobody's to see
        while (await ReadLine(lines, shownAs, number, cancel) is { } line)
        {
            number++;
            if (string.IsNullOrWhiteSpace(line)) continue;
            yield return new SourceRow($"{shownAs} line {number}", ParseLine(line, $"{shownAs} line {number}", isData));
            isData = true;
        }
    }

    private static async Task<bool> StartsWithBracket(string path, bool zipped)
    {
        await using FileStream file = InputFile.OpenData(path);
        using StreamReader reader = new(zipped ? new GZipStream(file, CompressionMode.Decompress) : file);
        int c;
        do c = reader.Read(); while (c >= 0 && char.IsWhiteSpace((char)c));
        return c == '[';
    }

    private static async IAsyncEnumerable<SourceRow> ReadArray(Stream stream, string shownAs, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancel)
    {
        long item = 0;
        await using IAsyncEnumerator<JsonElement> items = JsonSerializer.DeserializeAsyncEnumerable<JsonElement>(stream, JsonSerializerOptions.Default, cancel).GetAsyncEnumerator(cancel);
        while (true)
        {
            try
            {
                if (!await items.MoveNextAsync()) yield break;
            }
            catch (JsonException e)
            {
                throw new InvalidInputException($"{shownAs} after item {item}", $"not JSON at line {e.LineNumber + 1}, byte {e.BytePositionInLine + 1}", "a whole JSON array of objects", "The file was cut or damaged there; fetch it again or correct it.");
            }
            string place = $"{shownAs} item {++item}";
            yield return new SourceRow(place, items.Current.ValueKind == JsonValueKind.Object ? items.Current
                : throw new InvalidInputException(place, $"a JSON {items.Current.ValueKind}", "a JSON object", "Give one object for each row."));
        }
    }

    private static async Task<string?> ReadLine(BoundedLines lines, string shownAs, long number, CancellationToken cancel)
    {
        try { return await lines.Next(cancel); }
        catch (InvalidDataException e) when (e.Message.StartsWith("a line", StringComparison.Ordinal))
        {
            throw new InvalidInputException($"{shownAs} line {number + 1}", e.Message, "one JSON object on each line", "Check that the file is JSONL.");
        }
        catch (Exception e) when (e is InvalidDataException or EndOfStreamException)
        {
            throw new InvalidInputException($"{shownAs} after line {number}", "compressed data that breaks off, is damaged, or grows without end", "a whole gzip file", "Fetch the file again.");
        }
        catch (DecoderFallbackException)
        {
            throw new InvalidInputException($"{shownAs} after line {number}", "bytes that are not UTF-8", "UTF-8 text", "Convert the file to UTF-8.");
        }
    }

    private static JsonElement ParseLine(string line, string place, bool isData)
    {
        JsonElement element;
        try { element = JsonElement.Parse(line); }
        catch (JsonException e)
        {
            byte[] bytes = Encoding.UTF8.GetBytes(line);
            int at = (int)Math.Clamp(e.BytePositionInLine ?? 0, 0, bytes.Length);
            string rest = Encoding.UTF8.GetString(bytes, at, Math.Min(PartOfLineShown, bytes.Length - at));
            foreach (string word in new[] { "NaN", "Infinity", "-Infinity" })
                if (rest.StartsWith(word, StringComparison.Ordinal))
                    throw new InvalidInputException(place, $"{word} at byte {at + 1}", "a finite number, or null", "Write null for an absent rating.");
            throw rest.Length == 0 || !line.TrimEnd().EndsWith('}')
                ? new InvalidInputException(place, $"a line that breaks off after {bytes.Length} bytes", "a whole JSON object", "The file was cut; fetch it again.")
                : new InvalidInputException(place, $"not JSON at byte {at + 1} {(isData ? $"('{rest}')" : "of its first row")}", "one JSON object", "Correct the line.");
        }
        return element.ValueKind == JsonValueKind.Object ? element : throw new InvalidInputException(place, $"a JSON {element.ValueKind}", "a JSON object", "Give one object for each row.");
    }

    private static async IAsyncEnumerable<SourceRow> ReadParquet(string path, string shownAs, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancel)
    {
        int groups = 0;
        string[] columns = [];
        try
        {
            ParquetCheck.Require(path);
            await using ParquetReader reader = await ParquetReader.CreateAsync(path, cancellationToken: cancel);
            groups = reader.RowGroupCount;
            columns = [.. reader.Schema.Fields.Select(f => f.Name)];
        }
        catch (Exception e) when (e is not OperationCanceledException) { throw Damaged(shownAs, e); }
        long number = 0;
        for (int g = 0; g < groups; g++)
        {
            IList<Dictionary<string, object?>> rows;
            try
            {
                rows = await ReadGroup(path, g, cancel).WaitAsync(LongestRowGroup, cancel);
            }
            catch (TimeoutException)
            {
                throw new InvalidInputException(shownAs, $"row group {g + 1} was not read in {LongestRowGroup.TotalMinutes:f0} minutes", "a Parquet file that can be read", "The file is damaged, or its row groups are too large: write it anew.");
            }
            catch (Exception e) when (e is not OperationCanceledException and not InvalidInputException) { throw Damaged(shownAs, e); }
            foreach (Dictionary<string, object?> row in rows)
            {
                foreach (string column in columns) row.TryAdd(column, null); // the library leaves nulls out
                yield return new SourceRow($"{shownAs} row {++number}", ParquetTable.ToJson(row, $"{shownAs} row {number}"));
            }
        }
    }

    /// <summary>On a thread of its own: where the library does not come back, whoever waits for it does, and whoever cancels is heard.</summary>
    private static Task<IList<Dictionary<string, object?>>> ReadGroup(string path, int group, CancellationToken cancel) => Task.Run(async () =>
    {
        await using FileStream stream = File.OpenRead(path);
        return ParquetTable.Rows(await Parquet.Serialization.ParquetSerializer.DeserializeUntypedAsync(stream, rowGroupIndex: group, cancellationToken: cancel));
    }, cancel);

    private static InvalidInputException Damaged(string shownAs, Exception e) =>
        new(shownAs, $"not a readable Parquet file ({e.Message.Split('\n')[0]})", "a whole Parquet file", "Fetch the file again.");
}

/// <summary>Tells a gzip file that breaks off: the decompressor takes a missing trailer for the end of the data.</summary>
internal static class GzipTrailer
{
    private const int SmallestMember = 18; // 10 bytes of header and 8 of trailer

    public static void Require(FileStream file, string shownAs, CancellationToken cancel)
    {
        byte[] magic = new byte[2];
        if (file.Length < SmallestMember || file.Read(magic) < 2 || magic[0] != 0x1f || magic[1] != 0x8b)
            throw new InvalidInputException(shownAs, "not gzip data", "a gzip file, as its extension says", "Fetch the file again, or remove .gz from its name.");
        file.Position = 0;
        // One pass over the bytes: the length of the last member, modulo 2^32, closes the file.
        using BoundedInflate gzip = new(file, file.Length);
        byte[] buffer = new byte[1 << 16];
        uint total = 0;
        try
        {
            for (int n; (n = gzip.Read(buffer)) > 0;)
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
        byte[] trailer = new byte[4];
        file.Position = file.Length - 4;
        file.ReadExactly(trailer);
        uint declared = BitConverter.ToUInt32(trailer);
        // Several members concatenated sum up to more than the last one declares.
        if (declared != total && !(declared < total && HoldsSeveralMembers(file))) throw Cut(shownAs);
        file.Position = 0;
    }

    private static bool HoldsSeveralMembers(FileStream file)
    {
        file.Position = 1;
        byte[] buffer = new byte[1 << 16];
        int matched = 0;
        for (int n; (n = file.Read(buffer)) > 0;)
            for (int i = 0; i < n; i++)
            {
                matched = buffer[i] == (matched switch { 0 => 0x1f, 1 => 0x8b, _ => 0x08 }) ? matched + 1 : buffer[i] == 0x1f ? 1 : 0;
                if (matched == 3) return true;
            }
        return false;
    }

    private static InvalidInputException Cut(string shownAs) => new(shownAs, "compressed data that breaks off before its end", "a whole gzip file", "The file was cut on its way; fetch it again.");
}

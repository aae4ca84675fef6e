using System.Text;
using System.Text.Json;
using ArmoFlow.RewardModel.Files;

namespace ArmoFlow.RewardModel.Ingestion;

/// <summary>
/// Streams the rows of a JSON text, plain or gzipped, in any Unicode encoding: an object on each line, an array of objects, or objects over
/// several lines; a .json file's only object may hold the rows in its field <c>data</c>. Memory holds one row.
/// </summary>
internal static class JsonRows
{
    public static async IAsyncEnumerable<SourceRow> Read(
        string path, string shownAs, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancel)
    {
        TextFile file = new(path, shownAs, shownAs.EndsWith(".gz", StringComparison.OrdinalIgnoreCase));
        await using (FileStream bytes = InputFile.OpenData(path, shownAs))
            if (file.Zipped) GzipTrailer.Require(bytes, shownAs, cancel);
        file = file with { Encoding = await EncodingOf(file, cancel) };
        JsonLayout layout = await Guarded(() => LayoutOf(file, cancel), shownAs, file);
        await using OpenText text = new(file);
        IAsyncEnumerable<SourceRow> rows = layout switch
        {
            JsonLayout.Array => Items(text, shownAs, cancel),
            JsonLayout.Values => Values(text, shownAs, cancel),
            _ => Lines(text, shownAs, cancel),
        };
        await foreach (SourceRow row in Unwrapped(rows, shownAs)) yield return row;
    }

    /// <summary>How the rows of a JSON text stand in it.</summary>
    private enum JsonLayout
    {
        /// <summary>An object on each line.</summary>
        Lines,

        /// <summary>One array of objects.</summary>
        Array,

        /// <summary>Objects over several lines each, one after another; most often one.</summary>
        Values,
    }

    private static async Task<Encoding> EncodingOf(TextFile file, CancellationToken cancel)
    {
        await using OpenText text = new(file);
        byte[] start = new byte[TextEncoding.BytesNeeded];
        int count = await text.Bytes.ReadAtLeastAsync(start, start.Length, throwOnEndOfStream: false, cancel);
        return TextEncoding.Of(start.AsSpan(0, count));
    }

    private static async ValueTask<JsonLayout> LayoutOf(TextFile file, CancellationToken cancel)
    {
        await using (OpenText text = new(file))
            if (await new BoundedValues(text.Reader).Peek(cancel) == '[') return JsonLayout.Array;
        await using OpenText again = new(file);
        BoundedLines lines = new(again.Reader);
        string? first = await NextFull(lines, cancel),
            second = first is not null && JsonRow.IsOpen(first) ? await NextFull(lines, cancel) : null;
        // A line that is cut off is followed by the next row; an object over several lines by its first field.
        return second is null || second.TrimStart().StartsWith('{') ? JsonLayout.Lines : JsonLayout.Values;
    }

    private static async ValueTask<string?> NextFull(BoundedLines lines, CancellationToken cancel)
    {
        string? line;
        do line = await lines.Next(cancel); while (line is not null && string.IsNullOrWhiteSpace(line));
        return line;
    }

    private static async IAsyncEnumerable<SourceRow> Lines(
        OpenText text, string shownAs, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancel)
    {
        BoundedLines lines = new(text.Reader);
        long number = 0;
        bool isData = false; // once it has shown a row; before, it may be any file, whose text is nobody's to see
        while (await Guarded(() => lines.Next(cancel), $"{shownAs} line {number + 1}", text.File) is { } line)
        {
            number++;
            if (string.IsNullOrWhiteSpace(line)) continue;
            yield return JsonRow.Parse(line, $"{shownAs} line {number}", isData, "the line");
            isData = true;
        }
    }

    private static async IAsyncEnumerable<SourceRow> Items(
        OpenText text, string shownAs, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancel)
    {
        BoundedValues values = new(text.Reader);
        long item = 0;
        await Next(); // the bracket
        values.Skip();
        if (await Next() == ']') values.Skip();
        else
        {
            char? after;
            do
            {
                string place = $"{shownAs} item {++item}";
                if (await Next() is null) throw Broken("breaks off");
                string value = await Guarded(() => values.Value(cancel), place, text.File);
                yield return JsonRow.Parse(value, place, item > 1, "the item");
                after = await Next();
                if (after is not (',' or ']')) throw Broken(after is null ? "breaks off" : $"goes on with '{after}'");
                values.Skip();
            }
            while (after == ',');
        }
        if (await Next() is { } more) throw Broken($"is followed by '{more}'");

        ValueTask<char?> Next() => Guarded(() => values.Peek(cancel), $"{shownAs} after item {item}", text.File);
        InvalidInputException Broken(string how) => new($"{shownAs} after item {item}", $"not JSON at line {values.Line}: the array {how}",
            "a whole JSON array of objects", "The file was cut or damaged there; fetch it again or correct it.");
    }

    private static async IAsyncEnumerable<SourceRow> Values(
        OpenText text, string shownAs, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancel)
    {
        BoundedValues values = new(text.Reader);
        bool isData = false;
        while (await Guarded(() => values.Peek(cancel), $"{shownAs} line {values.Line}", text.File) is not null)
        {
            string place = $"{shownAs} line {values.Line}";
            string value = await Guarded(() => values.Value(cancel), place, text.File);
            yield return JsonRow.Parse(value, place, isData, "the object that begins there");
            isData = true;
        }
    }

    /// <summary>A .json file's only object may hold the rows in its field <c>data</c>, as the hub's loaders know it.</summary>
    private static async IAsyncEnumerable<SourceRow> Unwrapped(IAsyncEnumerable<SourceRow> rows, string shownAs)
    {
        string name = shownAs.EndsWith(".gz", StringComparison.OrdinalIgnoreCase) ? shownAs[..^3] : shownAs;
        bool mayBeWrapped = name.EndsWith(".json", StringComparison.OrdinalIgnoreCase);
        SourceRow? held = null;
        await foreach (SourceRow row in rows)
        {
            if (held is { } first) yield return first;
            held = null;
            if (!mayBeWrapped)
            {
                yield return row;
                continue;
            }
            mayBeWrapped = false;
            held = row;
        }
        if (held is not { } only) yield break;
        if (!IsWrapper(only.Fields, out JsonElement data))
        {
            yield return only;
            yield break;
        }
        long item = 0;
        foreach (JsonElement element in data.EnumerateArray())
            yield return only with { Place = $"{shownAs} data item {++item}", Fields = element, Replaced = item == 1 ? only.Replaced : 0 };
    }

    private static bool IsWrapper(JsonElement fields, out JsonElement data) =>
        fields.TryGetProperty("data", out data) && data.ValueKind == JsonValueKind.Array && data.GetArrayLength() > 0
            && data.EnumerateArray().All(e => e.ValueKind == JsonValueKind.Object);

    /// <summary>A file that holds text.</summary>
    private sealed record TextFile(string Path, string ShownAs, bool Zipped)
    {
        /// <summary>How its characters are written; before that is known, one byte each.</summary>
        public Encoding Encoding { get; init; } = Encoding.Latin1;
    }

    /// <summary>A file's text, decompressed and decoded.</summary>
    private sealed class OpenText : IAsyncDisposable
    {
        private readonly FileStream _stream;

        public OpenText(TextFile file)
        {
            File = file;
            _stream = InputFile.OpenData(file.Path, file.ShownAs);
            Bytes = file.Zipped ? new BoundedInflate(_stream, _stream.Length) : _stream;
            Reader = TextEncoding.Reader(Bytes, file.Encoding);
        }

        public TextFile File { get; }

        public Stream Bytes { get; }

        public StreamReader Reader { get; }

        public async ValueTask DisposeAsync()
        {
            Reader.Dispose();
            await _stream.DisposeAsync();
        }
    }

    /// <summary>Reads on, and says where the text cannot be read.</summary>
    private static async ValueTask<T> Guarded<T>(Func<ValueTask<T>> read, string place, TextFile file)
    {
        try { return await read(); }
        catch (InvalidDataException e) when (e.Message.Contains(" of more than ", StringComparison.Ordinal))
        {
            throw new InvalidInputException(place, e.Message, "one JSON object on each line, or an array of them",
                "Check that the file is JSONL or JSON.");
        }
        catch (Exception e) when (e is InvalidDataException or EndOfStreamException)
        {
            throw new InvalidInputException(place, "compressed data that breaks off, is damaged, or grows without end", "a whole gzip file",
                "Fetch the file again.");
        }
        catch (DecoderFallbackException)
        {
            bool isUtf8 = file.Encoding is UTF8Encoding;
            throw new InvalidInputException(isUtf8 ? $"{file.ShownAs} line {await LineThatIsNoUtf8(file)}" : file.ShownAs,
                $"bytes that are not {(isUtf8 ? "UTF-8" : file.Encoding.WebName.ToUpperInvariant())}", "UTF-8 text",
                "Convert the file to UTF-8.");
        }
    }

    /// <summary>The reader is ahead of the rows by a buffer: the line is looked for once the damage is known.</summary>
    private static async Task<long> LineThatIsNoUtf8(TextFile file)
    {
        await using OpenText text = new(file with { Encoding = Encoding.Latin1 });
        BoundedLines lines = new(text.Reader);
        long number = 1;
        while (await lines.Next(default) is { } line && System.Text.Unicode.Utf8.IsValid(Encoding.Latin1.GetBytes(line))) number++;
        return number;
    }
}

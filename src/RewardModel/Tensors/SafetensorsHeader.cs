using System.Text.Json;

namespace ArmoFlow.RewardModel.Tensors;

/// <summary>
/// The header of a safetensors file, held to the format's own rules: each name once, known element types, lengths without a sign
/// and within 64 bits, and tensors that lie end to end from the first byte of the data to the last, without gaps or overlaps.
/// Source: the format's description and its reference implementation (huggingface/safetensors, <c>Metadata::validate</c>).
/// </summary>
internal sealed class SafetensorsHeader
{
    private const string MetadataKey = "__metadata__", Layout = "name → {dtype, shape, data_offsets}";
    private readonly string _path;
    private readonly long _dataStart;

    public Dictionary<string, TensorEntry> Entries { get; } = new(StringComparer.Ordinal);
    public Dictionary<string, string> Metadata { get; } = new(StringComparer.Ordinal);

    /// <param name="path">The file, for errors.</param>
    /// <param name="json">The header's bytes.</param>
    /// <param name="dataStart">Where the data begins in the file.</param>
    /// <param name="dataLength">Bytes of data.</param>
    /// <exception cref="InvalidInputException">The header does not describe the data.</exception>
    public SafetensorsHeader(string path, byte[] json, long dataStart, long dataLength)
    {
        _path = path;
        _dataStart = dataStart;
        using JsonDocument document = Parse(json);
        foreach (JsonProperty property in document.RootElement.EnumerateObject())
        {
            if (property.Name == MetadataKey) ReadMetadata(property.Value);
            else ReadTensor(property.Name, property.Value);
        }
        CheckLayout(dataLength);
    }

    private JsonDocument Parse(byte[] json)
    {
        if (json[0] != (byte)'{') throw Broken("a header that is not the format's JSON", Layout);
        try { return JsonDocument.Parse(json, new JsonDocumentOptions { AllowDuplicateProperties = false }); }
        catch (JsonException e) { throw Broken($"a header that is not the format's JSON ({e.Message.Split(" LineNumber")[0]})", Layout); }
    }

    private void ReadMetadata(JsonElement metadata)
    {
        if (metadata.ValueKind == JsonValueKind.Null) return; // as some writers leave it
        if (metadata.ValueKind != JsonValueKind.Object) throw Broken($"'{MetadataKey}' that is {Kind(metadata)}", "an object of texts");
        foreach (JsonProperty item in metadata.EnumerateObject())
        {
            bool isText = item.Value.ValueKind == JsonValueKind.String;
            if (!isText) throw Broken($"'{MetadataKey}' with '{item.Name}' that is {Kind(item.Value)}", "a text");
            Metadata[item.Name] = item.Value.GetString()!;
        }
    }

    private void ReadTensor(string name, JsonElement described)
    {
        string dtype = Member(name, described, "dtype", JsonValueKind.String).GetString()!;
        long[] shape = Lengths(name, "shape", Member(name, described, "shape", JsonValueKind.Array));
        long[] offsets = Lengths(name, "data_offsets", Member(name, described, "data_offsets", JsonValueKind.Array));
        if (offsets.Length != 2 || offsets[0] > offsets[1])
            throw Broken($"tensor '{name}' with data_offsets [{string.Join(", ", offsets)}]", "[begin, end]");
        int size = DTypes.Size(dtype, path: $"{_path} tensor '{name}'");
        long? expected = BytesOf(shape, size);
        string what = $"tensor '{name}' of shape [{string.Join(", ", shape)}] {dtype}";
        if (expected is null) throw Broken($"{what}, more bytes than 64 bits can count", "a tensor that fits the file");
        if (offsets[1] - offsets[0] != expected) throw Broken($"{what} has {offsets[1] - offsets[0]} bytes", $"{expected}");
        if (offsets[1] > long.MaxValue - _dataStart)
        {
            throw Broken($"tensor '{name}' ends at byte {offsets[1]} of the data", "an end within the file");
        }
        Entries.Add(name, new TensorEntry(name, dtype, shape, _dataStart + offsets[0], _dataStart + offsets[1]));
    }

    /// <summary>Null where the product does not fit 64 bits.</summary>
    private static long? BytesOf(long[] shape, int size)
    {
        try { return shape.Aggregate((long)size, (a, b) => checked(a * b)); }
        catch (OverflowException) { return null; }
    }

    private JsonElement Member(string tensor, JsonElement described, string name, JsonValueKind kind)
    {
        if (described.ValueKind != JsonValueKind.Object)
        {
            throw Broken($"tensor '{tensor}' that is {Kind(described)}", "{dtype, shape, data_offsets}");
        }
        if (!described.TryGetProperty(name, out JsonElement member))
        {
            throw Broken($"tensor '{tensor}' without '{name}'", "{dtype, shape, data_offsets}");
        }
        return member.ValueKind == kind ? member : throw Broken($"tensor '{tensor}' with '{name}' that is {Kind(member)}",
            $"{kind}".ToLowerInvariant());
    }

    private long[] Lengths(string tensor, string member, JsonElement array)
    {
        long[] lengths = new long[array.GetArrayLength()];
        int at = 0;
        foreach (JsonElement item in array.EnumerateArray())
        {
            bool isLength = item.ValueKind == JsonValueKind.Number && item.TryGetInt64(out lengths[at]) && lengths[at] >= 0;
            if (!isLength)
            {
                throw Broken($"tensor '{tensor}' with {item.GetRawText()} in '{member}'", "whole numbers from 0 up, within 64 bits");
            }
            at++;
        }
        return lengths;
    }

    /// <summary>From the first byte of the data to the last, each byte is one tensor's.</summary>
    private void CheckLayout(long dataLength)
    {
        long end = _dataStart;
        string before = "the header";
        foreach (TensorEntry entry in Entries.Values.OrderBy(e => e.Begin).ThenBy(e => e.End))
        {
            if (entry.Begin < end)
            {
                throw Broken($"tensor '{entry.Name}' begins at byte {entry.Begin}, inside of '{before}'",
                    $"a begin at byte {end}: tensors do not overlap");
            }
            if (entry.Begin > end)
            {
                throw Broken($"tensor '{entry.Name}' begins at byte {entry.Begin}, {entry.Begin - end} bytes after "
                + $"{before}", $"a begin at byte {end}: tensors leave no gap");
            }
            if (entry.End - _dataStart > dataLength)
            {
                throw Broken($"tensor '{entry.Name}' ends at byte {entry.End} of "
                + $"{_dataStart + dataLength}", "all of its data");
            }
            end = entry.End;
            before = entry.Name;
        }
        if (end - _dataStart != dataLength)
        {
            throw Broken($"{dataLength - (end - _dataStart)} bytes after the last tensor, '{before}'", "a file that ends with it");
        }
    }

    private static string Kind(JsonElement element) => element.ValueKind is JsonValueKind.Null ? "null"
        : $"of kind {element.ValueKind}".ToLowerInvariant();

    private InvalidInputException Broken(string found, string expected) => SafetensorsFile.Broken(_path, found, expected);
}

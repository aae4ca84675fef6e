using System.Buffers.Binary;
using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using ArmoFlow.RewardModel.Files;
using Microsoft.Win32.SafeHandles;
using TorchSharp;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Tensors;

/// <summary>One tensor of a safetensors file, as its header describes it; offsets are bytes from the start of the file.</summary>
public sealed record TensorEntry(string Name, string DType, long[] Shape, long Begin, long End);

/// <summary>
/// Reads the safetensors layout (8-byte little-endian header length, JSON header, raw row-major data).
/// Opening a 16 GB checkpoint costs its header. Rows are copied from a map of the file, whole tensors are read.
/// </summary>
public sealed class SafetensorsFile : IDisposable
{
    private const long LargestHeader = 100_000_000; // the reference implementation's own limit
    private const long LargestRead = 1 << 28;
    private readonly SafeFileHandle _file;
    private readonly MemoryMappedFile? _map;
    private readonly MemoryMappedViewAccessor? _view;

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>Its size, in bytes.</summary>
    public long Bytes { get; }

    /// <summary>Name → tensor, of all it holds.</summary>
    public IReadOnlyDictionary<string, TensorEntry> Entries { get; }

    /// <summary>The texts of its header.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Opens a file and reads its header.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="InvalidInputException">The file is missing, truncated, or its header does not describe its data.</exception>
    public SafetensorsFile(string path)
    {
        Path = path;
        InputFile.Require(path, "a safetensors file", "Check the path.");
        long size = RegularFile.Length(path);
        Bytes = size;
        if (size < sizeof(long)) throw Broken(path, $"{size} bytes", "at least an 8-byte header length");
        _file = File.OpenHandle(path);
        try
        {
            SafetensorsHeader header = ReadHeader();
            (Entries, Metadata) = (header.Entries, header.Metadata);
            if (Entries.Count == 0) return;
            _map = MemoryMappedFile.CreateFromFile(_file, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
            _view = _map.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    private SafetensorsHeader ReadHeader()
    {
        Span<byte> prefix = stackalloc byte[sizeof(long)];
        ReadFile(0, prefix);
        long length = BinaryPrimitives.ReadInt64LittleEndian(prefix);
        if (length is < 2 or > LargestHeader || length > Bytes - sizeof(long))
        {
            throw Broken(Path, $"a header of {length} bytes in a file of {Bytes}",
                $"a header that fits the file, of at most {LargestHeader} bytes");
        }
        byte[] json = new byte[length];
        ReadFile(sizeof(long), json);
        return new SafetensorsHeader(Path, json, sizeof(long) + length, Bytes - sizeof(long) - length);
    }

    /// <summary>A tensor by its name.</summary>
    /// <param name="name">The name.</param>
    /// <exception cref="InvalidInputException">There is none of that name.</exception>
    public TensorEntry Entry(string name) => Entries.TryGetValue(name, out TensorEntry? entry) ? entry
        : throw new InvalidInputException(Path, $"no tensor '{name}' (it has {string.Join(", ", Entries.Keys.Take(8))})",
            $"a tensor '{name}'", "Check that this is the right file.");

    /// <summary>Copies a tensor out, in its stored type and on the CPU.</summary>
    public Tensor Load(string name)
    {
        TensorEntry entry = Entry(name);
        Tensor tensor = empty(entry.Shape, dtype: DTypes.ToTorch(entry.DType));
        Read(entry, tensor);
        return tensor;
    }

    /// <summary>Copies a tensor into another of its shape, whatever the other's type and device.</summary>
    public void Load(string name, Tensor into)
    {
        TensorEntry entry = Entry(name);
        bool isPlain = into.dtype == DTypes.ToTorch(entry.DType) && into.device.type == DeviceType.CPU && into.is_contiguous();
        if (isPlain)
        {
            Read(entry, into);
            return;
        }
        using Tensor stored = Load(name);
        into.copy_(stored);
    }

    /// <remarks>The file is read and not mapped: pages of the map would count as memory beside the copy.</remarks>
    private void Read(TensorEntry entry, Tensor into)
    {
        using Tensor flat = into.view(-1);
        long count = flat.shape[0], size = into.element_size(), most = LargestRead / size; // a span ends at 2 GiB
        for (long from = 0; from < count; from += most)
        {
            using Tensor part = flat.narrow(0, from, Math.Min(most, count - from));
            ReadFile(entry.Begin + (from * size), part.bytes);
        }
    }

    /// <summary>A tensor that must hold floats.</summary>
    /// <exception cref="InvalidInputException">There is none of that name, or it holds whole numbers.</exception>
    public TensorEntry FloatEntry(string name)
    {
        TensorEntry entry = Entry(name);
        return DTypes.IsFloat(entry.DType) ? entry : throw new InvalidInputException($"{Path} tensor '{name}'",
            $"elements of type {entry.DType}", DTypes.Floats, "Convert the tensor to a float type, or check that this is the right file.");
    }

    /// <summary>Copies a float tensor out as float32 values, row-major.</summary>
    /// <exception cref="InvalidInputException">There is none of that name, or it holds whole numbers.</exception>
    public float[] LoadFloats(string name)
    {
        FloatEntry(name);
        using Tensor stored = Load(name);
        using Tensor converted = stored.to(ScalarType.Float32);
        return converted.data<float>().ToArray();
    }

    /// <summary>Copies a float tensor of two dimensions out.</summary>
    /// <param name="name">The tensor's name.</param>
    /// <exception cref="InvalidInputException">There is none of that name, it holds whole numbers, or it is no matrix.</exception>
    public Matrix LoadMatrix(string name)
    {
        TensorEntry entry = FloatEntry(name);
        if (entry.Shape is not [> 0, > 0])
        {
            throw new InvalidInputException(Path, $"tensor '{name}' of shape [{string.Join(", ", entry.Shape)}]",
                "a matrix, of two dimensions", "Check that this is the right file.");
        }
        return Matrix.Of(LoadFloats(name), (int)entry.Shape[1]);
    }

    /// <summary>Copies one row (index along dimension 0) of an F32 tensor into <paramref name="into"/>.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The tensor has no such row of this length.</exception>
    public void ReadRow(TensorEntry entry, long row, Span<float> into)
    {
        long begin = checked(entry.Begin + (row * into.Length * sizeof(float)));
        bool isWithin = row >= 0 && begin + ((long)into.Length * sizeof(float)) <= entry.End;
        if (!isWithin)
        {
            throw new ArgumentOutOfRangeException(nameof(row), row,
                $"{Path}: tensor '{entry.Name}' has no such row of {into.Length} elements");
        }
        ReadBytes(begin, MemoryMarshal.AsBytes(into));
    }

    private void ReadFile(long offset, Span<byte> into)
    {
        for (int done = 0; done < into.Length;)
        {
            int read = RandomAccess.Read(_file, into[done..], offset + done);
            if (read == 0) throw Broken(Path, $"an end at byte {offset + done}", $"{Bytes} bytes, as when it was opened");
            done += read;
        }
    }

    private unsafe void ReadBytes(long offset, Span<byte> into)
    {
        if (into.Length == 0) return;
        byte* pointer = null;
        _view!.SafeMemoryMappedViewHandle.AcquirePointer(ref pointer);
        try { new ReadOnlySpan<byte>(pointer + _view.PointerOffset + offset, into.Length).CopyTo(into); }
        finally { _view.SafeMemoryMappedViewHandle.ReleasePointer(); }
    }

    internal static InvalidInputException Broken(string path, string found, string expected) =>
        new(path, $"not a whole safetensors file: {found}", expected, "The file is damaged or half-copied; fetch it again.");

    /// <inheritdoc/>
    public void Dispose()
    {
        _view?.Dispose();
        _map?.Dispose();
        _file.Dispose();
    }

    /// <summary>Writes tensors in the given order, beside the target and then renamed; same input, same bytes.</summary>
    public static void Write(string path, IReadOnlyList<(string Name, Tensor Value)> tensors,
        IReadOnlyDictionary<string, string>? metadata = null)
    {
        using MemoryStream json = Header(tensors, metadata);
        while ((json.Length + 8) % 8 != 0) json.WriteByte((byte)' ');
        AtomicFile.Write(path, stream =>
        {
            Span<byte> prefix = stackalloc byte[8];
            BinaryPrimitives.WriteInt64LittleEndian(prefix, json.Length);
            stream.Write(prefix);
            json.WriteTo(stream);
            foreach ((_, Tensor value) in tensors)
            {
                using DisposeScope scope = NewDisposeScope(); // what is made on the way lives until it is read
                Tensor flat = value.detach().cpu().contiguous();
                if (flat.numel() > 0) stream.Write(flat.bytes);
            }
        });
    }

    /// <summary>The header: each tensor's type, shape and place.</summary>
    private static MemoryStream Header(IReadOnlyList<(string Name, Tensor Value)> tensors, IReadOnlyDictionary<string, string>? metadata)
    {
        MemoryStream json = new();
        using Utf8JsonWriter writer = new(json);
        writer.WriteStartObject();
        if (metadata is { Count: > 0 })
        {
            writer.WriteStartObject("__metadata__");
            foreach ((string key, string value) in metadata.OrderBy(x => x.Key, StringComparer.Ordinal)) writer.WriteString(key, value);
            writer.WriteEndObject();
        }
        long offset = 0;
        foreach ((string name, Tensor value) in tensors)
        {
            long bytes = value.numel() * value.element_size();
            writer.WriteStartObject(name);
            writer.WriteString("dtype", DTypes.FromTorch(value.dtype));
            writer.WriteStartArray("shape");
            foreach (long n in value.shape) writer.WriteNumberValue(n);
            writer.WriteEndArray();
            writer.WriteStartArray("data_offsets");
            writer.WriteNumberValue(offset);
            writer.WriteNumberValue(offset += bytes);
            writer.WriteEndArray();
            writer.WriteEndObject();
        }
        writer.WriteEndObject();
        writer.Flush();
        return json;
    }
}

/// <summary>The element types of the safetensors format that we read and write.</summary>
internal static class DTypes
{
    private static readonly (string Name, ScalarType Type, int Size)[] Known =
    [
        ("F64", ScalarType.Float64, 8), ("F32", ScalarType.Float32, 4), ("F16", ScalarType.Float16, 2), ("BF16", ScalarType.BFloat16, 2),
        ("I64", ScalarType.Int64, 8), ("I32", ScalarType.Int32, 4), ("U8", ScalarType.Byte, 1), ("BOOL", ScalarType.Bool, 1),
    ];

    /// <summary>The names of the float types, for errors.</summary>
    public static string Floats { get; } = string.Join(", ", Known.Where(x => IsFloatingPoint(x.Type)).Select(x => x.Name));

    public static bool IsFloat(string name) => Known.Any(x => x.Name == name && IsFloatingPoint(x.Type));
    public static int Size(string name, string path) => Find(name, path).Size;
    public static int Size(ScalarType type) => Known.First(x => x.Type == type).Size;
    public static ScalarType ToTorch(string name) => Find(name, name).Type;
    public static string FromTorch(ScalarType type) => Known.First(x => x.Type == type).Name;

    private static bool IsFloatingPoint(ScalarType type) =>
        type is ScalarType.Float64 or ScalarType.Float32 or ScalarType.Float16 or ScalarType.BFloat16;

    private static (string Name, ScalarType Type, int Size) Find(string name, string place)
    {
        foreach ((string Name, ScalarType Type, int Size) known in Known)
            if (known.Name == name) return known;
        throw new InvalidInputException(place, $"element type '{name}'", string.Join(", ", Known.Select(x => x.Name)),
            "Convert the file to a supported type.");
    }
}

/// <summary>Writes a file beside its target and renames it, so that no reader and no crash ever sees half of it.</summary>
public static class AtomicFile
{
    /// <summary>Writes a file whole or not at all.</summary>
    /// <param name="path">The file.</param>
    /// <param name="write">Writes its contents.</param>
    /// <exception cref="InvalidInputException">There is something else than a regular file, such as a device, in the target's
    /// place.</exception>
    public static void Write(string path, Action<Stream> write)
    {
        string beside = Beside(path);
        try
        {
            using (FileStream stream = Create(beside))
            {
                write(stream);
                stream.Flush(flushToDisk: true);
            }
            File.Move(beside, path, overwrite: true);
        }
        finally
        {
            if (File.Exists(beside)) File.Delete(beside);
        }
    }

    /// <summary>The same for contents that are awaited.</summary>
    /// <param name="path">The file.</param>
    /// <param name="write">Writes its contents.</param>
    /// <exception cref="InvalidInputException">There is something else than a regular file, such as a device, in the target's
    /// place.</exception>
    public static async Task Write(string path, Func<Stream, Task> write)
    {
        string beside = Beside(path);
        try
        {
            await using (FileStream stream = Create(beside))
            {
                await write(stream);
                stream.Flush(flushToDisk: true);
            }
            File.Move(beside, path, overwrite: true);
        }
        finally
        {
            if (File.Exists(beside)) File.Delete(beside);
        }
    }

    private static string Beside(string path)
    {
        if (RegularFile.OtherKind(path) is { } kind)
            throw new InvalidInputException(path, kind, "a file, or a name that is free", "Name another file to write.");
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(path))!);
        return $"{path}.{Environment.ProcessId}.{Guid.NewGuid():N}.partial";
    }

    private static FileStream Create(string beside) => new(beside, FileMode.CreateNew, FileAccess.Write, FileShare.None, 1 << 16);

    /// <summary>Writes a text as UTF-8.</summary>
    /// <param name="path">The file.</param>
    /// <param name="text">Its contents.</param>
    public static void WriteText(string path, string text) => Write(path, stream => stream.Write(Encoding.UTF8.GetBytes(text)));
}

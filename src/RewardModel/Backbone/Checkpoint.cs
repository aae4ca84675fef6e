using System.Text.Json;
using ArmoFlow.RewardModel.Files;
using ArmoFlow.RewardModel.Tensors;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Backbone;

/// <summary>The tensors of a checkpoint folder: one safetensors file, or shards with an index.</summary>
public sealed class Checkpoint : IDisposable
{
    private readonly Dictionary<string, SafetensorsFile> _files = [];
    private readonly Dictionary<string, string> _fileOf = new(StringComparer.Ordinal);

    public string Folder { get; }

    /// <exception cref="InvalidInputException">A file is missing or damaged.</exception>
    public Checkpoint(string folder)
    {
        Folder = folder;
        string index = Path.Combine(folder, "model.safetensors.index.json"), single = Path.Combine(folder, "model.safetensors");
        if (File.Exists(index))
        {
            try
            {
                using JsonDocument document = JsonDocument.Parse(InputFile.ReadSmall(index, "tensor name → shard file", "Fetch the checkpoint again."));
                foreach (JsonProperty entry in document.RootElement.GetProperty("weight_map").EnumerateObject()) _fileOf[entry.Name] = entry.Value.GetString()!;
            }
            catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException)
            {
                throw new InvalidInputException(index, "no weight_map", "tensor name → shard file", "The file is damaged; fetch it again.");
            }
            foreach (string name in _fileOf.Values.Distinct().Order(StringComparer.Ordinal))
            {
                string path = Path.Combine(folder, name);
                if (!File.Exists(path)) throw new InvalidInputException(path, "the shard is missing", $"every file that {Path.GetFileName(index)} names", "Fetch the rest of the checkpoint.");
                _files[name] = new SafetensorsFile(path);
            }
        }
        else if (File.Exists(single))
        {
            _files["model.safetensors"] = new SafetensorsFile(single);
            foreach (string name in _files["model.safetensors"].Entries.Keys) _fileOf[name] = "model.safetensors";
        }
        else
        {
            throw new InvalidInputException(folder, "no model.safetensors and no model.safetensors.index.json", "a Hugging Face checkpoint in safetensors", "Check 'backbone.path'.");
        }
    }


    /// <summary>Tensor name → name of the file that holds it.</summary>
    public IReadOnlyDictionary<string, string> Files => _fileOf;

    public SafetensorsFile FileOf(string tensor) => _fileOf.TryGetValue(tensor, out string? file) ? _files[file] : throw Missing(tensor);
    public long Bytes => _files.Values.Sum(f => new FileInfo(f.Path).Length);

    /// <summary>Loads a tensor after checking its shape.</summary>
    public Tensor Load(string name, params long[] shape)
    {
        Require(name, shape);
        return FileOf(name).Load(name);
    }

    /// <summary>Checks that a float tensor is there and has this shape, without reading it.</summary>
    public void Require(string name, params long[] shape)
    {
        SafetensorsFile file = FileOf(name);
        TensorEntry entry = file.FloatEntry(name);
        if (!entry.Shape.SequenceEqual(shape))
            throw new InvalidInputException(file.Path, $"tensor '{name}' of shape [{string.Join(", ", entry.Shape)}]", $"[{string.Join(", ", shape)}] by config.json", "The checkpoint and its config.json do not belong together.");
    }

    private InvalidInputException Missing(string tensor) =>
        new(Folder, $"no tensor '{tensor}'", "all tensors of the architecture that config.json names", "The checkpoint is incomplete or of another architecture.");

    /// <summary>What the folder is known by: sha256 over everything of it that decides a feature.</summary>
    /// <exception cref="InvalidInputException">One of its files is no regular file.</exception>
    public static string Digest(string folder, CancellationToken cancel = default)
    {
        foreach (string path in BackboneDigest.Files(folder)) InputFile.Require(path, "a file of the checkpoint", "Fetch the checkpoint again.");
        return BackboneDigest.Of(folder, cancel);
    }

    public void Dispose()
    {
        foreach (SafetensorsFile file in _files.Values) file.Dispose();
    }
}

using System.Text.Json;
using ArmoFlow.RewardModel.Files;
using ArmoFlow.RewardModel.Tensors;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Backbone;

/// <summary>The tensors of a checkpoint folder: one safetensors file, or shards with an index.</summary>
public sealed class Checkpoint : IDisposable
{
    private const string Prefix = "model.", AnyEmbedding = "embed_tokens.weight";
    private const string Single = "model.safetensors", Index = "model.safetensors.index.json";
    private readonly Dictionary<string, SafetensorsFile> _files = [];
    private readonly Dictionary<string, string> _fileOf;
    private readonly string _prefix;

    /// <summary>The folder that was opened.</summary>
    public string Folder { get; }

    /// <summary>Opens a folder and reads the headers of its files.</summary>
    /// <param name="folder">config.json and safetensors.</param>
    /// <exception cref="InvalidInputException">A file is missing or damaged.</exception>
    public Checkpoint(string folder)
    {
        Folder = folder;
        RequireNoAdapter(folder);
        string single = Path.Combine(folder, Single);
        Dictionary<string, string>? index = IndexOf(folder);
        // Before an index, as transformers has it, but for one that is of several files itself: ours exported such.
        if (File.Exists(single) && index?.ContainsValue(Single) != true)
        {
            _files[Single] = new SafetensorsFile(single);
            _fileOf = _files[Single].Entries.Keys.ToDictionary(name => name, _ => Single, StringComparer.Ordinal);
        }
        else if (index is not null)
        {
            _fileOf = index;
            foreach (string name in _fileOf.Values.Distinct().Order(StringComparer.Ordinal))
            {
                string path = Path.Combine(folder, name);
                if (!File.Exists(path))
                {
                    throw new InvalidInputException(path, "the shard is missing", $"every file that {Index} names",
                        "Fetch the rest of the checkpoint.");
                }
                _files[name] = new SafetensorsFile(path);
            }
        }
        else
        {
            throw new InvalidInputException(folder, $"no {Single} and no {Index}",
                "a Hugging Face checkpoint in safetensors", "Check 'backbone.path'.");
        }
        _prefix = PrefixOf(_fileOf.Keys);
    }

    /// <summary>Tensor name → shard, as the folder's index says; null where there is none.</summary>
    /// <exception cref="InvalidInputException">The index is damaged.</exception>
    private static Dictionary<string, string>? IndexOf(string folder)
    {
        string index = Path.Combine(folder, Index);
        return !File.Exists(index) ? null
            : SmallJson.Read(index, "weight_map: tensor name → shard file", "Fetch the checkpoint again.",
                root => root.GetProperty("weight_map")
                    .EnumerateObject()
                    .ToDictionary(e => e.Name, e => FileName(e.Value), StringComparer.Ordinal));
    }

    /// <summary>Weights that are meant to be changed by an adapter are another model without it.</summary>
    private static void RequireNoAdapter(string folder)
    {
        string adapter = Path.Combine(folder, "adapter_config.json");
        if (!File.Exists(adapter)) return;
        throw new InvalidInputException(adapter, "an adapter (LoRA) beside the weights", "weights that it was merged into",
            "Merge it (peft: merge_and_unload, save_pretrained), or take the adapter's files away if it is not meant.");
    }

    /// <summary>A shard lies beside its index.</summary>
    private static string FileName(JsonElement value)
    {
        string name = value.GetString() ?? "";
        return name.Length > 0 && name == Path.GetFileName(name) ? name : throw new FormatException();
    }

    /// <summary>Tensor name, as stored → name of the file that holds it.</summary>
    public IReadOnlyDictionary<string, string> Files => _fileOf;

    /// <summary>The file that holds a tensor.</summary>
    /// <exception cref="InvalidInputException">There is none of that name.</exception>
    public SafetensorsFile FileOf(string tensor) =>
        _fileOf.TryGetValue(StoredName(tensor), out string? file) ? _files[file] : throw Missing(tensor);

    /// <summary>
    /// What a tensor is called in its file: a model that was saved without its head lacks the prefix, and one within another has a
    /// longer one.
    /// </summary>
    public string StoredName(string tensor)
    {
        bool isOwn = _fileOf.ContainsKey(tensor) || !tensor.StartsWith(Prefix, StringComparison.Ordinal);
        return isOwn ? tensor : _prefix + tensor[Prefix.Length..];
    }

    /// <summary>What stands before the names of the model's tensors: what stands before those of its embedding, the only one.</summary>
    private static string PrefixOf(IEnumerable<string> tensors)
    {
        string[] found = [.. tensors.Where(IsEmbedding)];
        return found.Length == 1 ? found[0][..^AnyEmbedding.Length] : Prefix;
    }

    private static bool IsEmbedding(string tensor) =>
        tensor == AnyEmbedding || tensor.EndsWith("." + AnyEmbedding, StringComparison.Ordinal);

    /// <summary>The type that a tensor is stored in.</summary>
    public ScalarType TypeOf(string tensor) => DTypes.ToTorch(FileOf(tensor).FloatEntry(StoredName(tensor)).DType);

    /// <summary>The size of all its safetensors files, in bytes.</summary>
    public long Bytes => _files.Values.Sum(f => f.Bytes);

    /// <summary>Loads a tensor after checking its shape.</summary>
    public Tensor Load(string name, params long[] shape)
    {
        Require(name, shape);
        return FileOf(name).Load(StoredName(name));
    }

    /// <summary>Loads a tensor into another of its shape, after checking that.</summary>
    public void Load(string name, Tensor into)
    {
        Require(name, into.shape);
        FileOf(name).Load(StoredName(name), into);
    }

    /// <summary>Checks that a float tensor is there and has this shape, without reading it.</summary>
    public void Require(string name, params long[] shape)
    {
        SafetensorsFile file = FileOf(name);
        TensorEntry entry = file.FloatEntry(StoredName(name));
        if (!entry.Shape.SequenceEqual(shape))
        {
            throw new InvalidInputException(file.Path, $"tensor '{name}' of shape [{string.Join(", ", entry.Shape)}]",
                $"[{string.Join(", ", shape)}] by config.json", "The checkpoint and its config.json do not belong together.");
        }
    }

    /// <summary>Checks the tensors against their configuration, without reading them.</summary>
    /// <param name="config">The folder's config.json.</param>
    /// <exception cref="InvalidInputException">One is missing or of another shape, or a layer has one that is not read.</exception>
    public void Require(BackboneConfig config)
    {
        IReadOnlyDictionary<string, long[]> shapes = config.Shapes;
        foreach ((string name, long[] shape) in shapes) Require(name, shape);
        HashSet<string> stored = [.. shapes.Keys.Select(StoredName)];
        string? other = _fileOf.Keys.FirstOrDefault(name => IsOfLayer(name) && !stored.Contains(name));
        if (other is null) return;
        throw new InvalidInputException(Folder, $"a tensor '{other}'",
            $"those of {config.NumHiddenLayers} layers, as config.json says",
            "The weights and their config.json do not belong together, or are of an architecture that is not read here.");
    }

    /// <summary>Old checkpoints hold the rotary frequencies too, which config.json gives.</summary>
    private bool IsOfLayer(string tensor) =>
        tensor.StartsWith(_prefix + "layers.", StringComparison.Ordinal)
            && !tensor.EndsWith(".rotary_emb.inv_freq", StringComparison.Ordinal);

    private InvalidInputException Missing(string tensor) =>
        new(Folder, $"no tensor '{tensor}'", "all tensors of the architecture that config.json names",
            "The checkpoint is incomplete or of another architecture.");

    /// <summary>What the folder is known by: sha256 over everything of it that decides a feature.</summary>
    /// <exception cref="InvalidInputException">One of its files is no regular file.</exception>
    public static string Digest(string folder, CancellationToken cancel = default)
    {
        RequireFiles(folder);
        return BackboneDigest.Of(folder, cancel);
    }

    private static void RequireFiles(string folder)
    {
        foreach (string path in BackboneDigest.Files(folder))
            InputFile.Require(path, "a file of the checkpoint", "Fetch the checkpoint again.");
    }

    /// <summary>
    /// A text that changes whenever the folder's digest may have changed: a link counts as what it leads to, and a file that was
    /// put in another's place is another, whatever its size and times are.
    /// </summary>
    /// <exception cref="InvalidInputException">One of its files is no regular file.</exception>
    public static string Stamp(string folder)
    {
        RequireFiles(folder);
        return string.Join('|', BackboneDigest.Files(folder).Select(path => $"{Path.GetFileName(path)}:{RegularFile.Stamp(path)}"));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (SafetensorsFile file in _files.Values) file.Dispose();
    }
}

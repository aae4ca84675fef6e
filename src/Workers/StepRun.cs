using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Features;
using ArmoFlow.Persistence.Models;
using ArmoFlow.Persistence.Steps;
using ArmoFlow.Persistence.Work;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Tensors;
using MassTransit;
using static TorchSharp.torch;

namespace ArmoFlow.Workers;

/// <summary>What every step's consumer is given.</summary>
public sealed record StepServices(
    ArtifactStore Artifacts,
    StepStore Steps,
    FeatureIndex Features,
    StepClaims Claims,
    WorkStore Work,
    ScratchSpace Scratch,
    RunningWork Running,
    ThisWorker Worker,
    IBus Bus,
    BackboneStore Backbones);

/// <summary>What a step's key is made of: its parameters and the hashes of what it reads.</summary>
public sealed record StepPlan(object Parameters, IReadOnlyDictionary<string, ArtifactRef> Inputs);

/// <summary>What one slice of a step's work came to.</summary>
public abstract record StepWork
{
    private StepWork() { }

    /// <summary>There is more to do: the step sends itself the next slice.</summary>
    public static StepWork More { get; } = new Unfinished();

    /// <summary>Other messages do the rest, and the last of them asks for the step again.</summary>
    public static StepWork Elsewhere { get; } = new HandedOut();

    /// <summary>The step is finished.</summary>
    /// <param name="Outputs">The artifacts that it made, by name.</param>
    /// <param name="Detail">One line for a reader.</param>
    /// <param name="Metrics">Its figures for the run's document.</param>
    public sealed record Done(IReadOnlyDictionary<string, ArtifactRef> Outputs, string Detail, object Metrics) : StepWork;

    private sealed record Unfinished : StepWork;

    private sealed record HandedOut : StepWork;
}

/// <summary>One slice of one step of one run: its inputs, its scratch folder, and where it tells its progress.</summary>
public sealed class StepRun(string step, StepCommand command, RunSpec spec, StepServices services, WorkLog log, CancellationToken cancel)
{
    private static readonly TimeSpan ProgressInterval = TimeSpan.FromMilliseconds(200), LogInterval = TimeSpan.FromSeconds(5);
    private long _lastProgress, _lastLogged;

    public static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web)
    {
        WriteIndented = true,
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping
    };

    public Guid Id => command.RunId;
    public int Attempt => command.Attempt;
    public RunSpec Spec => spec;

    /// <summary>What later commands of the step name the spec by.</summary>
    public string SpecDigest => command.SpecDigest;
    public Dictionary<string, ArtifactRef> AllInputs => command.Inputs;
    public CancellationToken Cancel => cancel;
    public StepServices Services => services;
    public WorkLog Log => log;
    public StepKey Key { get; set; }

    /// <summary>The spec's objectives, or the paper's.</summary>
    public IReadOnlyList<string> Objectives => Spec.Objectives.Count > 0 ? Spec.Objectives : RatedFormats.PaperObjectives;

    /// <summary>A folder of this key alone, for what must outlive a slice; removed when the step is finished.</summary>
    public string Scratch => services.Scratch.FolderOf(Key);

    /// <summary>A file of the scratch folder, whichever worker kept it; null if none did.</summary>
    public Task<string?> Recall(string name) => services.Scratch.Recall(Key, name, cancel);

    /// <summary>Makes a file of the scratch folder known to other workers.</summary>
    public Task Keep(string name) => services.Scratch.Keep(Key, name, cancel);

    /// <summary>A new folder of this piece of work alone: whoever else does the same step, dead or alive, writes elsewhere.</summary>
    public OwnFolder MakeOwnFolder() => services.Scratch.MakeOwnFolder(services.Worker.Id);

    /// <summary>A local file with an input's bytes.</summary>
    public Task<string> Open(string artifact) => services.Artifacts.Open(command.Inputs[artifact].Sha256, cancel);

    /// <summary>Reads an input. One that cannot be read, though its bytes are those that were entered, is made anew.</summary>
    /// <exception cref="ArtifactLostException">It is missing, altered, or of no use.</exception>
    public async Task<T> Read<T>(string artifact, Func<string, Task<T>> read)
    {
        string path = await Open(artifact);
        try { return await read(path); }
        catch (Exception e) when (IsOfContent(e)) { throw Unreadable(artifact, e); }
    }

    /// <summary>The same for an input that is read item by item.</summary>
    /// <exception cref="ArtifactLostException">It is missing, altered, or of no use.</exception>
    public async IAsyncEnumerable<T> ReadEach<T>(string artifact, Func<string, IAsyncEnumerable<T>> read)
    {
        await using IAsyncEnumerator<T> items = read(await Open(artifact)).GetAsyncEnumerator(cancel);
        while (true)
        {
            try
            {
                if (!await items.MoveNextAsync()) yield break;
            }
            catch (Exception e) when (IsOfContent(e)) { throw Unreadable(artifact, e); }
            yield return items.Current;
        }
    }

    public Task<T> OpenJson<T>(string artifact) => Read(artifact, async path =>
    {
        await using FileStream stream = File.OpenRead(path);
        return (await JsonSerializer.DeserializeAsync<T>(stream, Json, cancel))!;
    });

    /// <summary>An input that holds tensors, open.</summary>
    public Task<SafetensorsFile> OpenTensors(string artifact) => Read(artifact, path => Task.FromResult(new SafetensorsFile(path)));

    /// <summary>An input that is not what it should be.</summary>
    public ArtifactLostException Unreadable(string artifact, string what) =>
        new(command.Inputs[artifact].Sha256, $"'{artifact}' cannot be used: {what}");

    private ArtifactLostException Unreadable(string artifact, Exception e) => Unreadable(artifact, $"{e.GetType().Name}: {e.Message}");

    /// <summary>True for what the content is at fault for, as against the disk, the memory, or who asks to stop.</summary>
    private static bool IsOfContent(Exception e) =>
        e is EndOfStreamException or not (IOException or UnauthorizedAccessException or OutOfMemoryException or OperationCanceledException);

    public Task<ArtifactRef> Put(Action<string> write) => services.Artifacts.Put(path =>
    {
        write(path);
        return Task.CompletedTask;
    }, cancel);

    /// <summary>Puts tensors, once the file that holds them has been read back.</summary>
    public Task<ArtifactRef> PutTensors(IReadOnlyList<(string Name, Tensor Value)> tensors,
        IReadOnlyDictionary<string, string>? metadata = null) => Put(path =>
    {
        SafetensorsFile.Write(path, tensors, metadata);
        using SafetensorsFile written = new(path);
        foreach ((string name, Tensor value) in tensors)
        {
            if (!written.Entry(name).Shape.SequenceEqual(value.shape))
                throw new IOException($"{path}: tensor '{name}' was not written whole");
        }
    });

    public Task<ArtifactRef> PutJson(object value) => services.Artifacts.PutText(JsonSerializer.Serialize(value, Json) + "\n", cancel);

    public Dictionary<string, ArtifactRef> Inputs(params string[] names) => names.ToDictionary(n => n, n => command.Inputs[n]);

    /// <summary>Publishes progress, a few times a second at most, and writes it down every few seconds.</summary>
    public void Progress(string unit, long done, long total)
    {
        if (done == total || Stopwatch.GetElapsedTime(_lastLogged) >= LogInterval)
        {
            _lastLogged = Stopwatch.GetTimestamp();
            log.Write($"{done} of {total} {unit}");
        }
        if (done < total && Stopwatch.GetElapsedTime(_lastProgress) < ProgressInterval) return;
        _lastProgress = Stopwatch.GetTimestamp();
        _ = services.Bus.Publish(new StepProgressed
        {
            RunId = command.RunId,
            Step = step,
            Unit = unit,
            Done = done,
            Total = total
        }, cancel);
    }

    public static StepKey KeyOf(string step, int version, object parameters, IReadOnlyDictionary<string, ArtifactRef> inputs)
    {
        string text = JsonSerializer.Serialize(new
        {
            step,
            version,
            parameters,
            inputs = inputs.OrderBy(i => i.Key, StringComparer.Ordinal).Select(i => new { i.Key, i.Value.Sha256 })
        }, Json);
        return new StepKey(Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text))));
    }
}

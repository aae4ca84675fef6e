using System.Diagnostics;
using System.Globalization;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Gating;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.RewardModel.Gating;
using ArmoFlow.RewardModel.Tensors;
using MassTransit;

namespace ArmoFlow.Workers.Gating;

/// <summary>Trains the gate on preference pairs, in slices from a checkpoint.</summary>
public sealed class GatingConsumer(
    StepServices services,
    TrainerCache trainers) : StepConsumer<TrainGating, GatingTrained>(services)
{
    private static readonly TimeSpan SliceTime = TimeSpan.FromSeconds(20);
    private const int StepsBetweenLooks = 10;
    private const string Checkpoint = "checkpoint.safetensors";

    private static GatingOptions Options(GatingSpec spec) => new()
    {
        Steps = spec.Steps,
        BatchSize = spec.BatchSize,
        LearningRate = spec.LearningRate,
        Beta = spec.Beta,
        Temperature = spec.Temperature,
        Hidden = spec.Hidden,
        Seed = (ulong)spec.Seed,
    };

    protected override Task<StepPlan> Plan(StepRun run) =>
        Task.FromResult(new StepPlan(new { run.Objectives, Options = Options(run.Spec.Gating), run.Spec.Decorrelation.Verbosity },
            run.Inputs(ArtifactNames.Preferences, ArtifactNames.Features, ArtifactNames.Regression, ArtifactNames.Decorrelation)));

    protected override async Task<StepWork> Work(StepRun run, ConsumeContext context)
    {
        GatingOptions options = Options(run.Spec.Gating);
        TrainerCache.Session session = await trainers.Get(run.Key, async () =>
        {
            PairTable pairs = await PairTable.Open(run);
            return new TrainerCache.Session(pairs, new GatingTrainer(pairs.ForGate, options));
        });
        // What was kept decides, not what is in memory: a slice cancelled half-way is done again from the last checkpoint.
        session.Trainer.Rewind(await run.Recall(Checkpoint));
        long start = Stopwatch.GetTimestamp();
        while (session.Trainer.Step < options.Steps && Stopwatch.GetElapsedTime(start) < SliceTime)
        {
            session.Trainer.Advance(session.Trainer.Step + StepsBetweenLooks,
                (step, loss) => run.Progress(string.Create(CultureInfo.InvariantCulture, $"steps, loss {loss:f4}"), step, options.Steps),
                run.Cancel);
        }
        session.Trainer.Save(Path.Combine(run.Scratch, Checkpoint));
        await run.Keep(Checkpoint);
        if (session.Trainer.Step < options.Steps) return StepWork.More;
        StepWork outcome = await Finish(run, session, options);
        trainers.Forget();
        return outcome;
    }

    /// <summary>Saves the gate, and reads it back.</summary>
    private static void Save(GatingNetwork gate, string path)
    {
        gate.Save(path);
        using SafetensorsFile written = new(path);
        _ = GatingNetwork.Load(written);
    }

    private static async Task<StepWork> Finish(StepRun run, TrainerCache.Session session, GatingOptions options)
    {
        GatingPairs pairs = session.Pairs.ForGate;
        GatingNetwork gate = session.Trainer.Network();
        PairScores scores = PairScores.Compute(pairs, gate);
        IReadOnlyList<int> training = pairs.Training, held = pairs.HeldOut;
        int verbosity = run.Objectives.ToList().IndexOf(run.Spec.Decorrelation.Verbosity);
        GateHealth health = GateHealth.Examine(scores, run.Objectives, session.Pairs.RawRewards(verbosity), held);
        GatingReport report = new()
        {
            Options = Figures.Of(options),
            TrainingPairs = training.Count,
            HeldOutPairs = held.Count,
            Straddling = pairs.Count - training.Count - held.Count,
            TrainingAccuracy = scores.Accuracy(training),
            HeldOutAccuracy = scores.Accuracy(held),
            Beta = gate.Beta,
            LossCurve = session.Trainer.LossCurve,
            Sources = Figures.Of(scores.BySource(pairs, run.Objectives)),
            Health = Figures.Of(health),
        };
        Dictionary<string, ArtifactRef> outputs = new()
        {
            [ArtifactNames.Gating] = await run.Put(path => Save(gate, path)),
            [ArtifactNames.GatingReport] = await run.PutJson(report)
        };
        if (health.NoSignal is { } noSignal) return new StepWork.Done(outputs, noSignal, report);
        string warnings = health.Warnings.Count == 0 ? "" : $"; gate health: {string.Join("; ", health.Warnings)}";
        return new StepWork.Done(outputs, string.Create(CultureInfo.InvariantCulture,
            $"held-out accuracy {(report.HeldOutAccuracy is { } accuracy ? accuracy.ToString("p1", CultureInfo.InvariantCulture) : "–")} "
                + $"on {held.Count:N0} pairs, trained on {training.Count:N0}, {options.Steps:N0} steps, β = {gate.Beta:f1}{warnings}"),
            report);
    }
}

/// <summary>Keeps the trainer and its data between slices of one step.</summary>
public sealed class TrainerCache : IDisposable
{
    private (StepKey Key, Session Session)? _last;

    public sealed record Session(PairTable Pairs, GatingTrainer Trainer) : IDisposable
    {
        public void Dispose()
        {
            Trainer.Dispose();
            Pairs.Dispose();
        }
    }

    public async Task<Session> Get(StepKey key, Func<Task<Session>> open)
    {
        if (_last is { } last && last.Key == key) return last.Session;
        Forget();
        Session session = await open();
        _last = (key, session);
        return session;
    }

    public void Forget()
    {
        _last?.Session.Dispose();
        _last = null;
    }

    public void Dispose() => Forget();
}

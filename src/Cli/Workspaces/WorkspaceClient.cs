using System.Diagnostics;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Scoring;
using ArmoFlow.Orchestrator.Clients;
using ArmoFlow.Orchestrator.Runs;
using ArmoFlow.Persistence.Retention;
using ArmoFlow.Persistence.Runs;
using ArmoFlow.RewardModel.Scoring;
using ArmoFlow.RewardModel.Text;
using Microsoft.Extensions.DependencyInjection;

namespace ArmoFlow.Cli.Workspaces;

/// <summary>
/// Answers from a workspace's records. What needs the saga is asked of the process that holds the workspace, or done in this one, which
/// then holds it until the client is disposed of.
/// </summary>
internal sealed class WorkspaceClient : RecordsClient
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(100);
    // the holder waits itself, and looks three times a second
    private static readonly TimeSpan AnswerWait = RunService.AnswerWait + TimeSpan.FromSeconds(5);
    private readonly string _folder;
    private readonly ServiceProvider _records;
    private EmbeddedHost? _host;

    private WorkspaceClient(string folder, ServiceProvider records) : base(records)
    {
        _folder = folder;
        _records = records;
    }

    protected override IServiceProvider Services => _host?.Services ?? _records;

    /// <exception cref="UsageException">There is no workspace, or it is of another version and cannot be brought to this one.</exception>
    public static async Task<WorkspaceClient> Open(string folder) => new(folder, await EmbeddedHost.OpenDatabase(folder));

    /// <summary>The same; a workspace that is not there is made.</summary>
    public static async Task<WorkspaceClient> OpenOrMake(string folder, CancellationToken cancel)
    {
        await EmbeddedHost.Make(folder, cancel);
        return await Open(folder);
    }

    public override async Task<Guid> Submit(string spec, string folder, CancellationToken cancel)
    {
        await Hold(cancel);
        return await base.Submit(spec, folder, cancel);
    }

    public override async Task<FiringDocument> RunNow(string name, CancellationToken cancel)
    {
        await Hold(cancel);
        return await base.RunNow(name, cancel);
    }

    /// <summary>Without the saga nobody could make a model anew.</summary>
    public override async Task<Forgetting> Forget(ForgetRequest request, CancellationToken cancel)
    {
        if (request.Retrain) throw NobodyRetrains();
        (Exclusion exclusion, ForgetPlan plan) =
            await Get<Redaction>().Forget(ForgettingStore.KindOf(request.Kind), request.Value, request.Reason, cancel);
        return new Forgetting(exclusion.ToDocument(), plan.UsedBy, [], plan);
    }

    /// <summary>What is said where nobody runs what would be submitted.</summary>
    public static UsageException NobodyRetrains() =>
        new("--retrain needs a server that runs what is submitted: --server URL. Without one, run the listed models' specs again.");

    public override async Task<ScoreAnswer> Score(ScoreRequest request, CancellationToken cancel)
    {
        ModelVersionDocument? version = request.Model is { } reference ? await FindVersion(reference, cancel) : null;
        using RunModel model = await RunModel.Load(this, version?.RunId ?? request.Run!.Value, null, cancel);
        Conversation[] conversations = [.. request.Items.Select((item, i) => Conversation.Create(
            item.Messages!.Select(m => new Message(m.Role, m.Content)), $"conversation {i + 1}"))];
        using ConversationScorer scorer = model.Scorer();
        Steering? steering = Steering.Parse(request.Steer, scorer.Model.Objectives);
        ScoreOutput[] scores = [.. scorer.Score(conversations, steering, cancel).Select(Output)];
        RunDocument run = model.Run;
        return new ScoreAnswer(version?.Model ?? run.Name, version?.Version, run.RunId, scores, [], RunSignal.Missing(run.Metrics));
    }

    /// <summary>A score as the API gives it.</summary>
    public static ScoreOutput Output(Explanation score) => new(score.Score,
        [.. score.Objectives.Select(o => new ScoredObjective(o.Objective, o.Reward, o.DebiasedReward, o.Coefficient, o.Contribution))],
        ScoreDifference.Tolerance * score.Magnitude);

    protected override async Task<object> Explain(Guid run, string prompt, string response, CancellationToken cancel)
    {
        using RunModel model = await RunModel.Load(this, run, null, cancel);
        using ConversationScorer scorer = model.Scorer();
        return scorer.Score([Conversation.Create(prompt, response, "--response")], null, cancel)[0];
    }

    public override async Task<RunDocument> Control(Guid id, RunAction action, CancellationToken cancel)
    {
        if (await EmbeddedHost.TryStart(_folder, cancel) is { } host)
        {
            await using (host)
            {
                RunDocument run =
                    await host.Services.GetRequiredService<RunService>().Control(id, action, cancel) ?? throw new UnknownRunException(id);
                if (action is not (RunAction.Resume or RunAction.Retry) || run.Pending is not null) return run;
                return await RunView.Follow(host.Services.GetRequiredService<RunWatch>().Changes(id, cancel));
            }
        }
        return await AskHolder(id, action, cancel);
    }

    private async Task<RunDocument> AskHolder(Guid id, RunAction action, CancellationToken cancel)
    {
        RunDocument before = await FindRun(id, cancel);
        if (before.HasEnded && action != RunAction.Retry) throw new RunConflictException(before, action);
        ControlRequestStore requests = Get<ControlRequestStore>();
        long request = await requests.Ask(id, action, cancel);
        RunStatus? wanted = RunService.StatusAfter(action);
        long start = Stopwatch.GetTimestamp();
        bool isHeard = false;
        RunDocument run = before;
        // A holder that is done with a run may leave before it says that it heard: the run's own state is an answer too.
        while (!isHeard && (wanted is null || run.Status != wanted) && Stopwatch.GetElapsedTime(start) < AnswerWait)
        {
            await Task.Delay(Interval, cancel);
            isHeard = await requests.IsDone(request, cancel);
            run = await FindRun(id, cancel);
        }
        if (isHeard && wanted is not null && run.HasEnded && run.Status != wanted) throw new RunConflictException(run, action);
        bool isDone = wanted is null ? isHeard : run.Status == wanted;
        // What has come about is not asked of the next process that works here.
        if (isDone && !isHeard) await requests.MarkDone(request, cancel);
        return isDone ? run : run with { Pending = action };
    }

    private async Task Hold(CancellationToken cancel) => _host ??= await EmbeddedHost.Start(_folder, cancel);

    public override async ValueTask DisposeAsync()
    {
        if (_host is not null) await _host.DisposeAsync();
        await _records.DisposeAsync();
        await base.DisposeAsync();
    }
}

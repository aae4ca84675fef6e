using ArmoFlow.Contracts;
using ArmoFlow.Persistence.Runs;
using ArmoFlow.Persistence.Work;
using Microsoft.Data.Sqlite;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Shouldly;
using Xunit;

namespace ArmoFlow.Persistence.Tests;

/// <summary>
/// Runs that need the same features at the same time. The database's own statements are run in every order in which transactions of
/// workers and saga can come, with a run that is cancelled and retried, work that is given up for lost though it goes on, and
/// processes that are killed between any two transactions. In no order may a run be left with nobody to work on it.
/// </summary>
public sealed class StepProtocolTests : IAsyncLifetime
{
    private const int Shards = 2;
    private static readonly StepKey Key = new("the key that both runs need");
    private static readonly Guid[] Runs =
    [
        new("aaaaaaaa-0000-0000-0000-000000000000"),
        new("bbbbbbbb-0000-0000-0000-000000000000"),
        new("cccccccc-0000-0000-0000-000000000000")
    ];

    private readonly SqliteConnection _connection = new("Data Source=:memory:");
    private readonly Dictionary<string, Rows> _known = [];
    private InMemoryDatabase _database = null!;

    public async ValueTask InitializeAsync()
    {
        await _connection.OpenAsync();
        _database = new InMemoryDatabase(_connection);
        await using ArmoFlowDbContext db = _database.CreateDbContext();
        await db.Database.EnsureCreatedAsync();
        foreach (Guid run in Runs)
        {
            db.Runs.Add(new RunState
            {
                CorrelationId = run,
                Spec = new Contracts.Specs.RunSpec { Name = "n", Folder = "/", Backbone = new("b"), Ratings = [], Preferences = [] }
            });
        }
        await db.SaveChangesAsync();
    }

    public ValueTask DisposeAsync() => _connection.DisposeAsync();

    [Fact]
    public async Task Two_runs_of_the_same_data_both_end_whatever_comes_first()
    {
        int states = await Explore(World.Of(runs: 2, new Budget(Cancels: 0, Losses: 0, Kills: 0)));
        states.ShouldBeGreaterThan(100);
    }

    [Fact]
    public async Task They_both_end_though_a_worker_is_killed_at_any_moment()
    {
        int states = await Explore(World.Of(runs: 2, new Budget(Cancels: 0, Losses: 0, Kills: 1)) with { Shards = 1 });
        states.ShouldBeGreaterThan(500);
    }

    [Fact]
    public async Task They_both_end_though_one_is_cancelled_and_retried_at_any_moment()
    {
        int states = await Explore(World.Of(runs: 2, new Budget(Cancels: 1, Losses: 0, Kills: 0)) with { Shards = 1 });
        states.ShouldBeGreaterThan(500);
    }

    [Fact]
    public async Task They_both_end_though_the_work_of_one_is_thought_lost_and_goes_on()
    {
        int states = await Explore(World.Of(runs: 2, new Budget(Cancels: 0, Losses: 1, Kills: 0)) with { Shards = 1 });
        states.ShouldBeGreaterThan(500);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task Three_runs_with_everything_that_can_happen_end_in_random_orders(int seed)
    {
        Random random = new(seed);
        for (int walk = 0; walk < 120; walk++)
        {
            World world = World.Of(runs: 3, new Budget(Cancels: 2, Losses: 2, Kills: 3)) with { Shards = 3 };
            List<string> way = [];
            while (Moves(world) is { Count: > 0 } moves)
            {
                Move move = moves[random.Next(moves.Count)];
                way.Add(move.ToString());
                world = await Step(world, move);
            }
            world.RequireEnd(way);
        }
    }

    /// <summary>Every state that can be reached, once.</summary>
    private async Task<int> Explore(World start)
    {
        Dictionary<string, (string Before, Move? Move)> seen = new() { [start.Identity] = ("", null) };
        Queue<World> front = new([start]); // the shortest way to a fault is found first
        while (front.TryDequeue(out World? world))
        {
            List<Move> moves = Moves(world);
            if (moves.Count == 0) world.RequireEnd(WayTo(world.Identity));
            foreach (Move move in moves)
            {
                World next = await Step(world, move);
                if (seen.TryAdd(next.Identity, (world.Identity, move))) front.Enqueue(next);
            }
        }
        return seen.Count;

        IEnumerable<string> WayTo(string state)
        {
            List<string> way = [];
            for (; seen[state] is { Move: { } move } step; state = step.Before) way.Add(move.ToString());
            way.Reverse();
            return way;
        }
    }

    /// <summary>What may happen next: a message is taken, work goes on by one transaction, or something goes wrong.</summary>
    private static List<Move> Moves(World world)
    {
        List<Move> moves =
        [
            .. world.Queue.Distinct().Select(m => new Move(MoveKind.Take, m)),
            .. world.InHand.Distinct().Select(w => new Move(MoveKind.GoOn, w))
        ];
        if (world.Budget.Kills > 0) moves.AddRange(world.InHand.Distinct().Select(w => new Move(MoveKind.Kill, w)));
        if (world.Budget.Losses > 0) moves.AddRange(world.InHand.Distinct().Select(w => new Move(MoveKind.ThinkLost, w)));
        if (world.Budget.Cancels > 0 && world.Run(0).State == Working) moves.Add(new Move(MoveKind.Cancel, new Work(0, 0)));
        if (world.Run(0).State == Cancelled) moves.Add(new Move(MoveKind.Retry, new Work(0, 0)));
        return moves;
    }

    private const string Working = "ExtractingFeatures", Cancelled = "Cancelled", Done = "FittingRegression";

    private enum MoveKind { Take, GoOn, Kill, ThinkLost, Cancel, Retry }

    private sealed record Move(MoveKind Kind, Work Work);

    private sealed record Budget(int Cancels, int Losses, int Kills);

    private enum Kind { Features, Shard, Extracted, Released, Lost }

    /// <summary>Where a piece of work is: between which of its transactions.</summary>
    private enum Phase { Asked, Claiming, LooksAgain, Planned, Found, Forgets, Extracting, WithoutPlan }

    /// <summary>A message, or the work on it.</summary>
    private sealed record Work(int Run, int Attempt, Kind Kind = Kind.Features, int Shard = 0, string Plan = "", Phase Phase = Phase.Asked)
    {
        public Work AsMessage() => this with { Phase = Phase.Asked, Plan = Kind == Kind.Shard ? Plan : "" };
    }

    private sealed record RunRow(int Attempt, string State);

    /// <summary>The database's rows, the messages on their way, the work in hand and the plans' files.</summary>
    private sealed record World(
        string[] Claims,
        string[] Sharded,
        string[] Finished,
        bool HasResult,
        RunRow[] RunRows,
        Work[] Queue,
        Work[] InHand,
        string[] Files,
        Budget Budget,
        int Shards)
    {
        public static World Of(int runs, Budget budget) => new([], [], [], false, [.. Enumerable.Repeat(new RunRow(1, Working), runs)],
            [.. Enumerable.Range(0, runs).Select(r => new Work(r, 1))], [], [], budget, StepProtocolTests.Shards);

        public RunRow Run(int run) => RunRows[run];

        public string Identity =>
            string.Join('|',
                [.. Claims.Order(), "S", .. Sharded.Order(), "F", .. Finished.Order(), HasResult.ToString(), .. RunRows.Select(
                    r => r.ToString()),
                    "Q", .. Queue.Select(q => q.ToString())
                        .Order(), "H", .. InHand.Select(q => q.ToString()).Order(), "P", .. Files.Order(), Budget.ToString()]);

        public void RequireEnd(IEnumerable<string> way)
        {
            if (RunRows.Any(r => r.State != Done)) Assert.Fail($"a run is stuck: {Identity}\n{string.Join('\n', way)}");
            Claims.ShouldBeEmpty();
        }
    }

    private async Task<World> Step(World world, Move move)
    {
        switch (move.Kind)
        {
            case MoveKind.Kill: // its message is delivered again
                return world with
                {
                    InHand = Without(world.InHand, move.Work),
                    Queue = [.. world.Queue, move.Work.AsMessage()],
                    Budget = world.Budget with { Kills = world.Budget.Kills - 1 }
                };
            case MoveKind.ThinkLost: // the worker goes on none the less
                return world with
                {
                    Queue = [.. world.Queue, new Work(move.Work.Run, move.Work.Attempt, Kind.Lost)],
                    Budget = world.Budget with { Losses = world.Budget.Losses - 1 }
                };
            case MoveKind.Cancel:
                return await Saga(world with { Budget = world.Budget with { Cancels = world.Budget.Cancels - 1 } }, 0,
                    run => run with { State = Cancelled }, asks: false);
            case MoveKind.Retry:
                return await Saga(world, 0, run => new RunRow(run.Attempt + 1, Working), asks: true);
            case MoveKind.Take when move.Work.Kind is Kind.Extracted or Kind.Released or Kind.Lost:
                return await Event(world with { Queue = Without(world.Queue, move.Work) }, move.Work);
            case MoveKind.Take:
                return await Begin(world with { Queue = Without(world.Queue, move.Work) }, move.Work);
            default:
                return await GoOn(world with { InHand = Without(world.InHand, move.Work) }, move.Work);
        }
    }

    /// <summary>The saga's part: an answer to an asking that is not the run's latest is ignored.</summary>
    private async Task<World> Event(World world, Work message)
    {
        RunRow run = world.Run(message.Run);
        if (run.Attempt != message.Attempt || run.State != Working) return world;
        return message.Kind == Kind.Extracted
            ? await Saga(world, message.Run, r => new RunRow(r.Attempt + 1, Done), asks: false)
            : await Saga(world, message.Run, r => r with { Attempt = r.Attempt + 1 }, asks: true);
    }

    /// <summary>One transaction of the saga: the run's row, the end of its claims, and what is sent.</summary>
    private async Task<World> Saga(World world, int run, Func<RunRow, RunRow> change, bool asks)
    {
        (world, IReadOnlyList<StepClaim> waiting) =
            await InTransaction(world, $"release {run}", db => StepClaims.Release(db, Runs[run], default));
        RunRow[] rows = [.. world.RunRows];
        rows[run] = change(rows[run]);
        return world with
        {
            RunRows = rows,
            Queue = [.. world.Queue, .. waiting.Select(Released), .. asks ? [new Work(run, rows[run].Attempt)] : Array.Empty<Work>()]
        };
    }

    /// <summary>A worker takes a message: what it reads before its first transaction.</summary>
    private async Task<World> Begin(World world, Work work)
    {
        RunRow run = world.Run(work.Run);
        if (run.Attempt != work.Attempt || run.State != Working) return world;
        if (work.Kind == Kind.Features) return InHand(world, work with { Phase = world.HasResult ? Phase.Found : Phase.Claiming });
        (world, bool isFinished) = await InTransaction(world, $"is finished {work.Shard}",
            _ => _database.Work.IsFinished(Key, work.Shard, default));
        return InHand(world, work with { Phase = isFinished || world.Files.Contains(work.Plan) ? Phase.Extracting : Phase.WithoutPlan });
    }

    private Task<World> GoOn(World world, Work work) => work.Phase switch
    {
        Phase.Claiming => Claim(world, work),
        Phase.LooksAgain => LookAgain(world, work),
        Phase.Planned => SendOrFinish(world, work),
        Phase.Found => Complete(world, work, enters: false),
        Phase.Forgets => Task.FromResult(world with { Files = [] }),
        Phase.Extracting => FinishShard(world, work),
        _ => Task.FromResult(Send(world, new Work(work.Run, work.Attempt, Kind.Released))),
    };

    private async Task<World> Claim(World world, Work work)
    {
        (world, ClaimOutcome outcome) =
            await InTransaction(world, $"take {work.Run} {work.Attempt}",
                db => StepClaims.Take(db, Key, Runs[work.Run], work.Attempt, default));
        return outcome == ClaimOutcome.Held ? InHand(world, work with { Phase = Phase.LooksAgain }) : world;
    }

    /// <summary>After the claim: another may have finished just before; else the plan there is, or a new one.</summary>
    private async Task<World> LookAgain(World world, Work work)
    {
        if (world.HasResult) return InHand(world, work with { Phase = Phase.Found });
        (world, string? plan) = await InTransaction(world, "plan", _ => _database.Work.PlanOf(Key, default));
        if (plan is not null && world.Files.Contains(plan)) return InHand(world, work with { Phase = Phase.Planned, Plan = plan });
        string made = $"{(plan is null ? "" : "anew-")}{work.Run}-{work.Attempt}";
        return InHand(world with { Files = [.. world.Files.Append(made).Distinct()] }, work with { Phase = Phase.Planned, Plan = made });
    }

    private async Task<World> SendOrFinish(World world, Work work)
    {
        int shards = world.Shards;
        (world, IReadOnlyList<int>? open) = await InTransaction(world, $"open {work.Plan} {shards}", async db =>
        {
            if (work.Plan.StartsWith("anew", StringComparison.Ordinal)) await WorkStore.ForgetShards(db, Key, default);
            return await WorkStore.OpenShards(db, Key, work.Plan, shards, default);
        });
        if (open is null) return Send(world, work.AsMessage());
        if (open.Count > 0) return Send(world, [.. open.Select(s => new Work(work.Run, work.Attempt, Kind.Shard, s, work.Plan))]);
        (world, _) = await InTransaction(world, "forget", async db =>
        {
            await WorkStore.ForgetShards(db, Key, default); // of the same transaction
            return true;
        });
        return await Complete(world, work, enters: true);
    }

    private async Task<World> Complete(World world, Work work, bool enters)
    {
        (world, IReadOnlyList<StepClaim> others) = await InTransaction(world, $"finish {work.Run} {work.Attempt}",
            db => StepClaims.Finish(db, Key, Runs[work.Run], work.Attempt, default));
        world = world with { HasResult = world.HasResult || enters };
        world = Send(world, [.. others.Select(Released), new Work(work.Run, work.Attempt, Kind.Extracted)]);
        return InHand(world, work with { Phase = Phase.Forgets, Plan = "" });
    }

    private async Task<World> FinishShard(World world, Work work)
    {
        (world, ShardOutcome outcome) = await InTransaction(world, $"finish shard {work.Plan} {work.Shard}",
            db => WorkStore.FinishShard(db, Key, work.Plan, work.Shard, 1, default));
        return outcome switch
        {
            ShardOutcome.LastIsDone => Send(world, new Work(work.Run, work.Attempt)),
            ShardOutcome.OfNoPlan => Send(world, new Work(work.Run, work.Attempt, Kind.Released)),
            _ => world,
        };
    }

    private static Work Released(StepClaim claim) => new(Array.IndexOf(Runs, claim.RunId), claim.Attempt, Kind.Released);

    private static World InHand(World world, Work work) => world with { InHand = [.. world.InHand, work] };

    private static World Send(World world, params Work[] messages) => world with { Queue = [.. world.Queue, .. messages] };

    private static Work[] Without(Work[] from, Work one)
    {
        List<Work> rest = [.. from];
        rest.Remove(one);
        return [.. rest];
    }

    /// <summary>
    /// Puts the world's rows into the database, lets the database's statements change them in one transaction, and takes them out
    /// again.
    /// </summary>
    /// <remarks>Equal rows and statements have equal outcomes: each is run once.</remarks>
    private async Task<(World World, T Outcome)> InTransaction<T>(World world, string statements, Func<ArmoFlowDbContext, Task<T>> work)
    {
        string identity = string.Join('|',
            [
                statements,
                .. world.Claims.Order(),
                "S",
                .. world.Sharded,
                "F",
                .. world.Finished.Order(),
                .. world.RunRows.Select(r => r.ToString())
            ]);
        if (!_known.TryGetValue(identity, out Rows? known))
        {
            _database.Restore(world.Claims, world.Sharded, world.Finished,
                [.. world.RunRows.Select((r, i) => (Runs[i], r.Attempt, r.State))]);
            await using ArmoFlowDbContext db = _database.CreateDbContext();
            object? outcome = await work(db);
            _known[identity] =
                known = new Rows(_database.Rows("step_claims"), _database.Rows("sharded_steps"),
                    _database.Rows("finished_shards"), outcome);
        }
        return (world with { Claims = known.Claims, Sharded = known.Sharded, Finished = known.Finished }, (T)known.Outcome!);
    }

    private sealed record Rows(string[] Claims, string[] Sharded, string[] Finished, object? Outcome);

    /// <summary>The database on one connection, with their rows as SQL literals.</summary>
    private sealed class InMemoryDatabase(SqliteConnection connection) : IDbContextFactory<ArmoFlowDbContext>
    {
        private readonly DbContextOptions<ArmoFlowDbContext> _options = new DbContextOptionsBuilder<ArmoFlowDbContext>()
            .UseSqlite(connection)
            .UseSnakeCaseNamingConvention()
            .UseApplicationServiceProvider(new ServiceCollection().AddSingleton(TimeProvider.System).BuildServiceProvider())
            .Options;

        public WorkStore Work => new(this, TimeProvider.System);

        public ArmoFlowDbContext CreateDbContext() => new(_options);

        public void Restore(string[] claims, string[] sharded, string[] finished, IReadOnlyList<(Guid Id, int Attempt, string State)> runs)
        {
            List<string> sql = ["delete from step_claims", "delete from sharded_steps", "delete from finished_shards"];
            sql.AddRange(claims.Select(c => $"insert into step_claims values ({c})"));
            sql.AddRange(sharded.Select(c => $"insert into sharded_steps values ({c})"));
            sql.AddRange(finished.Select(c => $"insert into finished_shards values ({c})"));
            sql.AddRange(runs.Select(r =>
                $"update runs set attempt = {r.Attempt}, current_state = '{r.State}' where correlation_id = "
                    + $"'{r.Id.ToString().ToUpperInvariant()}'"));
            using SqliteCommand command = connection.CreateCommand();
            command.CommandText = string.Join(";\n", sql);
            command.ExecuteNonQuery();
        }

        public string[] Rows(string table)
        {
            using SqliteCommand command = connection.CreateCommand();
            command.CommandText = $"select * from {table}";
            using SqliteDataReader reader = command.ExecuteReader();
            List<string> rows = [];
            while (reader.Read())
            {
                rows.Add(string.Join(", ",
                    Enumerable.Range(0, reader.FieldCount)
                        .Select(i => reader.GetValue(i) is string text ? $"'{text}'" : $"{reader.GetValue(i)}")));
            }
            return [.. rows];
        }
    }
}

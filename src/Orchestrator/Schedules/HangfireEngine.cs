using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Schedules;
using Hangfire;
using Hangfire.AspNetCore;
using Hangfire.InMemory;
using Hangfire.Logging;
using Hangfire.PostgreSql;
using Hangfire.PostgreSql.Factories;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace ArmoFlow.Orchestrator.Schedules;

/// <summary>
/// The clock of the schedules: a recurring Hangfire job for each, in storage that all orchestrators share. The database's own table
/// says which there are; what Hangfire fires late, twice or never is put right by <see cref="ScheduleRunner"/>, which fires a period once.
/// </summary>
public sealed class HangfireEngine(
    ScheduleStore store,
    ScheduleRunner runner,
    IServiceProvider services,
    ILogger<HangfireEngine> log) : PeriodicService("schedules", TimeSpan.FromSeconds(30), FirstRound.AtOnce, log)
{
    private static readonly TimeSpan Polling = TimeSpan.FromSeconds(2);
    private const int Workers = 2;
    private readonly Dictionary<string, DateTimeOffset> _known = [];
    private BackgroundJobServer? _server;

    protected override async Task Round(CancellationToken cancel)
    {
        // Hangfire is not even begun until there is something to fire: it asks its storage all the time.
        if (await Follow(cancel)) _server ??= Begin();
        foreach (string name in _known.Keys) await runner.Fire(name, cancel); // what Hangfire missed
    }

    protected override Task End()
    {
        _server?.Dispose();
        return Task.CompletedTask;
    }

    /// <summary>Brings Hangfire's jobs to what the database says; true if there is any.</summary>
    private async Task<bool> Follow(CancellationToken cancel)
    {
        Schedule[] schedules = [.. (await store.List(cancel)).Where(s => s.PausedAt is null)];
        foreach (Schedule schedule in schedules.Where(s => _known.GetValueOrDefault(s.Name) != s.UpdatedAt))
        {
            Jobs.AddOrUpdate<ScheduleRunner>(schedule.Name, runner => runner.Fire(schedule.Name, CancellationToken.None), Often(schedule),
                new RecurringJobOptions
                {
                    TimeZone = TimeZoneInfo.FindSystemTimeZoneById(schedule.TimeZone),
                    MisfireHandling = MisfireHandlingMode.Relaxed
                });
            Jobs.Trigger(schedule.Name); // what was missed meanwhile, if anything
            _known[schedule.Name] = schedule.UpdatedAt;
        }
        foreach (string gone in _known.Keys.Except(schedules.Select(s => s.Name)).ToList())
        {
            Jobs.RemoveIfExists(gone);
            _known.Remove(gone);
        }
        return _known.Count > 0;
    }

    /// <summary>With jitter, each minute: the runner knows how long a firing waits.</summary>
    private static string Often(Schedule schedule) => schedule.JitterSeconds > 0 ? Cron.Minutely() : schedule.Cron;

    private IRecurringJobManager Jobs => services.GetRequiredService<IRecurringJobManager>();

    private BackgroundJobServer Begin() =>
        new(new BackgroundJobServerOptions
        {
            WorkerCount = Workers,
            SchedulePollingInterval = Polling,
            Activator = new Activate(services)
        }, services.GetRequiredService<JobStorage>());

    private sealed class Activate(IServiceProvider services) : JobActivator
    {
        public override object ActivateJob(Type jobType) => services.GetRequiredService(jobType);
    }
}

public static class SchedulesRegistration
{
    /// <summary>
    /// After so long what a killed orchestrator held, its lock on all schedules or a firing in hand, is another's. Hangfire's own
    /// limits are ten and thirty minutes, in which nothing would fire.
    /// </summary>
    private static readonly TimeSpan Dead = TimeSpan.FromSeconds(20);

    /// <summary>The schedules' clock: in memory for the embedded default, else in Postgres, where all orchestrators share it.</summary>
    public static IServiceCollection AddSchedules(this IServiceCollection services, string? postgres) => services
        .AddHangfire((s, hangfire) => hangfire.UseLogProvider(new HostLog(s.GetRequiredService<ILoggerFactory>())))
        .AddSingleton<JobStorage>(s =>
        {
            _ = s.GetRequiredService<IGlobalConfiguration>(); // before anything of Hangfire's asks for its log
            return postgres is null ? new InMemoryStorage() : Storage(postgres);
        })
        .AddSingleton<IRecurringJobManager>(s => new RecurringJobManager(s.GetRequiredService<JobStorage>()))
        .AddHostedService<HangfireEngine>();

    private static PostgreSqlStorage Storage(string postgres) =>
        new PostgreSqlStorage(new NpgsqlConnectionFactory(postgres, new PostgreSqlStorageOptions()),
            new PostgreSqlStorageOptions
            {
                SchemaName = "hangfire",
                QueuePollInterval = TimeSpan.FromSeconds(5),
                EnableLongPolling = true,
                DistributedLockTimeout = Dead,
                InvisibilityTimeout = Dead
            });

    /// <summary>Hangfire has one log for a process: that of the host which began last, which may have ended before another.</summary>
    private sealed class HostLog(ILoggerFactory loggers) : ILogProvider
    {
        public ILog GetLogger(string name)
        {
            try { return new AspNetCoreLogProvider(loggers).GetLogger(name); }
            catch (ObjectDisposedException) { return new AspNetCoreLogProvider(NullLoggerFactory.Instance).GetLogger(name); }
        }
    }
}

using System.Text.Json;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Alerts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Faults;
using ArmoFlow.Contracts.Retention;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Schedules;
using ArmoFlow.Persistence.Access;
using ArmoFlow.Persistence.Alerts;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Datasets;
using ArmoFlow.Persistence.Faults;
using ArmoFlow.Persistence.Features;
using ArmoFlow.Persistence.Models;
using ArmoFlow.Persistence.Outbox;
using ArmoFlow.Persistence.Retention;
using ArmoFlow.Persistence.Runs;
using ArmoFlow.Persistence.Schedules;
using ArmoFlow.Persistence.Steps;
using ArmoFlow.Persistence.Work;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.ChangeTracking;
using Microsoft.EntityFrameworkCore.Design;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Storage;
using Microsoft.EntityFrameworkCore.Storage.ValueConversion;

namespace ArmoFlow.Persistence;

/// <summary>The database: runs, finished steps with their lineage, and where features lie. Never the artifacts' bytes.</summary>
public class ArmoFlowDbContext : DbContext
{
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web);
    private readonly List<BoundRow> _unbound = [];
    private readonly HashSet<object> _entered = new(ReferenceEqualityComparer.Instance);

    public ArmoFlowDbContext(DbContextOptions<ArmoFlowDbContext> options) : base(options) { }

    protected ArmoFlowDbContext(DbContextOptions options) : base(options) { }

    public DbSet<RunState> Runs => Set<RunState>();
    public DbSet<RunTag> RunTags => Set<RunTag>();
    public DbSet<SubmissionKey> SubmissionKeys => Set<SubmissionKey>();
    public DbSet<ControlRequest> ControlRequests => Set<ControlRequest>();
    public DbSet<StepResult> StepResults => Set<StepResult>();
    public DbSet<StepArtifact> StepArtifacts => Set<StepArtifact>();
    public DbSet<FeatureShard> FeatureShards => Set<FeatureShard>();
    public DbSet<FeatureRow> FeatureRows => Set<FeatureRow>();
    public DbSet<Setting> Settings => Set<Setting>();
    public DbSet<WorkLease> WorkLeases => Set<WorkLease>();
    public DbSet<WorkerRow> Workers => Set<WorkerRow>();
    public DbSet<StepClaim> StepClaims => Set<StepClaim>();
    public DbSet<ShardedStep> ShardedSteps => Set<ShardedStep>();
    public DbSet<FinishedShard> FinishedShards => Set<FinishedShard>();
    public DbSet<StepLog> StepLogs => Set<StepLog>();
    public DbSet<FaultRow> Faults => Set<FaultRow>();
    public DbSet<AuditEvent> AuditEvents => Set<AuditEvent>();
    public DbSet<AuditHead> AuditHeads => Set<AuditHead>();
    public DbSet<AuditRow> AuditRows => Set<AuditRow>();
    public DbSet<Dataset> Datasets => Set<Dataset>();
    public DbSet<DatasetFile> DatasetFiles => Set<DatasetFile>();
    public DbSet<WatchedPlace> WatchedPlaces => Set<WatchedPlace>();
    public DbSet<WatchedFile> WatchedFiles => Set<WatchedFile>();
    public DbSet<RetrainPolicy> RetrainPolicies => Set<RetrainPolicy>();
    public DbSet<Schedule> Schedules => Set<Schedule>();
    public DbSet<Firing> Firings => Set<Firing>();
    public DbSet<AccessKey> AccessKeys => Set<AccessKey>();
    public DbSet<ModelVersion> ModelVersions => Set<ModelVersion>();
    public DbSet<PromotionApproval> PromotionApprovals => Set<PromotionApproval>();
    public DbSet<ModelPolicy> ModelPolicies => Set<ModelPolicy>();
    public DbSet<ModelEvaluation> ModelEvaluations => Set<ModelEvaluation>();
    public DbSet<Alert> Alerts => Set<Alert>();
    public DbSet<AliasPeriod> AliasPeriods => Set<AliasPeriod>();
    public DbSet<LegalHold> LegalHolds => Set<LegalHold>();
    public DbSet<RetentionPolicy> RetentionPolicies => Set<RetentionPolicy>();
    public DbSet<Tombstone> Tombstones => Set<Tombstone>();
    public DbSet<Exclusion> Exclusions => Set<Exclusion>();
    public DbSet<InboxState> InboxStates => Set<InboxState>();
    public DbSet<OutboxMessage> OutboxMessages => Set<OutboxMessage>();
    public DbSet<OutboxState> OutboxStates => Set<OutboxState>();

    protected override void OnModelCreating(ModelBuilder modelBuilder)
    {
        // each stands beside its entity
        modelBuilder.ApplyConfigurationsFromAssembly(typeof(ArmoFlowDbContext).Assembly);
        BoundFreeTexts(modelBuilder);
    }

    /// <summary>
    /// Saves changes together with the audit events that tell of them, which vouch for the rows as they are from then on.
    /// </summary>
    public override Task<int> SaveChangesAsync(bool acceptAllChangesOnSuccess, CancellationToken cancellationToken = default) =>
        Save(acceptAllChangesOnSuccess, isBound: true, cancellationToken);

    /// <summary>
    /// Saves changes in the midst of a transaction whose next save binds them: the trail's head is locked once, and last.
    /// </summary>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="InvalidOperationException">There is no transaction.</exception>
    public Task SaveUnbound(CancellationToken cancel) => Database.CurrentTransaction is not null ? Save(true, isBound: false, cancel)
        : throw new InvalidOperationException("without a transaction, nothing would bind what is saved");

    private async Task<int> Save(bool acceptAllChangesOnSuccess, bool isBound, CancellationToken cancel)
    {
        IReadOnlyList<AuditEvent> events = isBound ? AuditTrail.Take(this) : []; // detects changes
        RowChanges rows = RowChanges.Of(this);
        int unbound = _unbound.Count;
        ChangeTracker.AutoDetectChangesEnabled = false; // once is enough: runs hold JSON
        try
        {
            bool isPlain = events.Count == 0 && rows.IsEmpty && (!isBound || _unbound.Count == 0);
            if (isPlain) return await base.SaveChangesAsync(acceptAllChangesOnSuccess, cancel);
            await using IDbContextTransaction? own = Database.CurrentTransaction is null ? await Database.BeginTransactionAsync(cancel)
                : null;
            await rows.ReadBefore(cancel);
            int saved = await base.SaveChangesAsync(acceptAllChangesOnSuccess, cancel);
            _unbound.AddRange(await rows.ReadAfter(cancel));
            if (!isBound) return saved;
            await AuditTrail.Bind(this, AuditTrail.Attach(this, events, _unbound), cancel);
            _unbound.Clear();
            if (own is not null) await own.CommitAsync(cancel);
            return saved;
        }
        catch
        {
            if (_unbound.Count > unbound) _unbound.RemoveRange(unbound, _unbound.Count - unbound); // it was not saved
            throw;
        }
        finally { ChangeTracker.AutoDetectChangesEnabled = true; }
    }

    /// <summary>Says that a row which a statement has just entered, and which was loaded since, is a new one.</summary>
    public void IsNew(object entity) => _entered.Add(entity);

    /// <summary>True once for what a statement has entered.</summary>
    internal bool TakeNew(object entity) => _entered.Remove(entity);

    public override void Dispose()
    {
        Forget();
        base.Dispose();
        GC.SuppressFinalize(this);
    }

    public override ValueTask DisposeAsync()
    {
        Forget();
        GC.SuppressFinalize(this);
        return base.DisposeAsync();
    }

    /// <summary>Contexts are pooled: what was not bound was rolled back, and is not the next user's.</summary>
    private void Forget()
    {
        _unbound.Clear();
        _entered.Clear();
    }

    /// <summary>Saves events that are bound, and the head that they are bound to.</summary>
    internal Task<int> SaveBound(CancellationToken cancel) => base.SaveChangesAsync(true, cancel);

    /// <summary>
    /// Every text is cleaned on its way into the database, and into every query (<see cref="StoredText"/>). SQLite has no time stamps
    /// with offset: they are kept as ISO text in UTC, which sorts by time.
    /// </summary>
    protected override void ConfigureConventions(ModelConfigurationBuilder configurationBuilder)
    {
        configurationBuilder.Properties<string>().HaveConversion<CleanTextConverter>();
        configurationBuilder.Properties<Uri>().HaveConversion<AddressConverter>();
        configurationBuilder.Properties<AlertKind>().HaveConversion<EnumTextConverter<AlertKind>>();
        configurationBuilder.Properties<ExclusionKind>().HaveConversion<EnumTextConverter<ExclusionKind>>();
        configurationBuilder.Properties<FaultStatus>().HaveConversion<EnumTextConverter<FaultStatus>>();
        configurationBuilder.Properties<FiringOutcome>().HaveConversion<EnumTextConverter<FiringOutcome>>();
        configurationBuilder.Properties<LogOutcome>().HaveConversion<EnumTextConverter<LogOutcome>>();
        configurationBuilder.Properties<Misfire>().HaveConversion<EnumTextConverter<Misfire>>();
        configurationBuilder.Properties<Overlap>().HaveConversion<EnumTextConverter<Overlap>>();
        configurationBuilder.Properties<RunAction>().HaveConversion<EnumTextConverter<RunAction>>();
        configurationBuilder.Properties<Scope>().HaveConversion<EnumTextConverter<Scope>>();
        if (Database.ProviderName == "Microsoft.EntityFrameworkCore.Sqlite")
            configurationBuilder.Properties<DateTimeOffset>().HaveConversion<UtcTextConverter>();
    }

    /// <summary>Columns of free text are told by their names, so that a new one is bounded without anybody thinking of it.</summary>
    private static void BoundFreeTexts(ModelBuilder modelBuilder)
    {
        HashSet<string> free = ["Error", "LastError", "LastOutcome", "Reason", "Notes", "Detail"];
        foreach (IMutableProperty property in modelBuilder.Model.GetEntityTypes().SelectMany(e => e.GetProperties()))
        {
            bool isFree =
                free.Contains(property.Name) || (property.DeclaringType.ClrType, property.Name) == (typeof(Alert), nameof(Alert.Text));
            if (isFree && property.ClrType == typeof(string)) property.SetValueConverter(new FreeTextConverter());
        }
    }
}

internal sealed class EnumTextConverter<T>() : ValueConverter<T, string>(v => v.Text(), v => EnumText.Parse<T>(v))
    where T : struct, Enum;

internal sealed class CleanTextConverter() : ValueConverter<string, string>(v => StoredText.Clean(v), v => v);

/// <summary>A text that is no address is read as none: one such row must not keep those beside it from being read.</summary>
internal sealed class AddressConverter() : ValueConverter<Uri?, string?>(
    v => v == null ? null : v.ToString(),
    v => AddressConverter.Read(v))
{
    private static Uri? Read(string? text) => Uri.TryCreate(text, UriKind.RelativeOrAbsolute, out Uri? address) ? address : null;
}

internal sealed class FreeTextConverter() : ValueConverter<string, string>(v => StoredText.Bound(v), v => v);

internal sealed class UtcTextConverter() : ValueConverter<DateTimeOffset, string>(
    v => v.UtcDateTime.ToString("O", System.Globalization.CultureInfo.InvariantCulture),
    v => DateTimeOffset.Parse(v, System.Globalization.CultureInfo.InvariantCulture));

/// <summary>The same database on Postgres: a type of its own, since migrations belong to a context type.</summary>
public sealed class PostgresDbContext : ArmoFlowDbContext
{
    // After a failed save nothing goes on with its transaction; a savepoint would be two round trips for each save, under locks.
    public PostgresDbContext(DbContextOptions<PostgresDbContext> options) : base(options) => Database.AutoSavepointsEnabled = false;
}

/// <summary>For the migrations tool.</summary>
internal sealed class PostgresDesignTimeFactory : IDesignTimeDbContextFactory<PostgresDbContext>
{
    public PostgresDbContext CreateDbContext(string[] args) =>
        new(new DbContextOptionsBuilder<PostgresDbContext>().UseNpgsql("Host=localhost").UseSnakeCaseNamingConvention().Options);
}

/// <summary>For the migrations tool.</summary>
internal sealed class DesignTimeFactory : IDesignTimeDbContextFactory<ArmoFlowDbContext>
{
    public ArmoFlowDbContext CreateDbContext(string[] args) =>
        new(new DbContextOptionsBuilder<ArmoFlowDbContext>().UseSqlite("Data Source=design.db").UseSnakeCaseNamingConvention().Options);
}

using System.Text.Json;
using System.Text.Json.Nodes;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Alerts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Faults;
using ArmoFlow.Contracts.Retention;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Schedules;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence.Access;
using ArmoFlow.Persistence.Alerts;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Datasets;
using ArmoFlow.Persistence.Faults;
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
using Microsoft.EntityFrameworkCore.Metadata.Builders;
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
        modelBuilder.Entity<RunState>(run =>
        {
            run.HasKey(r => r.CorrelationId);
            // For lists, newest first, by any of the filters; the id makes a page's end exact.
            run.HasIndex(r => new { r.SubmittedAt, r.CorrelationId });
            run.HasIndex(r => new { r.Name, r.SubmittedAt });
            run.HasIndex(r => new { r.CurrentState, r.SubmittedAt });
            run.HasIndex(r => new { r.Name, r.CurrentState, r.SubmittedAt });
            run.HasIndex(r => r.SpecDigest);
            run.HasMany<RunTag>().WithOne().HasForeignKey(t => t.RunId);
            run.HasIndex(r => r.DeadlineAt).HasFilter("deadline_at is not null");
            AsJson<List<string>>(run.Property(r => r.Tags), isReplacedWhole: true);
            AsJson<RunSpec>(run.Property(r => r.Spec), isReplacedWhole: true);
            AsJson<List<RunStep>>(run.Property(r => r.Steps));
            AsJson<Dictionary<string, ArtifactRef>>(run.Property(r => r.Artifacts));
            AsJson<JsonObject>(run.Property(r => r.Metrics));
        });
        modelBuilder.Entity<RunTag>(tag =>
        {
            tag.HasKey(t => new { t.RunId, t.Tag });
            tag.HasIndex(t => new { t.Tag, t.SubmittedAt });
            tag.Property(t => t.State).HasDefaultValue(RunState.Submitted);
            tag.HasIndex(t => new { t.Tag, t.State, t.SubmittedAt });
        });
        modelBuilder.Entity<SubmissionKey>().HasKey(s => s.Key);
        modelBuilder.Entity<ControlRequest>().HasIndex(c => c.Done);
        modelBuilder.Entity<StepResult>(result =>
        {
            result.HasKey(r => r.Key);
            result.HasMany(r => r.Artifacts).WithOne().HasForeignKey(a => a.Key);
        });
        modelBuilder.Entity<StepArtifact>(artifact =>
        {
            artifact.HasKey(a => new { a.Key, a.IsOutput, a.Name });
            artifact.HasIndex(a => a.Sha256);
        });
        modelBuilder.Entity<FeatureRow>().HasKey(f => new { f.Space, f.Kind, f.Id });
        modelBuilder.Entity<Setting>().HasKey(s => s.Key);
        modelBuilder.Entity<WorkLease>(lease =>
        {
            lease.HasKey(l => new { l.RunId, l.Step, l.Slot });
            lease.HasIndex(l => l.Worker);
        });
        modelBuilder.Entity<StepClaim>(claim =>
        {
            claim.HasKey(c => new { c.Key, c.RunId });
            claim.HasIndex(c => c.Key).IsUnique().HasFilter("holds").HasDatabaseName("ix_step_claims_holder");
            claim.HasIndex(c => c.RunId);
        });
        modelBuilder.Entity<ShardedStep>().HasKey(s => s.Key);
        modelBuilder.Entity<FinishedShard>().HasKey(s => new { s.Key, s.Shard });
        modelBuilder.Entity<StepLog>(log =>
        {
            log.HasIndex(l => new { l.RunId, l.StartedAt });
            log.HasIndex(l => l.Worker).HasFilter("ended_at is null");
        });
        modelBuilder.Entity<FaultRow>(fault =>
        {
            fault.HasIndex(f => f.Fingerprint);
            fault.HasIndex(f => f.MessageId);
        });
        modelBuilder.Entity<AuditEvent>(e =>
        {
            e.HasKey(a => a.Sequence);
            e.Property(a => a.Sequence).ValueGeneratedNever();
            e.HasIndex(a => new { a.Subject, a.Sequence });
            e.HasIndex(a => new { a.Action, a.Sequence });
            e.HasIndex(a => new { a.Actor, a.Sequence });
            e.HasIndex(a => a.At);
        });
        modelBuilder.Entity<AuditRow>().HasKey(r => new { r.Row, r.Sequence });
        modelBuilder.Entity<RetentionPolicy>().Property(p => p.Id).ValueGeneratedNever();
        modelBuilder.Entity<AuditHead>(head =>
        {
            head.Property(h => h.Id).ValueGeneratedNever();
            head.HasData(new AuditHead());
        });
        modelBuilder.Entity<Dataset>().HasKey(d => d.Name);
        modelBuilder.Entity<DatasetFile>(file =>
        {
            file.HasKey(f => new { f.Dataset, f.Sha256 });
            file.HasOne<Dataset>().WithMany().HasForeignKey(f => f.Dataset);
            file.HasIndex(f => f.Sha256);
        });
        modelBuilder.Entity<WatchedPlace>(place =>
        {
            place.HasKey(w => new { w.Dataset, w.Address });
            place.HasOne<Dataset>().WithMany().HasForeignKey(w => w.Dataset);
        });
        modelBuilder.Entity<WatchedFile>(file =>
        {
            file.HasKey(f => new { f.Dataset, f.Address, f.Name });
            file.HasOne<WatchedPlace>().WithMany().HasForeignKey(f => new { f.Dataset, f.Address });
        });
        modelBuilder.Entity<RetrainPolicy>(policy =>
        {
            policy.HasKey(p => p.Name);
            AsJson<RunSpec>(policy.Property(p => p.Spec), isReplacedWhole: true);
            AsJson<Dictionary<string, int>>(policy.Property(p => p.Versions), isReplacedWhole: true);
        });
        modelBuilder.Entity<Schedule>(schedule =>
        {
            schedule.HasKey(s => s.Name);
            AsJson<RunSpec>(schedule.Property(s => s.Spec), isReplacedWhole: true);
        });
        modelBuilder.Entity<Firing>(firing =>
        {
            firing.HasKey(f => new { f.Schedule, f.DueAt });
            firing.HasIndex(f => f.RunId);
        });
        modelBuilder.Entity<ModelVersion>(version =>
        {
            version.HasKey(v => new { v.Model, v.Version });
            version.HasIndex(v => new { v.Model, v.Digest }).IsUnique();
            version.HasIndex(v => v.RunId);
            version.HasIndex(v => v.AwaitsAlias).HasFilter("awaits_alias is not null");
            AsJson<List<string>>(version.Property(v => v.Tags), isReplacedWhole: true);
            AsJson<PromotionSpec>(version.Property(v => v.Gates)!, isReplacedWhole: true);
        });
        modelBuilder.Entity<ModelPolicy>(policy =>
        {
            policy.HasKey(p => new { p.Model, p.Version });
            policy.Property(p => p.Version).ValueGeneratedNever();
            AsJson<PolicySpec>(policy.Property(p => p.Policy)!, isReplacedWhole: true);
        });
        modelBuilder.Entity<AliasPeriod>(period =>
        {
            period.HasOne<ModelVersion>().WithMany().HasForeignKey(p => new { p.Model, p.Version });
            period.HasIndex(p => new { p.Model, p.Alias }).IsUnique().HasFilter("valid_until is null and known_until is null");
            period.HasIndex(p => new { p.Model, p.Alias, p.ValidFrom });
        });
        modelBuilder.Entity<LegalHold>().HasKey(h => h.Subject);
        modelBuilder.Entity<Tombstone>(tombstone =>
        {
            tombstone.HasKey(t => t.Sha256);
            tombstone.HasIndex(t => t.At).HasFilter("removed_at is null");
        });
        modelBuilder.Entity<Exclusion>(exclusion =>
        {
            exclusion.HasKey(e => new { e.Kind, e.Value });
            AsJson<List<UsedBy>>(exclusion.Property(e => e.Users)!, isReplacedWhole: true);
        });
        modelBuilder.Entity<PromotionApproval>(approval =>
        {
            approval.HasKey(a => new { a.Model, a.Alias, a.Version, a.By });
            approval.HasOne<ModelVersion>().WithMany().HasForeignKey(a => new { a.Model, a.Version });
        });
        modelBuilder.Entity<ModelEvaluation>(evaluation =>
        {
            evaluation.HasKey(e => e.RunId);
            evaluation.HasOne<RunState>().WithMany().HasForeignKey(e => e.RunId);
            evaluation.HasOne<ModelVersion>().WithMany().HasForeignKey(e => new { e.Model, e.Version });
            evaluation.HasIndex(e => new { e.Model, e.At });
            evaluation.HasIndex(e => e.At).HasFilter("holds is null");
        });
        modelBuilder.Entity<Alert>(alert =>
        {
            alert.HasOne<RunState>().WithMany().HasForeignKey(a => a.RunId);
            alert.HasIndex(a => a.NextAttemptAt).HasFilter("next_attempt_at is not null");
        });
        modelBuilder.Entity<InboxState>(inbox =>
        {
            inbox.ToTable("inbox_state");
            inbox.HasIndex(i => new { i.MessageId, i.ConsumerId }).IsUnique();
            inbox.HasIndex(i => i.Consumed).HasFilter("delivered is null");
            inbox.HasIndex(i => i.Delivered);
        });
        modelBuilder.Entity<OutboxState>(outbox =>
        {
            outbox.ToTable("outbox_state").HasKey(o => o.OutboxId);
            outbox.HasIndex(o => o.Created);
        });
        modelBuilder.Entity<OutboxMessage>(message =>
        {
            message.ToTable("outbox_message").HasKey(m => m.SequenceNumber);
            message.HasIndex(m => new { m.InboxMessageId, m.InboxConsumerId });
            message.HasIndex(m => m.OutboxId);
        });
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

    /// <param name="property">The property.</param>
    /// <param name="isReplacedWhole">True for a value that is never changed in place: comparing references is enough then.</param>
    private static void AsJson<T>(PropertyBuilder<T> property, bool isReplacedWhole = false) where T : class => property.HasConversion(
        value => JsonSerializer.Serialize(value, Json), text => JsonSerializer.Deserialize<T>(text, Json)!,
        isReplacedWhole ? new ValueComparer<T>((a, b) => ReferenceEquals(a, b), v => v.GetHashCode(), v => v)
            : new ValueComparer<T>((a, b) => JsonSerializer.Serialize(a, Json) == JsonSerializer.Serialize(b, Json),
                v => JsonSerializer.Serialize(v, Json).GetHashCode(StringComparison.Ordinal),
                    v => JsonSerializer.Deserialize<T>(JsonSerializer.Serialize(v, Json), Json)!));
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

using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using ArmoFlow.Persistence.Access;
using ArmoFlow.Persistence.Alerts;
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
using Microsoft.EntityFrameworkCore.Metadata;

namespace ArmoFlow.Persistence.Audit;

/// <summary>
/// Which rows the audit trail vouches for: every table of the model that is not exempt, with every column that is not left out.
/// A new column of an audited table is covered without anybody's doing; a new table must be put on one of the two lists.
/// </summary>
public sealed class AuditedTables
{
    private static readonly Dictionary<Type, string[]> LeftOut = new()
    {
        [typeof(RunState)] = [],
        [typeof(RunTag)] = [nameof(RunTag.State)], // a copy of the run's, which the database keeps by itself
        [typeof(SubmissionKey)] = [],
        [typeof(StepResult)] = [nameof(StepResult.IsStale)], // a mark that it is to be done anew when it is asked for
        [typeof(StepArtifact)] = [],
        [typeof(ModelVersion)] = [nameof(ModelVersion.AwaitsAlias)], // work still to be done; what comes of it is an event
        [typeof(ModelPolicy)] = [],
        [typeof(AliasPeriod)] = [],
        [typeof(PromotionApproval)] = [],
        [typeof(ModelEvaluation)] = [],
        // the way to the receiver; that it arrived is an event
        [typeof(Alert)] = [nameof(Alert.Attempts), nameof(Alert.NextAttemptAt), nameof(Alert.LastError)],
        [typeof(Dataset)] = [],
        [typeof(DatasetFile)] = [],
        [typeof(WatchedPlace)] = [nameof(WatchedPlace.Error)], // what the last look met
        [typeof(RetrainPolicy)] = [nameof(RetrainPolicy.Turn)], // a claim between orchestrators
        [typeof(Schedule)] = [],
        [typeof(Firing)] = [],
        [typeof(AccessKey)] = [nameof(AccessKey.LastUsedAt)], // changes with use
        [typeof(LegalHold)] = [],
        // a claim; what was collected is an event
        [typeof(RetentionPolicy)] = [nameof(RetentionPolicy.LastAt), nameof(RetentionPolicy.LastOutcome)],
        [typeof(Tombstone)] = [],
        [typeof(Exclusion)] = [],
        [typeof(FaultRow)] = [],
    };

    private const string FeaturePlaces = "where features lie; the table of features that a run read is an artifact, known by its hash";

    /// <summary>Tables that the trail does not vouch for, and why no answer of an audit rests on them.</summary>
    public static IReadOnlyDictionary<Type, string> Exempt { get; } = new Dictionary<Type, string>
    {
        [typeof(AuditEvent)] = "the trail itself, bound by its chain",
        [typeof(AuditHead)] = "the trail's end, held against the chain",
        [typeof(AuditRow)] = "an index into the trail, which is checked against the event whenever it is used",
        [typeof(ControlRequest)] = "a message to the process that owns the workspace",
        [typeof(FeatureShard)] = FeaturePlaces,
        [typeof(FeatureRow)] = FeaturePlaces,
        [typeof(Setting)] = "choices of a machine; what a step was made with stands in its parameters",
        [typeof(WorkLease)] = "work in progress",
        [typeof(WorkerRow)] = "workers that live",
        [typeof(StepClaim)] = "work in progress",
        [typeof(ShardedStep)] = "work in progress",
        [typeof(FinishedShard)] = "work in progress",
        [typeof(StepLog)] = "text that grows while a worker works; an account of the work, not its result",
        [typeof(WatchedFile)] = "which files were looked at; what was taken from them is a file of a data set",
        [typeof(InboxState)] = "messages on their way",
        [typeof(OutboxMessage)] = "messages on their way",
        [typeof(OutboxState)] = "messages on their way",
    };

    private static readonly ConcurrentDictionary<IModel, AuditedTables> Known = new();
    private readonly Dictionary<Type, AuditedTable> _byEntity = [];
    private readonly Dictionary<string, AuditedTable> _byName = new(StringComparer.Ordinal);

    private AuditedTables(IModel model)
    {
        foreach (IEntityType entity in model.GetEntityTypes())
        {
            if (!LeftOut.TryGetValue(entity.ClrType, out string[]? leftOut)) continue;
            AuditedTable table = new(entity, leftOut);
            _byEntity[entity.ClrType] = table;
            _byName[table.Name] = table;
        }
    }

    /// <summary>By name.</summary>
    public IEnumerable<AuditedTable> All => _byName.Values.OrderBy(t => t.Name, StringComparer.Ordinal);

    public static AuditedTables Of(DbContext db) => Known.GetOrAdd(db.Model, model => new AuditedTables(model));

    public static bool IsAudited(Type entity) => LeftOut.ContainsKey(entity);

    public AuditedTable? Find(Type entity) => _byEntity.GetValueOrDefault(entity);

    public AuditedTable? Find(string name) => _byName.GetValueOrDefault(name);
}

/// <summary>A table whose rows the trail vouches for.</summary>
public sealed class AuditedTable
{
    internal AuditedTable(IEntityType entity, string[] leftOut)
    {
        Entity = entity.ClrType;
        Name = entity.GetTableName()!;
        StoreObjectIdentifier table = StoreObjectIdentifier.Table(Name);
        AuditedColumn Column(IProperty property) => new(property.GetColumnName(table)!, property);
        Key = [.. entity.FindPrimaryKey()!.Properties.Select(Column)];
        Columns = [.. entity.GetProperties().Where(p => !leftOut.Contains(p.Name)).Select(Column)
            .OrderBy(c => c.Name, StringComparer.Ordinal)];
        ColumnNames = [.. Columns.Select(c => c.Name)];
        Layout = LayoutOf(ColumnNames);
    }

    public string Name { get; }
    public Type Entity { get; }
    public IReadOnlyList<AuditedColumn> Key { get; }

    /// <summary>All that are bound, the key's too, in the order of their names.</summary>
    public IReadOnlyList<AuditedColumn> Columns { get; }

    public IReadOnlyList<string> ColumnNames { get; }

    /// <summary>Names the list of columns, so that a row that was bound before a column was added is still checked by its own.</summary>
    public string Layout { get; }

    /// <summary>
    /// True for what a worker enters: bound by the run that records the step, for a worker's transaction does not wait for the trail.
    /// </summary>
    public bool IsBoundByRuns => Entity == typeof(StepResult) || Entity == typeof(StepArtifact);

    public static string LayoutOf(IEnumerable<string> columns) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\n', columns))))[..RowValues.LayoutLength];
}

/// <summary>A column that the trail vouches for.</summary>
public sealed record AuditedColumn(string Name, IProperty Property);

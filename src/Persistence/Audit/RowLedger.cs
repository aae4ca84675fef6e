using System.Globalization;
using System.Text.Json;
using ArmoFlow.Contracts.Documents;

namespace ArmoFlow.Persistence.Audit;

/// <summary>Fetches events by their numbers.</summary>
internal delegate Task<Dictionary<long, AuditEvent>> FetchEvents(IReadOnlySet<long> sequences);

/// <summary>
/// What the events say that the audited rows are: fed with the events in their order, then held against the rows. It keeps a hash
/// of each row, not the row.
/// </summary>
internal sealed class RowLedger
{
    /// <summary>The action of events that take in rows which were there before any event vouched for them.</summary>
    public const string Adopted = "trail.adopted";

    /// <summary>The subject of the event that lists the columns of each table.</summary>
    public const string LayoutSubject = "rows";

    private const int MostFindings = 100;
    private readonly Dictionary<UInt128, Bound> _bound = [];
    private readonly Dictionary<string, IReadOnlyList<string>> _layouts = new(StringComparer.Ordinal);
    private readonly List<RowFinding> _findings = [];

    /// <summary>The first findings; <see cref="FindingCount"/> says how many there are.</summary>
    public IReadOnlyList<RowFinding> Findings => _findings;
    public long FindingCount { get; private set; }

    /// <summary>The event by which rows of before were taken in; null where there was none.</summary>
    public long? AdoptedAt { get; private set; }
    public long AdoptedRows { get; private set; }

    /// <summary>Rows held against the trail.</summary>
    public long Rows { get; private set; }

    /// <summary>Rows of steps that no run has recorded: a worker had finished when its run was cancelled, or has only just.</summary>
    public long Unrecorded { get; private set; }

    /// <summary>True once an event has vouched for rows.</summary>
    public bool IsOpen => AdoptedAt is not null || _bound.Count > 0;

    public void Take(AuditEvent e)
    {
        if (e.Action == Adopted && e.Subject == LayoutSubject) TakeLayouts(e);
        foreach (BoundRow row in BoundRow.Read(e.Rows))
        {
            if (e.Action == Adopted && row.Before is null) AdoptedRows++;
            Take(row, e.Sequence);
        }
    }

    private void TakeLayouts(AuditEvent e)
    {
        AdoptedAt ??= e.Sequence;
        foreach (IReadOnlyList<string> columns in LayoutsOf(e).Values) _layouts[AuditedTable.LayoutOf(columns)] = columns;
    }

    /// <summary>Table → columns, of an event that lists them.</summary>
    public static Dictionary<string, IReadOnlyList<string>> LayoutsOf(AuditEvent e)
    {
        using JsonDocument document = JsonDocument.Parse(e.After ?? "{}");
        return document.RootElement.GetProperty("tables").EnumerateObject()
            .ToDictionary(t => t.Name, t => (IReadOnlyList<string>)[.. t.Value.EnumerateArray().Select(c => c.GetString()!)]);
    }

    private void Take(BoundRow row, long sequence)
    {
        UInt128 id = IdOf(row.Table, row.Key);
        bool isKnown = _bound.TryGetValue(id, out Bound known);
        bool isSameLayout = isKnown && known.Layout == row.Layout;
        if (row.Before == BoundRow.Seen)
        {
            bool isOther = isSameLayout && known.Digest != DigestOf(row.After!);
            string other = $"at event {sequence} it was not what event {known.Sequence} vouches for: it was changed past ArmoFlow";
            if (isOther) Find(row, known.Sequence, other);
            if (isKnown) return;
        }
        else if (row.Before is null)
        {
            if (isKnown)
            {
                Find(row, known.Sequence,
                    $"event {sequence} enters it, though event {known.Sequence} did before: it was removed past ArmoFlow");
            }
        }
        else if (!isKnown)
        {
            bool isUnrecorded = row.After is null && IsBoundByRuns(row.Table);
            if (!isUnrecorded)
            {
                Find(row, null, $"it was there before event {sequence}, and no event vouches for it: it was entered past ArmoFlow");
            }
        }
        else if (known.Before != BeforeOf(row.Before))
        {
            Find(row, known.Sequence, $"before event {sequence} it was not what event {known.Sequence} vouches for: it was changed "
                + $"past ArmoFlow");
        }
        if (row.After is null) _bound.Remove(id);
        else _bound[id] = new Bound(DigestOf(row.After), sequence, row.Layout);
    }

    /// <summary>The event that vouches for a row, and whether the row agrees with it; null for a row that no event vouches for.</summary>
    /// <param name="row">The row as it is.</param>
    /// <param name="rest">It by the columns that it was bound with; null where it lacks one of them.</param>
    public (long Event, bool Agrees)? Find(RowValues row, out RowValues? rest)
    {
        rest = row;
        if (!_bound.TryGetValue(IdOf(row.Table, row.Key), out Bound known)) return null;
        bool isOfOtherColumns = known.Layout != AuditedTable.LayoutOf(row.Columns);
        if (isOfOtherColumns) rest = _layouts.GetValueOrDefault(known.Layout) is { } columns ? row.Only(columns) : null;
        return (known.Sequence, rest is not null && DigestOf(rest.Digest()) == known.Digest);
    }

    /// <summary>Holds the rows against the trail.</summary>
    /// <param name="rows">All that there are; each table's as of the trail's end.</param>
    /// <param name="isPart">True where the rows are some of many: what is not among them is not missed.</param>
    /// <param name="eventsOf">Fetches events by their numbers, to say more of what differs.</param>
    /// <param name="cancel">Gives up.</param>
    public async Task Check(IAsyncEnumerable<RowValues> rows, bool isPart, FetchEvents eventsOf, CancellationToken cancel)
    {
        List<(RowValues Row, long Event)> differing = [];
        List<RowValues> unrecorded = [];
        HashSet<UInt128> met = [];
        HashSet<string> recordedSteps = new(StringComparer.Ordinal);
        await foreach (RowValues row in rows.WithCancellation(cancel))
        {
            Rows++;
            if (!met.Add(IdOf(row.Table, row.Key))) Find(row, [], null, "it is there twice");
            else if (Find(row, out RowValues? rest) is not { } bound) unrecorded.Add(row);
            else if (!bound.Agrees) differing.Add((rest ?? row, bound.Event));
            else if (row.Table == "step_results") recordedSteps.Add(row.Key[1..^1]);
        }
        foreach (RowValues row in unrecorded) CheckUnbound(row, recordedSteps);
        await Explain(differing, eventsOf);
        if (isPart) return;
        foreach (UInt128 id in met) _bound.Remove(id);
        await NameMissing(eventsOf);
    }

    private void CheckUnbound(RowValues row, HashSet<string> recordedSteps)
    {
        string step = row.Key[1..^1].Split(',')[0];
        bool mayBeUnrecorded = IsBoundByRuns(row.Table) && !recordedSteps.Contains(step);
        if (mayBeUnrecorded) Unrecorded++;
        else Find(row, [], null, "no event vouches for it: it was entered past ArmoFlow");
    }

    private async Task Explain(List<(RowValues Row, long Event)> differing, FetchEvents eventsOf)
    {
        FindingCount += Math.Max(0, differing.Count - MostFindings);
        List<(RowValues Row, long Event)> named = [.. differing.Take(MostFindings)];
        Dictionary<long, AuditEvent> events = named.Count == 0 ? [] : await eventsOf(named.Select(d => d.Event).ToHashSet());
        foreach ((RowValues row, long sequence) in named)
        {
            BoundRow? bound = events.TryGetValue(sequence, out AuditEvent? e) ? BoundRow.Read(e.Rows)
                .LastOrDefault(b => b.Table == row.Table && b.Key == row.Key) : null;
            IReadOnlyList<string> columns = bound?.Marks is { } marks ? row.Differing(marks) : [];
            string where = columns.Count > 0 ? $" in {string.Join(", ", columns)}" : "";
            Find(row, columns, sequence, $"it differs{where} from what event {sequence} vouches for");
        }
    }

    private async Task NameMissing(FetchEvents eventsOf)
    {
        if (_bound.Count == 0) return;
        FindingCount += Math.Max(0, _bound.Count - MostFindings);
        Dictionary<UInt128, Bound> missing = _bound.Take(MostFindings).ToDictionary();
        foreach ((long sequence, AuditEvent e) in await eventsOf(missing.Values.Select(b => b.Sequence).ToHashSet()))
        {
            foreach (BoundRow row in BoundRow.Read(e.Rows))
            {
                bool isMissing = missing.TryGetValue(IdOf(row.Table, row.Key), out Bound bound) && bound.Sequence == sequence
                    && missing.Remove(IdOf(row.Table, row.Key));
                if (isMissing) Find(row, sequence, $"event {sequence} vouches for it, and it is missing");
            }
        }
    }

    private void Find(BoundRow row, long? sequence, string what) => Find(new RowFinding(row.Table, row.Key, [], what, sequence));

    private void Find(RowValues row, IReadOnlyList<string> columns, long? sequence, string what) =>
        Find(new RowFinding(row.Table, row.Key, columns, what, sequence));

    private void Find(RowFinding finding)
    {
        FindingCount++;
        if (_findings.Count < MostFindings) _findings.Add(finding);
    }

    private static bool IsBoundByRuns(string table) => table is "step_results" or "step_artifacts";

    private static UInt128 IdOf(string table, string key) =>
        System.Buffers.Binary.BinaryPrimitives.ReadUInt128BigEndian(BoundRow.HashOf(table, key));

    /// <summary>Two halves of a digest's hex.</summary>
    private static (UInt128, UInt128) DigestOf(string digest) => digest.Length == 2 * BoundRow.BeforeLength
        ? (BeforeOf(digest), BeforeOf(digest[BoundRow.BeforeLength..])) : throw new JsonException($"rows: '{digest}' is not a digest");

    private static UInt128 BeforeOf(string digest) => digest.Length >= BoundRow.BeforeLength
        && UInt128.TryParse(digest.AsSpan(0, BoundRow.BeforeLength), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture,
            out UInt128 half)
        ? half : throw new JsonException($"rows: '{digest}' is not a digest");

    private readonly record struct Bound((UInt128 First, UInt128 Second) Digest, long Sequence, string Layout)
    {
        public UInt128 Before => Digest.First;
    }
}

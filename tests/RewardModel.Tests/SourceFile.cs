using System.Text;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Text;
using Shouldly;

namespace ArmoFlow.RewardModel.Tests;

/// <summary>A source of one small file, read as a run reads it.</summary>
internal sealed class SourceFile : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public SourceFile(string name, params string[] rows) : this(name, Encoding.UTF8.GetBytes(string.Join('\n', rows) + "\n")) { }

    public SourceFile(string name, byte[] bytes)
    {
        Name = name;
        File.WriteAllBytes(Path, bytes);
    }

    public string Name { get; }

    public string Path => _folder.File(Name);

    public SourceReport Report { get; } = new() { Name = "source", Kind = "kind", Format = "format", Files = [] };

    /// <summary>Largest share of items that may be left out.</summary>
    public double MaxDroppedShare { get; init; }

    public void Dispose() => _folder.Dispose();

    public async Task<List<SourceRow>> Rows()
    {
        List<SourceRow> rows = [];
        await foreach (SourceRow row in RowReader.Read(Path, Name)) rows.Add(row);
        return rows;
    }

    public Task<List<RatedResponse>> Ratings(string format, params string[] objectives) =>
        Ratings(RatedFormats.Find(format, objectives.Length > 0 ? objectives : RatedFormats.PaperObjectives, [], []));

    public Task<List<RatedResponse>> Ratings(RatedFormat format) =>
        Items(format.Read, r => r.Conversation.Id + string.Join(',', r.Ratings));

    public Task<List<PreferencePair>> Pairs(string format) => Items(PairFormats.Find(format), p => p.Chosen.Id + p.Rejected.Id);

    public Task<List<BenchmarkPair>> Benchmark() => Items<BenchmarkPair>(row => [PairFormats.RewardBench(row)], p => p.Id);

    private async Task<List<T>> Items<T>(Func<SourceRow, IEnumerable<T>> read, Func<T, string> identity)
    {
        List<T> items = [];
        Source source = new("source", "kind", "format", [(Path, Name)], MaxDroppedShare);
        await foreach (T item in SourceIngestion.Items(source, read, identity, Report)) items.Add(item);
        return items;
    }

    public static string Text(Conversation conversation) =>
        string.Join(" | ", conversation.Messages.Select(m => $"{m.Role[0]}:{m.Content}"));

    public static string Texts(IEnumerable<PreferencePair> pairs) =>
        string.Join("\n", pairs.Select(p => $"{Text(p.Chosen)} > {p.Rejected.Response.Content}"));

    public static string Ratings(IEnumerable<RatedResponse> responses) => string.Join("; ", responses.Select(r =>
        $"{r.Conversation.Response.Content}: "
            + $"{string.Join(", ", r.Ratings.Select(x => FormattableString.Invariant($"{x.Key}={x.Value}")))}"));

    public static async Task Refused(Func<Task> action, params string[] expected)
    {
        string message = (await Should.ThrowAsync<InvalidInputException>(action)).Message;
        foreach (string part in expected) message.ShouldContain(part);
    }
}

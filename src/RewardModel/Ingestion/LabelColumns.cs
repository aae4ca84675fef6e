using System.Text.Json;

namespace ArmoFlow.RewardModel.Ingestion;

/// <summary>
/// Finds the label columns of a table of rated conversations: all but the messages that hold ratings. A column's values decide together,
/// whatever the first row has: nulls, numbers and numbers as text are a label; only texts, lists or objects are none; a mix is refused.
/// The order is that of the schema (Parquet) or of appearance (JSON).
/// </summary>
public sealed class LabelColumns
{
    private const string Messages = "messages";
    private readonly List<string> _order = [];
    private readonly Dictionary<string, Column> _columns = new(StringComparer.Ordinal);

    private sealed class Column
    {
        public bool HasNumber { get; set; }

        public InvalidInputException? NoNumber { get; set; }
    }

    /// <summary>A row's ratings by column; those of a column that turns out to be no label are not asked for.</summary>
    /// <exception cref="InvalidInputException">A column holds numbers and something else.</exception>
    public Dictionary<string, double> Read(SourceRow row)
    {
        Dictionary<string, double> ratings = new(StringComparer.Ordinal);
        foreach (JsonProperty field in row.Fields.EnumerateObject())
        {
            if (field.Name == Messages) continue;
            Column column = Find(field.Name);
            try
            {
                if (Rows.Number(field.Value, row.Place, field.Name) is { } number) ratings[field.Name] = number;
            }
            catch (InvalidInputException e) { column.NoNumber ??= e; }
            bool isNumber = field.Value.ValueKind is JsonValueKind.Number or JsonValueKind.True or JsonValueKind.False;
            column.HasNumber |= isNumber || JsonRow.NotFiniteWord(field.Value) is not null;
            if (column is { HasNumber: true, NoNumber: { } mixed }) throw mixed;
        }
        return ratings;
    }

    /// <summary>The label columns of the rows that were read.</summary>
    public IReadOnlyList<string> Names() => [.. _order.Where(name => _columns[name].NoNumber is null)];

    private Column Find(string name)
    {
        if (_columns.TryGetValue(name, out Column? column)) return column;
        _order.Add(name);
        return _columns[name] = new Column();
    }
}

using System.Globalization;
using System.Text;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Persistence.Work;

namespace ArmoFlow.Workers;

/// <summary>What a worker writes down while it has a slice of work in hand; <see cref="LogKeeper"/> enters it in the database.</summary>
public sealed class WorkLog(Guid run, string step, int slot, int attempt, Guid worker, TimeProvider time)
{
    private readonly Guid _id = Guid.NewGuid();
    private readonly StringBuilder _text = new();
    private readonly DateTimeOffset _startedAt = time.GetUtcNow();
    private DateTimeOffset? _endedAt;
    private LogOutcome _outcome;
    private int _written;

    public LogOutcome Outcome
    {
        get { lock (_text) return _outcome; }
    }

    public void Write(string line)
    {
        lock (_text) _text.Append(CultureInfo.InvariantCulture, $"{time.GetUtcNow().UtcDateTime:O} {line}\n");
    }

    public void End(LogOutcome outcome, string line)
    {
        lock (_text)
        {
            Write($"{outcome}: {line}");
            _outcome = outcome;
            _endedAt = time.GetUtcNow();
        }
    }

    /// <summary>The log as it is now; null if it has not grown since it was last taken.</summary>
    public StepLog? TakeIfGrown()
    {
        lock (_text)
        {
            if (_written == _text.Length) return null;
            _written = _text.Length;
            return new StepLog
            {
                Id = _id,
                RunId = run,
                Step = step,
                Slot = slot,
                Attempt = attempt,
                Worker = worker,
                StartedAt = _startedAt,
                EndedAt = _endedAt,
                Outcome = _outcome,
                Text = _text.ToString()
            };
        }
    }

    /// <summary>Its taking came to nothing: it is to be taken again.</summary>
    public void PutBack()
    {
        lock (_text) _written = 0;
    }
}

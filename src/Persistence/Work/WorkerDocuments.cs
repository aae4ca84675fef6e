using ArmoFlow.Contracts.Documents;

namespace ArmoFlow.Persistence.Work;

/// <summary>Rows as HTTP and <c>--json</c> show them.</summary>
public static class WorkerDocuments
{
    public static WorkerDocument ToDocument(this WorkerRow worker) => new()
    {
        Id = worker.Id,
        Machine = worker.Machine,
        ProcessId = worker.ProcessId,
        Version = worker.Version,
        Steps = worker.Steps,
        Device = worker.Device,
        MemoryBytes = worker.MemoryBytes,
        Current = worker.Current,
        IdleSteps = worker.IdleSteps,
        StartedAt = worker.StartedAt,
        SeenAt = worker.SeenAt,
        Beats = worker.Beats,
    };

    public static StepLogDocument ToDocument(this StepLog log) => new()
    {
        Id = log.Id,
        RunId = log.RunId,
        Step = log.Step,
        Slot = log.Slot,
        Attempt = log.Attempt,
        Worker = log.Worker,
        StartedAt = log.StartedAt,
        EndedAt = log.EndedAt,
        Outcome = log.Outcome,
        Text = log.Text,
        Sha256 = log.Sha256,
    };
}

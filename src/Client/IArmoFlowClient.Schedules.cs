using ArmoFlow.Contracts.Documents;

namespace ArmoFlow.Client;

/// <summary>Specs that are run by the clock.</summary>
public partial interface IArmoFlowClient
{
    /// <summary>Schedules, with their next five firings.</summary>
    Task<IReadOnlyList<ScheduleDocument>> ListSchedules(CancellationToken cancel);

    /// <summary>Adds a schedule, or puts it in place of the one of its name.</summary>
    /// <param name="request">The schedule.</param>
    /// <param name="folder">What its spec's paths are relative to.</param>
    /// <param name="cancel">Gives up.</param>
    Task<ScheduleDocument> PutSchedule(ScheduleRequest request, string folder, CancellationToken cancel);

    /// <summary>Pauses a schedule.</summary>
    Task<ScheduleDocument> PauseSchedule(string name, CancellationToken cancel);

    /// <summary>Goes on with a schedule from now; what was due in between is not made up for.</summary>
    Task<ScheduleDocument> ResumeSchedule(string name, CancellationToken cancel);

    /// <summary>Removes a schedule; its history stays.</summary>
    Task RemoveSchedule(string name, CancellationToken cancel);

    /// <summary>Runs a schedule's spec now, whatever the clock says.</summary>
    Task<FiringDocument> RunNow(string name, CancellationToken cancel);

    /// <summary>A schedule's firings, newest first.</summary>
    Task<IReadOnlyList<FiringDocument>> Firings(string name, int limit, CancellationToken cancel);
}

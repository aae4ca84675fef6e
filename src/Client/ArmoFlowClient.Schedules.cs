using ArmoFlow.Contracts.Documents;

namespace ArmoFlow.Client;

/// <content>Specs that are run by the clock.</content>
public sealed partial class ArmoFlowClient
{
    /// <inheritdoc/>
    public Task<IReadOnlyList<ScheduleDocument>> ListSchedules(CancellationToken cancel) =>
        Get<IReadOnlyList<ScheduleDocument>>("api/v1/schedules", cancel);

    /// <inheritdoc/>
    public Task<ScheduleDocument> PutSchedule(ScheduleRequest request, string folder, CancellationToken cancel) =>
        Send<ScheduleDocument>(HttpMethod.Post, "api/v1/schedules", request, cancel, folder);

    /// <inheritdoc/>
    public Task<ScheduleDocument> PauseSchedule(string name, CancellationToken cancel) =>
        Send<ScheduleDocument>(HttpMethod.Post, ApiAddress.Of($"api/v1/schedules/{name}/pause"), new { }, cancel);

    /// <inheritdoc/>
    public Task<ScheduleDocument> ResumeSchedule(string name, CancellationToken cancel) =>
        Send<ScheduleDocument>(HttpMethod.Post, ApiAddress.Of($"api/v1/schedules/{name}/resume"), new { }, cancel);

    /// <inheritdoc/>
    public Task RemoveSchedule(string name, CancellationToken cancel) =>
        Do(HttpMethod.Delete, ApiAddress.Of($"api/v1/schedules/{name}"), cancel);

    /// <inheritdoc/>
    public Task<FiringDocument> RunNow(string name, CancellationToken cancel) =>
        Send<FiringDocument>(HttpMethod.Post, ApiAddress.Of($"api/v1/schedules/{name}/run-now"), new { }, cancel);

    /// <inheritdoc/>
    public Task<IReadOnlyList<FiringDocument>> Firings(string name, int limit, CancellationToken cancel) =>
        Get<IReadOnlyList<FiringDocument>>(ApiAddress.Of($"api/v1/schedules/{name}/history", ("limit", limit)), cancel);
}

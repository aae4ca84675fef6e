using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Schedules;
using ArmoFlow.Persistence.Schedules;

namespace ArmoFlow.Orchestrator.Clients;

/// <content>Specs that are run by the clock.</content>
public partial class RecordsClient
{
    public Task<IReadOnlyList<ScheduleDocument>> ListSchedules(CancellationToken cancel) => Get<ScheduleService>().List(cancel);

    public Task<ScheduleDocument> PutSchedule(ScheduleRequest request, string folder, CancellationToken cancel) =>
        Get<ScheduleService>().Put(request.ToSchedule(SpecReader.Parse(request.Spec, "spec", folder)), cancel);

    public Task<ScheduleDocument> PauseSchedule(string name, CancellationToken cancel) => Get<ScheduleService>().Pause(name, cancel);

    public Task<ScheduleDocument> ResumeSchedule(string name, CancellationToken cancel) => Get<ScheduleService>().Resume(name, cancel);

    public Task RemoveSchedule(string name, CancellationToken cancel) => Get<ScheduleService>().Remove(name, cancel);

    public virtual async Task<FiringDocument> RunNow(string name, CancellationToken cancel) =>
        (await Get<ScheduleRunner>().RunNow(name, cancel)).ToDocument();

    public async Task<IReadOnlyList<FiringDocument>> Firings(string name, int limit, CancellationToken cancel) =>
        [.. (await Get<ScheduleService>().History(name, limit, cancel)).Select(f => f.ToDocument())];
}

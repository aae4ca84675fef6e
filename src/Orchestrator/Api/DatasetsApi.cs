using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Access;
using ArmoFlow.Orchestrator.Clients;
using ArmoFlow.Orchestrator.Datasets;
using ArmoFlow.Persistence.Datasets;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Routing;

namespace ArmoFlow.Orchestrator.Api;

/// <summary>The HTTP calls for data sets and the policies that wait for them.</summary>
internal static class DatasetsApi
{
    private const long LargestFile = 20L << 30;

    public static void MapDatasetsApi(this IEndpointRouteBuilder app)
    {
        RouteGroupBuilder datasets = app.MapGroup("/api/v1/datasets").WithTags("datasets").Requires(Scope.Viewer);
        datasets.MapGet("", (RecordsClient records, CancellationToken cancel) => records.ListDatasets(cancel))
            .WithSummary("Named data sets.");
        datasets.MapPost("", Create).Requires(Scope.Operator).WithSummary("Makes an empty data set; one that is there stays as it is.");
        datasets.MapGet("{name}/files",
            (string name, RecordsClient records, CancellationToken cancel, int? version = null) =>
                records.DatasetFiles(name, version, cancel))
            .WithSummary("A data set's files, oldest first, as of a version.");
        datasets.MapPost("{name}/files", Add)
            .Requires(Scope.Operator)
            .WithMetadata(new RequestSizeLimitAttribute(LargestFile))
            .WithSummary("Adds a file: the body is its bytes, fileName its name. A file that is there already changes nothing.");
        datasets.MapDelete("{name}/files/{file}",
            (string name, string file, string reason, RecordsClient records, CancellationToken cancel) =>
                records.WithdrawFile(name, file, reason, cancel))
            .Requires(Scope.Operator)
            .WithSummary("Makes a version without a file, named by its sha256, or by its name where one file alone has it; earlier "
                + "versions keep it.");

        datasets.MapGet("watches", (RecordsClient records, CancellationToken cancel) => records.Watches(cancel))
            .WithSummary("Folders and prefixes of buckets whose files are added as they arrive.");
        datasets.MapPost("{name}/watches",
            (string name, WatchRequest request, RecordsClient records, CancellationToken cancel) =>
                records.WatchPlace(name, request.Address ?? "", cancel))
            .Requires(Scope.Operator)
            .WithSummary("Watches a folder (an absolute path on the server) or s3://bucket/prefix for a data set.");
        datasets.MapDelete("{name}/watches",
            (string name, string address, RecordsClient records, CancellationToken cancel) => records.UnwatchPlace(name, address, cancel))
            .Requires(Scope.Operator)
            .WithSummary("Watches a place no more.");

        RouteGroupBuilder policies = app.MapGroup("/api/v1/policies").WithTags("datasets").Requires(Scope.Viewer);
        policies.MapGet("", (RecordsClient records, CancellationToken cancel) => records.ListPolicies(cancel))
            .WithSummary("Retrain policies.");
        policies.MapPost("",
            (PolicyRequest request, HttpRequest http, PolicyService service, CancellationToken cancel) => service.Put(request.Name,
                DataRoots.Require(SpecReader.Parse(request.Spec ?? "", "spec", RunsApi.SpecFolder(http))), cancel))
            .Requires(Scope.Operator)
            .WithSummary("Adds a policy, or puts it in place of the one of its name.");
        policies.MapPost("{name}/pause",
            (string name, RecordsClient records, CancellationToken cancel) => records.PausePolicy(name, cancel))
            .Requires(Scope.Operator)
            .WithSummary("Pauses a policy.");
        policies.MapPost("{name}/resume",
            (string name, RecordsClient records, CancellationToken cancel) => records.ResumePolicy(name, cancel))
            .Requires(Scope.Operator)
            .WithSummary("Goes on with a policy; what has arrived in between counts.");
        policies.MapDelete("{name}",
            (string name, RecordsClient records, CancellationToken cancel) => records.RemovePolicy(name, cancel))
            .Requires(Scope.Operator)
            .WithSummary("Removes a policy.");
    }

    private static async Task<DatasetDocument> Create(DatasetRequest request, DatasetStore store, CancellationToken cancel)
    {
        await store.Create(request.Name, cancel);
        return (await store.List(cancel)).Single(d => d.Name == request.Name);
    }

    private static Task<DatasetAddition> Add(string name, string fileName, HttpRequest request, RecordsClient records,
        CancellationToken cancel) => records.AddFile(name, fileName, request.Body, cancel);
}

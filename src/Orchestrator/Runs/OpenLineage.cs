using System.Net.Http.Json;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Runs;
using ArmoFlow.Persistence.Steps;
using MassTransit;

namespace ArmoFlow.Orchestrator.Runs;

/// <summary>
/// Tells an OpenLineage server (ARMOFLOW_OPENLINEAGE_URL) of each run that ends: the files that it read and the artifacts that it
/// made, by hash. A server that is away is tried again; what it never takes is set aside (runs faults).
/// </summary>
public sealed class OpenLineageConsumer(OpenLineageClient client, RunStore runs, StepStore steps) : IConsumer<RunEnded>
{
    public async Task Consume(ConsumeContext<RunEnded> context)
    {
        RunState run = (await runs.Find(context.Message.RunId, context.CancellationToken))!;
        string[] keys = [.. run.Steps.Select(s => s.Key).OfType<string>()];
        HashSet<string> made = [.. run.Artifacts.Values.Select(a => a.Sha256)];
        IReadOnlyList<StepArtifact> read = await steps.Inputs(keys, context.CancellationToken);
        var sources = read.Where(a => !made.Contains(a.Sha256)).DistinctBy(a => a.Sha256).Select(a => (a.Name, a.Sha256));
        object Event(string type, DateTimeOffset at) => new
        {
            eventType = type,
            eventTime = at,
            producer = OpenLineageClient.Producer,
            schemaURL = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
            run = new { runId = run.CorrelationId },
            job = new { @namespace = "armoflow", name = run.Name },
            inputs = sources.Select(s => Dataset(s.Name, s.Sha256)),
            outputs = type == "START" ? [] : run.Artifacts.Select(a => Dataset($"{run.Name}/{a.Key}", a.Value.Sha256)),
        };
        await client.Send(Event("START", run.SubmittedAt), context.CancellationToken);
        await client.Send(Event(run.Status switch { RunStatus.Completed => "COMPLETE", RunStatus.Cancelled => "ABORT", _ => "FAIL" },
            run.EndedAt ?? run.SubmittedAt), context.CancellationToken);
    }

    /// <summary>A version facet carries the hash: the same name with other bytes is another version.</summary>
    private static object Dataset(string name, string sha256) => new
    {
        @namespace = "armoflow",
        name,
        facets = new
        {
            version = new
            {
                _producer = OpenLineageClient.Producer,
                _schemaURL = "https://openlineage.io/spec/facets/1-0-1/DatasetVersionDatasetFacet.json",
                datasetVersion = sha256
            }
        },
    };
}

public sealed class OpenLineageDefinition : ConsumerDefinition<OpenLineageConsumer>
{
    public OpenLineageDefinition() => EndpointName = "openlineage";

    protected override void ConfigureConsumer(IReceiveEndpointConfigurator endpointConfigurator,
        IConsumerConfigurator<OpenLineageConsumer> consumerConfigurator, IRegistrationContext context) =>
        endpointConfigurator.UseMessageRetry(r => r.Exponential(8, TimeSpan.FromSeconds(1), TimeSpan.FromMinutes(2),
            TimeSpan.FromSeconds(2)));
}

/// <summary>Posts events; the address is the operator's, not a request's.</summary>
public sealed class OpenLineageClient(Uri address) : IDisposable
{
    public const string Producer = "urn:armoflow";
    private const string Variable = "ARMOFLOW_OPENLINEAGE_URL";
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(15);
    private readonly HttpClient _http = new() { Timeout = Timeout.InfiniteTimeSpan };

    /// <summary>Where events go; null for nowhere.</summary>
    /// <exception cref="SettingException">It is not an HTTP address.</exception>
    public static Uri? Configured
    {
        get
        {
            if (Environment.GetEnvironmentVariable(Variable) is not { Length: > 0 } text) return null;
            if (Uri.TryCreate(text, UriKind.Absolute, out Uri? url) && url.Scheme is "http" or "https") return url;
            throw new SettingException($"{Variable}: '{text}'; expected an address such as http://host:5000.");
        }
    }

    /// <summary>Posts an event. Of the answer the status is all that is read, so that neither its length nor its pace matters.</summary>
    /// <exception cref="HttpRequestException">The server refuses it, is away, or does not answer in time.</exception>
    public async Task Send(object lineageEvent, CancellationToken cancel)
    {
        using CancellationTokenSource limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(Limit);
        using HttpRequestMessage request = new(HttpMethod.Post, new Uri(address, "/api/v1/lineage"));
        request.Content = JsonContent.Create(lineageEvent);
        try
        {
            using HttpResponseMessage response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, limit.Token);
            response.EnsureSuccessStatusCode();
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new HttpRequestException($"{address.Authority} does not answer within {Limit.TotalSeconds:0} s");
        }
    }

    public void Dispose() => _http.Dispose();
}

using ArmoFlow.Contracts.Documents;
using ArmoFlow.Orchestrator.Access;
using ArmoFlow.Orchestrator.Clients;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace ArmoFlow.Orchestrator.Api;

/// <summary>
/// The HTTP calls for keys. The first one is made at the database: who is on this machine may do what they like with a server that
/// is open to it, but a key would open it later too, from anywhere.
/// </summary>
internal static class KeysApi
{
    public static void MapKeysApi(this IEndpointRouteBuilder app)
    {
        RouteGroupBuilder keys = app.MapGroup("/api/v1/keys").WithTags("keys").Requires(Scope.Admin, alwaysAsksForKey: true);
        keys.MapGet("", (RecordsClient records, CancellationToken cancel) => records.ListKeys(cancel))
            .WithSummary("Keys, without their secrets.");
        keys.MapPost("", Create).WithSummary("Makes a key; the answer is the only place where its secret stands.");
        keys.MapDelete("{id}", (string id, RecordsClient records, CancellationToken cancel) => records.RevokeKey(id, cancel))
            .WithSummary("Revokes a key, at once and for good.");
    }

    private static Task<NewKey> Create(KeyRequest request, RecordsClient records, HttpResponse response, CancellationToken cancel)
    {
        response.Headers.CacheControl = "no-store";
        return records.CreateKey(request, cancel);
    }
}

using ArmoFlow.Contracts.Documents;
using ArmoFlow.Orchestrator.Access;
using ArmoFlow.Persistence.Access;
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
        keys.MapGet("", async (AccessKeyStore store, CancellationToken cancel) => (await store.List(cancel)).Select(k => k.ToDocument()))
            .WithSummary("Keys, without their secrets.");
        keys.MapPost("", Create).WithSummary("Makes a key; the answer is the only place where its secret stands.");
        keys.MapDelete("{id}", (string id, AccessKeyStore store, CancellationToken cancel) => store.Revoke(id, cancel))
            .WithSummary("Revokes a key, at once and for good.");
    }

    private static Task<NewKey> Create(KeyRequest request, AccessKeyStore store, HttpResponse response, CancellationToken cancel)
    {
        response.Headers.CacheControl = "no-store";
        return store.Create(request, cancel);
    }
}

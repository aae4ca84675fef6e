using System.Net;
using System.Text;
using System.Threading.RateLimiting;
using ArmoFlow.Persistence.Access;
using ArmoFlow.Persistence.Audit;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;

namespace ArmoFlow.Orchestrator.Access;

/// <summary>What an endpoint asks of its caller; one that says nothing asks for an administrator.</summary>
public sealed record RequiredScope(Scope? Scope);

/// <summary>Where the server listens: on this machine alone, whose users it trusts, or for others too, who need keys.</summary>
public sealed record AccessPolicy(bool IsLoopbackOnly)
{
    /// <summary>From the addresses that Kestrel was given.</summary>
    public static AccessPolicy Of(IEnumerable<string> urls) => new(urls.All(u => IsLoopback(BindingAddress.Parse(u).Host)));

    /// <summary>True for the names and addresses of this machine to itself.</summary>
    public static bool IsLoopback(string host) => host == "localhost" || (IPAddress.TryParse(host.Trim('[', ']'), out IPAddress? address) && IPAddress.IsLoopback(address));
}

/// <summary>Lets in who has a key of the scope that an endpoint asks for, and tells the books who it was.</summary>
public static class AccessGate
{
    private const string Bearer = "Bearer ", Basic = "Basic ", Limiter = "caller";
    private const int LargestBody = 32 << 20, Burst = 4000, PerSecond = 2000;

    public static IServiceCollection AddAccess(this IServiceCollection services, AccessPolicy policy)
    {
        services.Configure<Microsoft.AspNetCore.Server.Kestrel.Core.KestrelServerOptions>(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = LargestBody;
            kestrel.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(15);
        });
        services.AddSingleton(policy);
        return policy.IsLoopbackOnly ? services : services.AddRateLimiter(limits => // it keeps a clock of its own, which an idle server should not pay for
        {
            limits.RejectionStatusCode = StatusCodes.Status429TooManyRequests;
            limits.GlobalLimiter = PartitionedRateLimiter.Create<HttpContext, string>(context => RateLimitPartition.GetTokenBucketLimiter(Limiter + (context.Items[typeof(AccessKey)] as AccessKey)?.Id + context.Connection.RemoteIpAddress,
                _ => new TokenBucketRateLimiterOptions { TokenLimit = Burst, TokensPerPeriod = PerSecond, ReplenishmentPeriod = TimeSpan.FromSeconds(1), QueueLimit = 0 }));
        });
    }

    /// <summary>After routing, so that the endpoint is known.</summary>
    public static void UseAccess(this WebApplication app)
    {
        app.UseRouting();
        app.Use(LetIn);
        if (!app.Services.GetRequiredService<AccessPolicy>().IsLoopbackOnly) app.UseRateLimiter();
    }

    public static T Requires<T>(this T endpoints, Scope? scope) where T : IEndpointConventionBuilder => endpoints.WithMetadata(new RequiredScope(scope));

    private static async Task LetIn(HttpContext context, RequestDelegate next)
    {
        AccessPolicy policy = context.RequestServices.GetRequiredService<AccessPolicy>();
        if (policy.IsLoopbackOnly && !IsFromHere(context.Request))
        {
            await Refuse(context, StatusCodes.Status421MisdirectedRequest, "Misdirected.", "this server answers to localhost alone.");
            return;
        }
        string? given = KeyOf(context.Request.Headers.Authorization.ToString());
        AccessKey? key = given is { Length: > 0 and < 200 } ? await context.RequestServices.GetRequiredService<AccessBooks>().Check(given, context.RequestAborted) : null;
        context.Items[typeof(AccessKey)] = key;
        Scope? required = context.GetEndpoint()?.Metadata.GetMetadata<RequiredScope>() is { } stated ? stated.Scope : Scope.Admin;
        bool isOpen = required is null || (policy.IsLoopbackOnly && given is null);
        if (!isOpen && key is null)
        {
            context.Response.Headers.WWWAuthenticate = "Bearer";
            await Refuse(context, StatusCodes.Status401Unauthorized, "No usable key.", "expected 'Authorization: Bearer KEY' with a key that is neither expired nor revoked; make one with: armoflow keys create.");
            return;
        }
        if (!isOpen && key!.Scope < required)
        {
            await Refuse(context, StatusCodes.Status403Forbidden, "The key's scope does not allow this.", $"the key is of scope {key.Scope}; expected {required}.");
            return;
        }
        Caller.Current = new Caller(key is null ? "local" : $"key {key.Name}", context.TraceIdentifier);
        await next(context);
    }

    /// <summary>The key of 'Bearer KEY', or of 'Basic' with the key as the password, for clients that know only addresses such as http://key:KEY@host/.</summary>
    private static string? KeyOf(string header)
    {
        if (header.StartsWith(Bearer, StringComparison.OrdinalIgnoreCase)) return header[Bearer.Length..].Trim();
        if (!header.StartsWith(Basic, StringComparison.OrdinalIgnoreCase)) return header.Length == 0 ? null : "";
        try { return Encoding.UTF8.GetString(Convert.FromBase64String(header[Basic.Length..].Trim())).Split(':', 2)[^1]; }
        catch (FormatException) { return ""; }
    }

    /// <summary>False for what a page of another site makes a browser on this machine send.</summary>
    private static bool IsFromHere(HttpRequest request) => AccessPolicy.IsLoopback(request.Host.Host)
        && (request.Headers.Origin.Count == 0 || (Uri.TryCreate(request.Headers.Origin, UriKind.Absolute, out Uri? origin) && AccessPolicy.IsLoopback(origin.Host)));

    private static Task Refuse(HttpContext context, int status, string title, string detail) =>
        TypedResults.Problem(detail, title: title, statusCode: status).ExecuteAsync(context);
}

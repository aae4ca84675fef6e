using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Persistence.Access;
using ArmoFlow.Persistence.Audit;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Primitives;

namespace ArmoFlow.Orchestrator.Access;

/// <summary>Lets in who has a key of the scope that an endpoint asks for, and names the caller for the audit trail.</summary>
public sealed class AccessGate(AccessPolicy policy, AccessKeyStore store, TimeProvider time, ILogger<AccessGate> log)
{
    /// <summary>Attempts without a usable key that an address has; beyond them it is not listened to.</summary>
    public static readonly Budget Failures = new(Burst: 60, PerSecond: 1);

    /// <summary>Requests that a key, or an address without one, has.</summary>
    public static readonly Budget Requests = new(Burst: 4000, PerSecond: 2000);

    private const string Bearer = "Bearer ", Basic = "Basic ";

    /// <summary>A browser asks its user for the second: any name, and the key as the password. Programs take the first.</summary>
    private static readonly StringValues Challenges =
        new(["Bearer", $"{Basic}realm=\"ArmoFlow: any name, and a key as the password\", charset=\"UTF-8\""]);

    private const int LongestKey = 200, Room = 10_000, NetworkBytes = 8;
    private readonly Budgets _failures = new(Failures, Room, time), _requests = new(Requests, Room, time),
        _warnings = new(new Budget(1, 1.0 / 60), Room, time);

    /// <summary>Asks a request for its key, after routing, so that the endpoint is known.</summary>
    public async Task Authorize(HttpContext context, RequestDelegate next)
    {
        IPAddress? client = policy.Proxies.ClientOf(context);
        context.Connection.RemoteIpAddress = client; // logs and limits speak of the caller, not of the proxy
        string address = NameOf(client);
        string? given = KeyOf(context.Request.Headers.Authorization.ToString());
        bool isFromHere = policy.IsFromHere(context);
        if (await RefuseOtherSite(context, given, isFromHere)) return;
        AccessKey? key = await Check(given, context.RequestAborted);
        RequiredScope stated = context.GetEndpoint()?.Metadata.GetMetadata<RequiredScope>() ?? new RequiredScope(Scope.Admin);
        Scope? required = stated.Scope;
        bool isOpen = required is null || (isFromHere && given is null && !stated.AlwaysAsksForKey);
        if (!isOpen && key is null)
        {
            await RefuseStranger(context, address);
            return;
        }
        if (!_requests.Spend(key is null ? address : $"key {key.Id} {address}"))
        {
            await RefuseForNow(context, $"more than {Requests.PerSecond} requests a second. Ask less often.");
            return;
        }
        if (!isOpen && key!.Scope < required)
        {
            await Refuse(context, StatusCodes.Status403Forbidden, "The key's scope does not allow this.",
                $"the key is of scope {key.Scope}; expected {required}.");
            return;
        }
        Caller.Current = CallerOf(context, client, key, isFromHere);
        await next(context);
    }

    /// <summary>True where what another site's page makes a browser send was refused.</summary>
    private async Task<bool> RefuseOtherSite(HttpContext context, string? given, bool isFromHere)
    {
        bool isOfAnotherSite = !AccessPolicy.IsOfThisSite(context.Request) && !AccessPolicy.CameThroughProxy(context.Request);
        if (isOfAnotherSite && given is null && !policy.NeedsKeys)
        {
            await Refuse(context, StatusCodes.Status421MisdirectedRequest, "Misdirected.",
                "this server answers to localhost alone; from elsewhere it asks for a key.");
            return true;
        }
        bool isTrustedBrowser = isFromHere && given is null;
        if (!IsForged(context.Request, isTrustedBrowser)) return false;
        await Refuse(context, StatusCodes.Status403Forbidden, "Not from here.",
            "a page of another site made this browser send it; the browser's key, or its being on this machine, does not count then.");
        return true;
    }

    /// <summary>Who is named in the audit trail.</summary>
    private static Caller CallerOf(HttpContext context, IPAddress? client, AccessKey? key, bool isFromHere)
    {
        bool isLocal = client is null || IPAddress.IsLoopback(client);
        string request = isLocal ? context.TraceIdentifier : $"{context.TraceIdentifier} from {client}";
        Scope scope = key?.Scope ?? (isFromHere ? Scope.Admin : Scope.Viewer);
        return (key is null ? Caller.OfThisMachine(request) : new Caller($"key {key.Name}", request)) with { Scope = scope };
    }

    /// <summary>
    /// No page of another site may show one of this server's in a frame, guess what a file is, or learn an address from it.
    /// </summary>
    public static Task Harden(HttpContext context, RequestDelegate next)
    {
        context.Response.OnStarting(() => // last, since what answers an error clears what was set before
        {
            IHeaderDictionary headers = context.Response.Headers;
            headers.XFrameOptions = "DENY";
            headers.XContentTypeOptions = "nosniff";
            headers["Referrer-Policy"] = "no-referrer";
            headers.Append("Content-Security-Policy", "frame-ancestors 'none'");
            return Task.CompletedTask;
        });
        return next(context);
    }

    private async ValueTask<AccessKey?> Check(string? given, CancellationToken cancel) =>
        given is { Length: > 0 and < LongestKey } ? await store.Check(given, cancel) : null;

    private Task RefuseStranger(HttpContext context, string address)
    {
        if (!_failures.Spend(address))
        {
            if (_warnings.Spend(address)) log.LogWarning("{Address}: more attempts without a usable key than {Budget}", address, Failures);
            return RefuseForNow(context,
                "too many attempts without a usable key from this address. Correct the key (ARMOFLOW_KEY), then wait a moment.");
        }
        context.Response.Headers.WWWAuthenticate = Challenges;
        string behind = policy.IsLoopbackOnly && !policy.AlwaysAsksForKeys
            ? " It came through a proxy, or from another site: without a key this server answers this machine's users alone." : "";
        return Refuse(context, StatusCodes.Status401Unauthorized, "No usable key.",
            "expected 'Authorization: Bearer KEY' with a key that is neither expired nor revoked; make one with: armoflow keys "
                + $"create.{behind}");
    }

    private static Task RefuseForNow(HttpContext context, string detail)
    {
        context.Response.Headers.RetryAfter = 1.ToString(CultureInfo.InvariantCulture);
        return Refuse(context, StatusCodes.Status429TooManyRequests, "Too often.", detail);
    }

    /// <summary>
    /// What a caller is counted under: its address, and of IPv6 the network, of which a single caller may have all addresses.
    /// </summary>
    private static string NameOf(IPAddress? client) =>
        client is { AddressFamily: AddressFamily.InterNetworkV6 } ? Convert.ToHexStringLower(client.GetAddressBytes()[..NetworkBytes])
        : $"{client}";

    /// <summary>
    /// The key of 'Bearer KEY', or of 'Basic' with the key as the password, for clients that know only addresses such as
    /// http://key:KEY@host/.
    /// </summary>
    private static string? KeyOf(string header)
    {
        if (header.StartsWith(Bearer, StringComparison.OrdinalIgnoreCase)) return header[Bearer.Length..].Trim();
        if (!header.StartsWith(Basic, StringComparison.OrdinalIgnoreCase)) return header.Length == 0 ? null : "";
        try { return Encoding.UTF8.GetString(Convert.FromBase64String(header[Basic.Length..].Trim())).Split(':', 2)[^1]; }
        catch (FormatException) { return ""; }
    }

    /// <summary>
    /// A browser sends the name and password that it was told once with whatever any page makes it send, and is on this machine for
    /// the pages of any program here; only what reads is answered then.
    /// </summary>
    private static bool IsForged(HttpRequest request, bool isTrustedBrowser)
    {
        if (HttpMethods.IsGet(request.Method) || HttpMethods.IsHead(request.Method)) return false;
        bool hasBrowsersKey = request.Headers.Authorization.ToString().StartsWith(Basic, StringComparison.OrdinalIgnoreCase);
        if (!hasBrowsersKey && !isTrustedBrowser) return false;
        string site = request.Headers["Sec-Fetch-Site"].ToString(), origin = request.Headers.Origin.ToString();
        if (site is not ("" or "none" or "same-origin")) return true;
        return origin.Length > 0 && !(Uri.TryCreate(origin, UriKind.Absolute, out Uri? from) && from.Authority == request.Host.Value);
    }

    private static Task Refuse(HttpContext context, int status, string title, string detail) =>
        TypedResults.Problem(detail, title: title, statusCode: status).ExecuteAsync(context);
}

/// <summary>Puts the gate in front of all endpoints.</summary>
public static class AccessRegistration
{
    private const int LargestBody = 32 << 20;

    public static IServiceCollection AddAccess(this IServiceCollection services, AccessPolicy policy)
    {
        services.Configure<Microsoft.AspNetCore.Server.Kestrel.Core.KestrelServerOptions>(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = LargestBody;
            kestrel.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(15);
        });
        return services.AddSingleton(policy).AddSingleton<AccessGate>();
    }

    /// <summary>After routing, so that the endpoint is known.</summary>
    public static void UseAccess(this WebApplication app)
    {
        app.UseRouting();
        app.Use(app.Services.GetRequiredService<AccessGate>().Authorize);
    }

    public static T Requires<T>(this T endpoints, Scope? scope, bool alwaysAsksForKey = false) where T : IEndpointConventionBuilder =>
        endpoints.WithMetadata(new RequiredScope(scope, alwaysAsksForKey));
}

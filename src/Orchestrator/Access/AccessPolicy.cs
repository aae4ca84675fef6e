using System.Net;
using ArmoFlow.Contracts.Documents;
using Microsoft.AspNetCore.Http;

namespace ArmoFlow.Orchestrator.Access;

/// <summary>What an endpoint asks of its caller; one that says nothing asks for an administrator.</summary>
/// <param name="Scope">What the caller's key must allow; null for anybody.</param>
/// <param name="AlwaysAsksForKey">True where being on this machine does not do: what is given outlasts it.</param>
public sealed record RequiredScope(Scope? Scope, bool AlwaysAsksForKey = false);

/// <summary>Whom a server lets in without a key: nobody, or the users of the machine that it runs on.</summary>
/// <param name="IsLoopbackOnly">True where it listens on addresses that this machine alone can reach.</param>
public sealed record AccessPolicy(bool IsLoopbackOnly)
{
    private static readonly string[] SignsOfProxies = ["Forwarded", "Via", "X-Real-IP", "X-Client-IP", "X-Cluster-Client-IP",
        "True-Client-IP", "CF-Connecting-IP", "X-ProxyUser-Ip", "Fastly-Client-IP", "X-Envoy-External-Address", "X-Forwarded",
        "X-Amzn-Trace-Id"];
    private const string Forwarding = "X-Forwarded-", Original = "X-Original-";

    /// <summary>A key is asked for from this machine's users too: for a server behind a proxy on the same machine.</summary>
    public bool AlwaysAsksForKeys { get; init; }

    /// <summary>Whose word on a caller's address counts.</summary>
    public TrustedProxies Proxies { get; init; } = TrustedProxies.None;

    /// <summary>True where somebody must have a key before the server is of any use.</summary>
    public bool NeedsKeys => !IsLoopbackOnly || AlwaysAsksForKeys;

    /// <summary>From the addresses that Kestrel was given.</summary>
    public static AccessPolicy Of(IEnumerable<string> urls) => new(urls.All(u => IsLoopback(BindingAddress.Parse(u).Host)));

    /// <summary>True for the names and addresses of this machine to itself.</summary>
    public static bool IsLoopback(string host) =>
        host == "localhost" || (IPAddress.TryParse(host.Trim('[', ']'), out IPAddress? address) && IPAddress.IsLoopback(address));

    /// <summary>True for a request that this machine's own user may have sent with a client of theirs.</summary>
    public bool IsFromHere(HttpContext context) => !NeedsKeys && IsOfThisSite(context.Request) && !CameThroughProxy(context.Request);

    /// <summary>False for what a page of another site makes a browser on this machine send.</summary>
    public static bool IsOfThisSite(HttpRequest request) => IsLoopback(request.Host.Host)
        && (request.Headers.Origin.Count == 0
            || (Uri.TryCreate(request.Headers.Origin, UriKind.Absolute, out Uri? origin) && IsLoopback(origin.Host)));

    /// <summary>
    /// True where somebody else may be behind the connection: a header that proxies add, or HTTP/1.0, which some proxies speak to what
    /// is behind them. A proxy that leaves no trace is not seen: behind one, keys are to be asked for always.
    /// </summary>
    public static bool CameThroughProxy(HttpRequest request) =>
        HttpProtocol.IsHttp10(request.Protocol) || request.Headers.Keys.Any(IsSignOfProxy);

    private static bool IsSignOfProxy(string header) => SignsOfProxies.Contains(header, StringComparer.OrdinalIgnoreCase)
        || header.StartsWith(Forwarding, StringComparison.OrdinalIgnoreCase)
            || header.StartsWith(Original, StringComparison.OrdinalIgnoreCase);
}

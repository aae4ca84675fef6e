using System.Net;
using ArmoFlow.Persistence;
using Microsoft.AspNetCore.Http;

namespace ArmoFlow.Orchestrator.Access;

/// <summary>
/// Proxies whose X-Forwarded-For is believed: rate limits, the audit trail and logs then go by the caller's own address.
/// </summary>
public sealed class TrustedProxies(IReadOnlyList<IPNetwork> networks)
{
    private const string Variable = "ARMOFLOW_TRUSTED_PROXIES", ForwardedFor = "X-Forwarded-For";

    /// <summary>No proxy: a caller's address is that of its connection.</summary>
    public static TrustedProxies None { get; } = new([]);

    /// <summary>Those that ARMOFLOW_TRUSTED_PROXIES names.</summary>
    /// <exception cref="SettingException">One of them is not an address.</exception>
    public static TrustedProxies FromEnvironment() => Parse(Environment.GetEnvironmentVariable(Variable) ?? "");

    /// <param name="text">Addresses and networks such as 10.0.0.7 and 10.0.0.0/8, separated by commas.</param>
    /// <exception cref="SettingException">One of them is not an address.</exception>
    public static TrustedProxies Parse(string text)
    {
        List<IPNetwork> networks = [];
        foreach (string part in text.Split([',', ' ', ';'], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            if (IPNetwork.TryParse(part, out IPNetwork network)) networks.Add(network);
            else if (IPAddress.TryParse(part, out IPAddress? address))
            {
                networks.Add(new IPNetwork(address, address.GetAddressBytes().Length * 8));
            }
            else
            {
                throw new SettingException(
                    $"{Variable}: '{part}' is not an address; expected addresses and networks such as 10.0.0.7, 10.0.0.0/8.");
            }
        }
        return new TrustedProxies(networks);
    }

    /// <summary>
    /// The caller's own address: read from the right, the first of X-Forwarded-For that is no trusted proxy's. What stands further to
    /// the left anybody may have written.
    /// </summary>
    public IPAddress? ClientOf(HttpContext context)
    {
        IPAddress? client = Plain(context.Connection.RemoteIpAddress);
        if (client is null || !Trusts(client)) return client;
        string[] hops = context.Request.Headers[ForwardedFor].ToString().Split(',',
            StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        foreach (string hop in hops.Reverse())
        {
            if (!TryParse(hop, out IPAddress? address)) return client; // nonsense: whoever passed it on is the last that is known
            client = Plain(address)!;
            if (!Trusts(client)) return client;
        }
        return client;
    }

    private bool Trusts(IPAddress address) => networks.Any(n => n.Contains(address));

    /// <summary>Some proxies write the port along.</summary>
    private static bool TryParse(string hop, out IPAddress? address)
    {
        if (IPAddress.TryParse(hop, out address)) return true;
        if (!IPEndPoint.TryParse(hop, out IPEndPoint? end)) return false;
        address = end.Address;
        return true;
    }

    private static IPAddress? Plain(IPAddress? address) => address is { IsIPv4MappedToIPv6: true } ? address.MapToIPv4() : address;
}

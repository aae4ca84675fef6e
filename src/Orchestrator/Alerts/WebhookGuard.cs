using System.Net;
using System.Net.Sockets;

namespace ArmoFlow.Orchestrator.Alerts;

/// <summary>
/// Keeps webhooks from addresses that only this machine or its network reaches: loopback, link-local (where clouds keep their
/// machines' credentials), unspecified and multicast. The address that is connected to is the one that was looked at, so a name
/// that changes
/// in between is of no use; redirects are not followed. ARMOFLOW_WEBHOOKS_LOCAL=1 allows loopback and link-local.
/// </summary>
public static class WebhookGuard
{
    private const int MostBody = 64 << 10;
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(15);

    public static HttpClient NewClient(bool allowsLocal) => new(new SocketsHttpHandler
    {
        AllowAutoRedirect = false,
        UseProxy = false,
        UseCookies = false,
        PooledConnectionLifetime = TimeSpan.FromMinutes(1),
        ConnectTimeout = Limit,
        MaxResponseHeadersLength = 16, // KiB
        MaxResponseDrainSize = MostBody, // a longer answer, or one that trickles, ends its connection
        ResponseDrainTimeout = TimeSpan.FromSeconds(1),
        ConnectCallback = async (context, cancel) =>
        {
            IPAddress[] addresses =
                [.. (await Dns.GetHostAddressesAsync(context.DnsEndPoint.Host, cancel)).Where(a => allowsLocal || IsPublic(a))];
            if (addresses.Length == 0)
            {
                throw new HttpRequestException($"{context.DnsEndPoint.Host} is a loopback or link-local address, which webhooks may not "
                    + "reach (ARMOFLOW_WEBHOOKS_LOCAL=1 allows it)");
            }
            Socket socket = new(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            try
            {
                await socket.ConnectAsync(addresses, context.DnsEndPoint.Port, cancel);
                return new NetworkStream(socket, ownsSocket: true);
            }
            catch
            {
                socket.Dispose();
                throw;
            }
        },
    })
    // The caller has a limit for all of it; this is what the connection alone may take.
    { Timeout = Timeout.InfiniteTimeSpan, MaxResponseContentBufferSize = MostBody };

    /// <summary>False for addresses of this machine and of its link.</summary>
    public static bool IsPublic(IPAddress address)
    {
        if (address.IsIPv4MappedToIPv6) address = address.MapToIPv4();
        if (IPAddress.IsLoopback(address)
            || address.Equals(IPAddress.IPv6Any)
            || address.IsIPv6LinkLocal
            || address.IsIPv6Multicast
            || address.IsIPv6SiteLocal)
            return false;
        if (address.AddressFamily != AddressFamily.InterNetwork) return true;
        byte[] bytes = address.GetAddressBytes();
        return !(bytes[0] == 0 || (bytes[0] == 169 && bytes[1] == 254) || bytes[0] >= 224);
    }
}

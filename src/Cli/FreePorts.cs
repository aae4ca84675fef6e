using System.Net;
using System.Net.Sockets;

namespace ArmoFlow.Cli;

/// <summary>TCP ports of 127.0.0.1 for servers that this process starts.</summary>
internal static class FreePorts
{
    /// <summary>Below those that systems give to outgoing connections, which could take one before its server does.</summary>
    private const int First = 12_000, End = 32_000;

    private static readonly HashSet<int> Given = [];

    /// <summary>A port that nothing listens on and that this process was not given before.</summary>
    public static int Next()
    {
        while (true)
        {
            int port = Random.Shared.Next(First, End);
            lock (Given)
            {
                if (!Given.Add(port)) continue;
            }
            if (IsFree(port)) return port;
        }
    }

    private static bool IsFree(int port)
    {
        using TcpListener listener = new(IPAddress.Loopback, port);
        try { listener.Start(); }
        catch (SocketException) { return false; }
        return true;
    }
}

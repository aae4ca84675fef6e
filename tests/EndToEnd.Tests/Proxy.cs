using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>A TCP proxy whose line can be cut: what is sent is swallowed, and nobody is told.</summary>
internal sealed class Proxy : IDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentDictionary<TcpClient, byte> _clients = new();
    private volatile int _target;
    private volatile bool _cut;

    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    public Proxy(int target)
    {
        _target = target;
        _listener.Start();
        _ = Accept();
    }

    /// <summary>Ends every connection; new ones go elsewhere.</summary>
    public void TurnTo(int target)
    {
        _target = target;
        foreach (TcpClient client in _clients.Keys) client.Close();
    }

    public async Task Cut(TimeSpan duration)
    {
        _cut = true;
        await Task.Delay(duration);
        _cut = false;
    }

    private async Task Accept()
    {
        try
        {
            while (true)
            {
                TcpClient client = await _listener.AcceptTcpClientAsync(_stop.Token);
                _ = Relay(client);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException) { }
    }

    private async Task Relay(TcpClient client)
    {
        using TcpClient server = new();
        using (client)
        {
            _clients[client] = 0;
            try
            {
                await server.ConnectAsync(IPAddress.Loopback, _target, _stop.Token);
                await Task.WhenAny(Copy(client.GetStream(), server.GetStream()), Copy(server.GetStream(), client.GetStream()));
            }
            catch (Exception e)
                when (e is IOException or SocketException or OperationCanceledException or ObjectDisposedException
                    or InvalidOperationException)
            { }
            finally { _clients.TryRemove(client, out _); }
        }
    }

    private async Task Copy(NetworkStream from, NetworkStream to)
    {
        byte[] buffer = new byte[1 << 16];
        bool broken = false;
        while (true)
        {
            int read = await from.ReadAsync(buffer, _stop.Token);
            if (read == 0) return;
            broken |= _cut; // a stream that lost bytes cannot go on: it stays silent until somebody gives up
            if (!broken) await to.WriteAsync(buffer.AsMemory(0, read), _stop.Token);
        }
    }

    public void Dispose()
    {
        _stop.Cancel();
        _listener.Dispose();
        _stop.Dispose();
    }
}

using RabbitMQ.Client;
using RabbitMQ.Client.Events;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>Stands between the exchanges and the queues: delivers every message twice, or late and out of order.</summary>
internal sealed class Meddler : IAsyncDisposable
{
    public static readonly string[] Queues =
        ["runs", "ingestion", "features", "feature-shards", "regression", "decorrelation", "gating", "evaluation"];

    private readonly IConnection _connection;
    private readonly IChannel _channel;
    private readonly SemaphoreSlim _one = new(1);
    private readonly Random _random = new(17);
    private readonly int _copies;
    private readonly TimeSpan _longest;
    private int _meddled;

    /// <summary>How many messages went through its hands.</summary>
    public int Meddled => _meddled;

    private Meddler(IConnection connection, IChannel channel, int copies, TimeSpan longest) =>
        (_connection, _channel, _copies, _longest) = (connection, channel, copies, longest);

    public static async Task<Meddler> Start(string rabbitMq, int copies, TimeSpan longestDelay, params string[] queues)
    {
        IConnection connection = await new ConnectionFactory { Uri = new Uri(rabbitMq) }.CreateConnectionAsync();
        Meddler meddler = new(connection, await connection.CreateChannelAsync(), copies, longestDelay);
        foreach (string queue in queues)
        {
            string mine = $"meddled-{queue}";
            await meddler._channel.QueueDeclareAsync(mine, durable: true, exclusive: false, autoDelete: false);
            await meddler._channel.QueueBindAsync(mine, queue, "");
            await meddler._channel.QueueUnbindAsync(queue, queue, "");
            AsyncEventingBasicConsumer consumer = new(meddler._channel);
            consumer.ReceivedAsync += (_, e) => meddler.PassOn(queue, e);
            await meddler._channel.BasicConsumeAsync(mine, autoAck: true, consumer);
        }
        return meddler;
    }

    private Task PassOn(string queue, BasicDeliverEventArgs message)
    {
        BasicProperties properties = new(message.BasicProperties);
        byte[] body = message.Body.ToArray();
        Interlocked.Increment(ref _meddled);
        for (int copy = 0; copy < _copies; copy++) _ = Later(queue, properties, body);
        return Task.CompletedTask;
    }

    private async Task Later(string queue, BasicProperties properties, byte[] body)
    {
        TimeSpan delay;
        lock (_random) delay = _longest * _random.NextDouble();
        await Task.Delay(delay);
        await _one.WaitAsync();
        try { await _channel.BasicPublishAsync("", queue, mandatory: false, properties, body); }
        finally { _one.Release(); }
    }

    public async ValueTask DisposeAsync()
    {
        await _channel.DisposeAsync();
        await _connection.DisposeAsync();
        _one.Dispose();
    }
}

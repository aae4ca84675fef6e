using System.Diagnostics.Metrics;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Datasets;
using ArmoFlow.Contracts.Features;
using ArmoFlow.Contracts.Scoring;
using ArmoFlow.Persistence;
using Microsoft.Extensions.Logging;
using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;

namespace ArmoFlow.Cli;

/// <summary>How many messages wait in each queue, as RabbitMQ counts them; a gauge beside the other metrics.</summary>
internal sealed class QueueDepths : PeriodicService
{
    internal static readonly string[] Queues =
        ["runs", "schedules", .. StepCatalogue.Names, ExtractShard.Queue, ScoreResponses.Queue, DatasetArrived.Queue];
    private readonly Meter _meter = new(Instruments.MeterName);
    private readonly Uri _rabbitMq;
    private volatile IReadOnlyList<Measurement<long>> _depths = [];
    private IConnection? _connection;

    public QueueDepths(Uri rabbitMq, ILogger<QueueDepths> log) : base("queue depths", TimeSpan.FromSeconds(15), FirstRound.AtOnce, log)
    {
        _rabbitMq = rabbitMq;
        _meter.CreateObservableGauge("armoflow.queue.depth", () => _depths, null, "Messages that wait, by queue.");
    }

    protected override async Task Round(CancellationToken cancel)
    {
        try
        {
            if (_connection is not { IsOpen: true }) await Connect(cancel);
            _depths = await Count(_connection!, cancel);
        }
        catch
        {
            _depths = [];
            throw;
        }
    }

    // the bus itself says that the broker is away
    protected override bool IsTransient(Exception e) =>
        e is BrokerUnreachableException or AlreadyClosedException or OperationInterruptedException or IOException;

    protected override async Task End()
    {
        if (_connection is not null) await _connection.DisposeAsync();
    }

    private async Task Connect(CancellationToken cancel)
    {
        if (_connection is not null) await _connection.DisposeAsync();
        _connection = null;
        _connection = await new ConnectionFactory { Uri = _rabbitMq }.CreateConnectionAsync(cancel);
    }

    private static async Task<IReadOnlyList<Measurement<long>>> Count(IConnection connection, CancellationToken cancel)
    {
        List<Measurement<long>> depths = [];
        foreach (string queue in Queues)
        {
            await using IChannel channel = await connection.CreateChannelAsync(cancellationToken: cancel);
            try { depths.Add(new Measurement<long>(await channel.MessageCountAsync(queue, cancel), Instruments.Tag("queue", queue))); }
            catch (OperationInterruptedException) { } // nobody serves it yet; the channel is closed by it
        }
        return depths;
    }

    public override void Dispose()
    {
        _meter.Dispose();
        base.Dispose();
    }
}

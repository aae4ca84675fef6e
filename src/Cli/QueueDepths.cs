using System.Diagnostics.Metrics;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Datasets;
using ArmoFlow.Contracts.Features;
using ArmoFlow.Contracts.Scoring;
using ArmoFlow.Persistence;
using Microsoft.Extensions.Hosting;
using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;

namespace ArmoFlow.Cli;

/// <summary>How many messages wait in each queue, as RabbitMQ counts them; a gauge beside the other metrics.</summary>
internal sealed class QueueDepths(Uri rabbitMq) : BackgroundService
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(15);
    internal static readonly string[] Queues =
        ["runs", "schedules", .. StepNames.All, ExtractShard.Queue, ScoreResponses.Queue, DatasetArrived.Queue];
    private readonly Meter _meter = new(Instruments.MeterName);
    private volatile IReadOnlyList<Measurement<long>> _depths = [];

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        _meter.CreateObservableGauge("armoflow.queue.depth", () => _depths, null, "Messages that wait, by queue.");
        using PeriodicTimer timer = new(Interval);
        try
        {
            do
            {
                try { await Follow(timer, stoppingToken); }
                // the bus itself says that the broker is away
                catch (Exception e)
                    when (e is BrokerUnreachableException or AlreadyClosedException or OperationInterruptedException or IOException)
                {
                    _depths = [];
                }
            }
            while (await timer.WaitForNextTickAsync(stoppingToken));
        }
        catch (OperationCanceledException) { }
    }

    private async Task Follow(PeriodicTimer timer, CancellationToken cancel)
    {
        await using IConnection connection = await new ConnectionFactory { Uri = rabbitMq }.CreateConnectionAsync(cancel);
        do
        {
            List<Measurement<long>> depths = [];
            foreach (string queue in Queues)
            {
                await using IChannel channel = await connection.CreateChannelAsync(cancellationToken: cancel);
                try { depths.Add(new Measurement<long>(await channel.MessageCountAsync(queue, cancel), Instruments.Tag("queue", queue))); }
                catch (OperationInterruptedException) { } // nobody serves it yet; the channel is closed by it
            }
            _depths = depths;
        }
        while (await timer.WaitForNextTickAsync(cancel));
    }

    public override void Dispose()
    {
        _meter.Dispose();
        base.Dispose();
    }
}

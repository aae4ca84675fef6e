using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Outbox;
using MassTransit;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Npgsql;
using Shouldly;
using Xunit;
using static ArmoFlow.EndToEnd.Tests.Waiting;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>Several orchestrators send what one Postgres holds: each message once, and a run's messages one after the other.</summary>
public sealed class OutboxOrderTests(FaultBench bench)
{
    private const int Runs = 20, MessagesOfEach = 15, Processes = 3;

    public sealed record Said(Guid RunId, int Number);

    /// <summary>A message of a run that was sent, and when its sending began and ended, in one count for all processes.</summary>
    private sealed record Sent(Guid Run, int Number, int Process, long Begin, long End);

    /// <summary>Stands for a broker that takes its time.</summary>
    private sealed class SlowBroker(int process, Record record) : ISendObserver
    {
        public async Task PreSend<T>(SendContext<T> context) where T : class
        {
            long begin = record.Tick();
            await Task.Delay(Random.Shared.Next(20));
            JsonNode said = JsonNode.Parse(context.Serializer.GetMessageBody(context).GetString())!["message"]!;
            record.All.Enqueue(new Sent(said["runId"]!.GetValue<Guid>(), said["number"]!.GetValue<int>(), process, begin, record.Tick()));
        }

        public Task PostSend<T>(SendContext<T> context) where T : class => Task.CompletedTask;

        public Task SendFault<T>(SendContext<T> context, Exception exception) where T : class => Task.CompletedTask;
    }

    private sealed class Record
    {
        private long _time;

        public ConcurrentQueue<Sent> All { get; } = [];

        public long Tick() => Interlocked.Increment(ref _time);
    }

    [Fact]
    public async Task Three_processes_share_the_outbox_and_never_send_two_messages_of_a_run_at_once_or_out_of_order()
    {
        await bench.Require();
        await using Cluster cluster = await Cluster.Make(bench.Servers, "outbox_order");
        Record record = new();
        IHost[] hosts = [.. Enumerable.Range(0, Processes).Select(process => Orchestrator(cluster, process, record))];
        try
        {
            Guid[] runs = [.. Enumerable.Range(0, Runs).Select(_ => Guid.NewGuid())];
            BusOutbox outbox = hosts[0].Services.GetRequiredService<BusOutbox>();
            // Half of them wait before anybody looks, the others come while all send.
            await Say(0, MessagesOfEach / 2);
            await Task.WhenAll(hosts.Select(h => h.StartAsync(TestContext.Current.CancellationToken)));
            await Say(MessagesOfEach / 2, MessagesOfEach);
            await Eventually(async () => await cluster.Count("select count(*) from outbox_state") == 0);

            record.All.Count.ShouldBe(Runs * MessagesOfEach);
            foreach (IGrouping<Guid, Sent> run in record.All.GroupBy(s => s.Run))
            {
                Sent[] inTime = [.. run.OrderBy(s => s.Begin)];
                inTime.Select(s => s.Number).ShouldBe(Enumerable.Range(0, MessagesOfEach));
                for (int i = 1; i < inTime.Length; i++) inTime[i].Begin.ShouldBeGreaterThan(inTime[i - 1].End);
            }
            record.All.Select(s => s.Process).Distinct().Count().ShouldBeGreaterThan(1, "one process sent everything: nothing was shared");

            async Task Say(int from, int to)
            {
                for (int number = from; number < to; number++)
                {
                    await Parallel.ForEachAsync(runs, async (run, cancel) =>
                    {
                        await using ArmoFlowDbContext db =
                            await hosts[0].Services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>().CreateDbContextAsync(cancel);
                        await outbox.Save(db, new Said(run, number), cancel);
                    });
                }
            }
        }
        finally
        {
            await Task.WhenAll(hosts.Select(h => h.StopAsync(CancellationToken.None)));
            foreach (IHost host in hosts) host.Dispose();
        }
    }

    /// <summary>What an orchestrator's delivery needs, on a bus that only writes down what it is sent.</summary>
    private static IHost Orchestrator(Cluster cluster, int process, Record record)
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
        string postgres =
            new NpgsqlConnectionStringBuilder(cluster.Postgres) { ApplicationName = $"orchestrator {process}" }.ConnectionString;
        builder.Services.AddServerPersistence(postgres, cluster.Store, CacheOptions.Default).AddHostedService<OutboxDelivery>();
        builder.Services.AddMassTransit(bus =>
        {
            bus.UseConsumerOutbox();
            bus.UsingInMemory((_, transport) => transport.ConnectSendObserver(new SlowBroker(process, record)));
        });
        return builder.Build();
    }
}

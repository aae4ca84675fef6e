using System.Diagnostics;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json.Nodes;
using ArmoFlow.Cli;
using Npgsql;
using RabbitMQ.Client;
using Shouldly;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>Orchestrators and workers on a database, a virtual host and a store of their own.</summary>
internal sealed class Cluster : IAsyncDisposable
{
    private static readonly TimeSpan StartLimit = TimeSpan.FromMinutes(5), AskInterval = TimeSpan.FromMilliseconds(100),
        LookInterval = TimeSpan.FromMilliseconds(15);
    private const string Migrated = "migrated";
    // a cold server on a busy machine answers its first call late
    private readonly HttpClient _http = new() { Timeout = TimeSpan.FromSeconds(30) };
    private readonly List<Member> _members = [];
    private readonly string _folder = Directory.CreateTempSubdirectory("armoflow-cluster-").FullName;
    private readonly string _store;

    /// <summary>What the environment of members that are started apart from now on holds besides.</summary>
    public List<(string Name, string Value)> Environment { get; } = [];

    public IReadOnlyList<Member> Members => _members;

    /// <summary>What processes that are started from now on, and the test itself, connect to.</summary>
    public string Postgres { get; set; }
    public string Store => _store;
    public string RabbitMq { get; }
    public string VirtualHost { get; }
    public string Url { get; } = $"http://127.0.0.1:{FreePorts.Next()}";

    private Cluster(DevServers servers, string name, string? store)
    {
        _store = store ?? _folder;
        VirtualHost = name;
        Postgres = Database(servers, name);
        RabbitMq = servers.RabbitMqAddress.TrimEnd('/') + "/" + name;
    }

    /// <param name="servers">The servers.</param>
    /// <param name="name">Of the database and the virtual host.</param>
    /// <param name="store">The artifact store; a folder of its own if null.</param>
    public static async Task<Cluster> Make(DevServers servers, string name, string? store = null)
    {
        await using (NpgsqlConnection connection = new(servers.PostgresConnection))
        {
            await connection.OpenAsync();
            await using NpgsqlCommand create = new($"create database {name} template {Migrated}", connection);
            await create.ExecuteNonQueryAsync();
        }
        // One call for both: each starts an Erlang machine of its own.
        string add = $"rabbit_vhost:add(<<\"{name}\">>, <<\"guest\">>)", all = "<<\".*\">>";
        string permit = $"rabbit_auth_backend_internal:set_permissions(<<\"guest\">>, <<\"{name}\">>, {all}, {all}, {all}, <<\"guest\">>)";
        await servers.RabbitControl(["eval", $"{add}, {permit}."], default);
        return new Cluster(servers, name, store);
    }

    /// <summary>Makes the database that those of all clusters are copies of.</summary>
    public static async Task Prepare(DevServers servers)
    {
        await using (NpgsqlConnection connection = new(servers.PostgresConnection))
        {
            await connection.OpenAsync();
            await using NpgsqlCommand create = new($"create database {Migrated}", connection);
            await create.ExecuteNonQueryAsync();
        }
        // Apart: a database of which a copy is made must have no connection, not even one that is kept for its next use.
        CommandResult migrated = await CommandLine.RunApart("db", "migrate", "--postgres", Database(servers, Migrated));
        migrated.ExitCode.ShouldBe(0, migrated.Error);
    }

    private static string Database(DevServers servers, string name) =>
        servers.PostgresConnection.Replace("Database=postgres", $"Database={name}", StringComparison.Ordinal);

    /// <param name="url">Where it listens; the cluster's own address if null.</param>
    /// <param name="name">What its connections to Postgres are called there.</param>
    /// <param name="apart">In a process of its own, to be killed, stopped or measured.</param>
    public Task<Member> Orchestrator(string? url = null, string? name = null, bool apart = false) =>
        Start("orchestrator on ", apart, name is null
            ? null
            : $"{Postgres};Application Name={name}", null, ["orchestrator", "--urls", url ?? Url]);

    /// <summary>A worker in a process of its own, to be killed, stopped or measured.</summary>
    public Task<Member> WorkerApart(params string[] more) => Start("worker for ", apart: true, null, null, ["worker", .. more]);

    /// <summary>A worker, possibly behind proxies.</summary>
    public Task<Member> Worker(string? postgres = null, string? rabbitMq = null) =>
        Start("worker for ", apart: false, postgres, rabbitMq, ["worker"]);

    private async Task<Member> Start(string sign, bool apart, string? postgres, string? rabbitMq, string[] command)
    {
        string[] arguments =
            [.. command, "--postgres", postgres ?? Postgres, "--rabbitmq", rabbitMq ?? RabbitMq, "--artifacts", _store];
        (string, string)[] environment = [("ARMOFLOW_CACHE", Path.Combine(_folder, $"cache-{_members.Count}")), .. Environment];
        Member member = apart ? Member.Apart(sign, arguments, environment) : Member.Here(sign, arguments);
        lock (_members) _members.Add(member);
        await member.Announced.WaitAsync(StartLimit);
        return member;
    }

    public async Task<string> Submit(string spec)
    {
        using HttpRequestMessage request = new(HttpMethod.Post, Url + "/api/v1/runs")
        {
            Content = new StringContent(await File.ReadAllTextAsync(spec), Encoding.UTF8, "application/yaml")
        };
        request.Headers.Add("X-Spec-Folder", Path.GetDirectoryName(Path.GetFullPath(spec)));
        using HttpResponseMessage response = await _http.SendAsync(request);
        return JsonNode.Parse(await response.Content.ReadAsStringAsync())!["runId"]!.GetValue<string>();
    }

    /// <summary>The run's state as the database has it; null while the database is away.</summary>
    public async Task<string?> StateOf(string run)
    {
        try
        {
            await using NpgsqlConnection connection = new(Postgres);
            await connection.OpenAsync();
            await using NpgsqlCommand query = new($"select current_state from runs where correlation_id = '{run}'", connection);
            return (string?)await query.ExecuteScalarAsync();
        }
        catch (NpgsqlException) { return null; }
    }

    public async Task<bool> HasEnded(string run) => await StateOf(run) is "Completed" or "Failed" or "Cancelled";

    /// <summary>Waits for a run's end, whatever orchestrator is there to tell.</summary>
    /// <exception cref="TimeoutException">The run is stuck.</exception>
    public async Task<JsonNode> Finished(string run, TimeSpan limit)
    {
        for (long start = Stopwatch.GetTimestamp(); ; await Task.Delay(AskInterval))
        {
            if (await HasEnded(run))
            {
                try { return JsonNode.Parse(await _http.GetStringAsync($"{Url}/api/v1/runs/{run}"))!; }
                catch (Exception e) when (e is HttpRequestException or TaskCanceledException) { }
            }
            if (Stopwatch.GetElapsedTime(start) > limit)
                throw new TimeoutException($"the run is stuck in {await StateOf(run)}:\n{string.Join('\n', _members.Select(m => m.Said))}");
        }
    }

    /// <summary>Waits until a run reaches a state.</summary>
    /// <exception cref="TimeoutException">The run is stuck, or went past.</exception>
    public async Task UntilState(string run, string state)
    {
        long start = Stopwatch.GetTimestamp();
        while (true)
        {
            string? now = await StateOf(run);
            if (now == state || now == "Completed") return;
            if (Stopwatch.GetElapsedTime(start) > StartLimit || now is "Failed")
                throw new TimeoutException($"the run is {now}, not {state}");
            await Task.Delay(LookInterval);
        }
    }

    public async Task Do(string sql)
    {
        await using NpgsqlConnection connection = new(Postgres);
        await connection.OpenAsync();
        await using NpgsqlCommand command = new(sql, connection);
        await command.ExecuteNonQueryAsync();
    }

    public async Task<long> Count(string sql) => Convert.ToInt64(await Scalar(sql), System.Globalization.CultureInfo.InvariantCulture);

    public async Task<string> Text(string sql) => (string)(await Scalar(sql))!;

    private async Task<object?> Scalar(string sql)
    {
        await using NpgsqlConnection connection = new(Postgres);
        await connection.OpenAsync();
        await using NpgsqlCommand query = new(sql, connection);
        return await query.ExecuteScalarAsync();
    }

    /// <summary>Puts bytes into a queue as they are, past everything that would have made a message of them.</summary>
    public async Task Put(string queue, string body, string contentType = "application/vnd.masstransit+json")
    {
        await using IConnection connection = await new ConnectionFactory { Uri = new Uri(RabbitMq) }.CreateConnectionAsync();
        await using IChannel channel = await connection.CreateChannelAsync();
        await channel.BasicPublishAsync("", queue, mandatory: true, new BasicProperties { ContentType = contentType },
            Encoding.UTF8.GetBytes(body));
    }

    public Task<string> Get(string path) => _http.GetStringAsync(Url + path);

    public async Task Post(string path, object? body = null)
    {
        using HttpResponseMessage response = await _http.PostAsJsonAsync(Url + path, body);
        response.IsSuccessStatusCode.ShouldBeTrue(await response.Content.ReadAsStringAsync());
    }

    public async ValueTask DisposeAsync()
    {
        await Task.WhenAll(_members.Select(m => m.DisposeAsync().AsTask()));
        _http.Dispose();
        NpgsqlConnection.ClearAllPools();
        Directory.Delete(_folder, recursive: true);
    }
}

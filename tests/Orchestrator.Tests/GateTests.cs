using System.Data.Common;
using System.Net;
using System.Net.Http.Headers;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Orchestrator.Access;
using ArmoFlow.Orchestrator.Api;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Access;
using ArmoFlow.Persistence.Audit;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Data.Sqlite;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;
using Shouldly;
using Xunit;

namespace ArmoFlow.Orchestrator.Tests;

/// <summary>Who passes the gate without a key, who is not listened to, and what a flood of wrong keys costs.</summary>
public sealed class GateTests
{
    private const string Loopback = "127.0.0.1";

    [Theory]
    [InlineData("localhost", null, null, HttpStatusCode.OK)]
    [InlineData("127.0.0.1:5080", null, null, HttpStatusCode.OK)]
    [InlineData("localhost", "Origin", "http://localhost:5080", HttpStatusCode.OK)]
    [InlineData("localhost", "Origin", "https://elsewhere.example", HttpStatusCode.MisdirectedRequest)]
    [InlineData("armoflow.example.com", null, null, HttpStatusCode.MisdirectedRequest)]
    [InlineData("localhost", "X-Forwarded-For", "203.0.113.9", HttpStatusCode.Unauthorized)]
    [InlineData("localhost", "X-Forwarded-For", "127.0.0.1", HttpStatusCode.Unauthorized)]
    [InlineData("localhost", "X-Forwarded-Proto", "https", HttpStatusCode.Unauthorized)]
    [InlineData("localhost", "X-Forwarded-Host", "armoflow.example.com", HttpStatusCode.Unauthorized)]
    [InlineData("localhost", "Forwarded", "for=203.0.113.9", HttpStatusCode.Unauthorized)]
    [InlineData("localhost", "Via", "1.1 proxy", HttpStatusCode.Unauthorized)]
    [InlineData("localhost", "X-Real-IP", "203.0.113.9", HttpStatusCode.Unauthorized)]
    [InlineData("localhost", "x-real-ip", "203.0.113.9", HttpStatusCode.Unauthorized)]
    [InlineData("armoflow.example.com", "X-Forwarded-For", "203.0.113.9", HttpStatusCode.Unauthorized)]
    public async Task On_loopback_nobody_is_asked_for_a_key_who_comes_without_a_proxy_s_traces(string host, string? header, string? value,
        HttpStatusCode expected)
    {
        await using Server server = await Server.Start(new AccessPolicy(IsLoopbackOnly: true));
        foreach (string path in new[] { "/api/v1/models", "/admin" })
        {
            (await server.Ask(path, host, header is null ? [] : [(header, value!)])).ShouldBe(expected, path);
            (await server.Ask(path, host, header is null ? [] : [(header, value!)], server.Admin)).ShouldBe(HttpStatusCode.OK,
                $"{path}: a key opens the door from anywhere");
            (await server.Ask(path, host, header is null ? []
                : [(header, value!)], "armoflow_aa_bb")).ShouldBe(HttpStatusCode.Unauthorized, path);
        }
    }

    [Fact]
    public async Task A_request_of_HTTP_1_0_is_a_proxy_s()
    {
        await using Server server = await Server.Start(new AccessPolicy(IsLoopbackOnly: true));
        using HttpRequestMessage request = new(HttpMethod.Get, "/api/v1/models")
        {
            Version = HttpVersion.Version10,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact
        };
        using HttpResponseMessage response = await server.Http.SendAsync(request, TestContext.Current.CancellationToken);
        response.StatusCode.ShouldBe(HttpStatusCode.Unauthorized);
        (await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken)).ShouldContain("through a proxy");
    }

    [Fact]
    public async Task Where_keys_are_always_asked_for_this_machine_s_users_are_asked_too_and_any_name_of_the_server_will_do()
    {
        await using Server server = await Server.Start(new AccessPolicy(IsLoopbackOnly: true) { AlwaysAsksForKeys = true });
        (await server.Ask("/api/v1/models", "localhost", [])).ShouldBe(HttpStatusCode.Unauthorized);
        (await server.Ask("/api/v1/models", "localhost", [], server.Viewer)).ShouldBe(HttpStatusCode.OK);
        (await server.Ask("/api/v1/models", "armoflow.example.com", [("X-Forwarded-For", "203.0.113.9")],
            server.Viewer)).ShouldBe(HttpStatusCode.OK);
        (await server.Ask("/admin", "localhost", [], server.Viewer)).ShouldBe(HttpStatusCode.Forbidden);
        (await server.Ask("/health/live", "localhost", [])).ShouldBe(HttpStatusCode.OK);
    }

    [Fact]
    public async Task No_answer_may_be_framed_or_guessed_at()
    {
        await using Server server = await Server.Start(new AccessPolicy(IsLoopbackOnly: true));
        foreach (string path in new[] { "/health/live", "/api/v1/models", "/nothing", "/fails" })
        {
            using HttpResponseMessage response = await server.Http.GetAsync(new Uri(path, UriKind.Relative),
                TestContext.Current.CancellationToken);
            string Header(string name) =>
                string.Join(", ", response.Headers.TryGetValues(name, out IEnumerable<string>? values) ? values
                : response.Content.Headers.TryGetValues(name, out values) ? values : []);
            (Header("X-Frame-Options"), Header("X-Content-Type-Options"), Header("Referrer-Policy"),
                Header("Content-Security-Policy")).ShouldBe(("DENY", "nosniff", "no-referrer", "frame-ancestors 'none'"), path);
        }
    }

    [Fact]
    public async Task A_flood_of_wrong_keys_is_cut_off_costs_the_database_nothing_and_ordinary_callers_go_on_being_served()
    {
        const int Attempts = 3000, Served = 200;
        Counting queries = new();
        await using Server server =
            await Server.Start(new AccessPolicy(IsLoopbackOnly: false) { Proxies = TrustedProxies.Parse(Loopback) }, queries);
        (string Name, string Value)[] flood = [("X-Forwarded-For", "198.51.100.7")], elsewhere = [("X-Forwarded-For", "198.51.100.8")];
        (await server.Ask("/counted", "localhost", elsewhere, server.Viewer)).ShouldBe(HttpStatusCode.OK);
        queries.Count = 0;
        long start = System.Diagnostics.Stopwatch.GetTimestamp();
        int answered = 0, cutOff = 0;
        Task flooding = Parallel.ForAsync(0, Attempts, new ParallelOptions { MaxDegreeOfParallelism = 8 }, async (i, _) =>
        {
            HttpStatusCode status = await server.Ask("/counted", "localhost", flood, $"armoflow_{i:x12}_{i:x64}");
            if (status == HttpStatusCode.Unauthorized) Interlocked.Increment(ref answered);
            else if (status == HttpStatusCode.TooManyRequests) Interlocked.Increment(ref cutOff);
        });
        for (int i = 0; i < Served; i++)
        {
            (await server.Ask("/counted", "localhost", i % 2 == 0 ? elsewhere
            : flood, server.Viewer)).ShouldBe(HttpStatusCode.OK, "also from the address that the flood comes from");
        }
        await flooding;
        double seconds = System.Diagnostics.Stopwatch.GetElapsedTime(start).TotalSeconds;
        (answered + cutOff).ShouldBe(Attempts);
        ((double)answered).ShouldBeLessThanOrEqualTo(AccessGate.Failures.Burst + (seconds * AccessGate.Failures.PerSecond) + 1);
        ((double)queries.Count).ShouldBeLessThanOrEqualTo((seconds / AccessKeyStore.Fresh.TotalSeconds) + 3,
            "the keys are read a few times a second, and the use of one is noted once");
    }

    [Fact]
    public async Task Whoever_is_on_this_machine_may_do_everything_but_make_what_outlasts_that()
    {
        await using Server server = await Server.Start(new AccessPolicy(IsLoopbackOnly: true));
        (await server.Ask("/admin", "localhost", [])).ShouldBe(HttpStatusCode.OK);
        (await server.Ask("/lasting", "localhost", [])).ShouldBe(HttpStatusCode.Unauthorized);
        (await server.Ask("/lasting", "localhost", [], server.Viewer)).ShouldBe(HttpStatusCode.Forbidden);
        (await server.Ask("/lasting", "localhost", [], server.Admin)).ShouldBe(HttpStatusCode.OK);
    }

    [Fact]
    public async Task A_key_that_is_made_or_revoked_counts_at_once()
    {
        await using Server server = await Server.Start(new AccessPolicy(IsLoopbackOnly: false));
        (await server.Ask("/api/v1/models", "localhost", [], server.Viewer)).ShouldBe(HttpStatusCode.OK);
        NewKey key = await server.Keys.Create(new KeyRequest { Name = "late" }, default);
        (await server.Ask("/api/v1/models", "localhost", [], key.Key)).ShouldBe(HttpStatusCode.OK);
        await server.Keys.Revoke(key.Id, default);
        (await server.Ask("/api/v1/models", "localhost", [], key.Key)).ShouldBe(HttpStatusCode.Unauthorized);
    }

    [Theory]
    [InlineData("", "203.0.113.1", "192.0.2.1", "203.0.113.1")]
    [InlineData("203.0.113.0/24", "203.0.113.1", "192.0.2.1", "192.0.2.1")]
    [InlineData("203.0.113.0/24", "203.0.113.1", "6.6.6.6, 192.0.2.1", "192.0.2.1")]
    [InlineData("203.0.113.0/24, 192.0.2.1", "203.0.113.1", "6.6.6.6, 198.51.100.2, 192.0.2.1", "198.51.100.2")]
    [InlineData("203.0.113.0/24", "203.0.113.1", "", "203.0.113.1")]
    [InlineData("203.0.113.0/24", "203.0.113.1", "nonsense", "203.0.113.1")]
    [InlineData("203.0.113.0/24", "::ffff:203.0.113.1", "192.0.2.1:4711", "192.0.2.1")]
    [InlineData("203.0.113.0/24", "198.51.100.2", "192.0.2.1", "198.51.100.2")]
    public void A_caller_s_address_is_the_last_that_a_trusted_proxy_vouches_for(string trusted, string peer, string forwarded,
        string expected)
    {
        DefaultHttpContext context = new();
        context.Connection.RemoteIpAddress = IPAddress.Parse(peer);
        if (forwarded.Length > 0) context.Request.Headers["X-Forwarded-For"] = forwarded;
        TrustedProxies.Parse(trusted).ClientOf(context).ShouldBe(IPAddress.Parse(expected));
    }

    [Fact]
    public void What_is_no_address_is_no_trusted_proxy() =>
        Should.Throw<SettingException>(() => TrustedProxies.Parse("10.0.0.1, proxy")).Message.ShouldContain("'proxy' is not an address");

    [Fact]
    public void A_budget_is_spent_comes_back_with_time_and_knows_no_more_names_than_it_has_room_for()
    {
        FakeTimeProvider time = new();
        Budgets budgets = new(new Budget(Burst: 3, PerSecond: 1), room: 8, time);
        Enumerable.Range(0, 4).Select(_ => budgets.Spend("a")).ShouldBe([true, true, true, false]);
        budgets.Has("a").ShouldBeFalse();
        time.Advance(TimeSpan.FromSeconds(2));
        Enumerable.Range(0, 3).Select(_ => budgets.Spend("a")).ShouldBe([true, true, false]);
        for (int i = 0; i < 100; i++) budgets.Spend($"other {i}").ShouldBeTrue();
        budgets.Count.ShouldBeLessThanOrEqualTo(8);
        budgets.Spend("a").ShouldBeFalse("who has spent most is forgotten last");
    }

    private sealed class Counting : DbCommandInterceptor
    {
        public int Count;

        public override ValueTask<InterceptionResult<DbDataReader>> ReaderExecutingAsync(DbCommand command, CommandEventData eventData,
            InterceptionResult<DbDataReader> result, CancellationToken cancellationToken = default)
        {
            Interlocked.Increment(ref Count);
            return base.ReaderExecutingAsync(command, eventData, result, cancellationToken);
        }

        public override ValueTask<InterceptionResult<int>> NonQueryExecutingAsync(DbCommand command, CommandEventData eventData,
            InterceptionResult<int> result, CancellationToken cancellationToken = default)
        {
            Interlocked.Increment(ref Count);
            return base.NonQueryExecutingAsync(command, eventData, result, cancellationToken);
        }
    }

    /// <summary>The gate alone, with an endpoint for each kind.</summary>
    private sealed class Server : IAsyncDisposable
    {
        private readonly string _folder = Directory.CreateTempSubdirectory("armoflow-gate-").FullName;
        private WebApplication _app = null!;

        public HttpClient Http { get; private set; } = null!;
        public AccessKeyStore Keys => _app.Services.GetRequiredService<AccessKeyStore>();
        public string Viewer { get; private set; } = "";
        public string Admin { get; private set; } = "";

        public static async Task<Server> Start(AccessPolicy policy, IInterceptor? interceptor = null)
        {
            Server server = new();
            Workspace workspace = new(server._folder);
            workspace.TryLock().ShouldBeTrue();
            WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
            builder.WebHost.UseKestrelCore().UseUrls("http://127.0.0.1:0");
            builder.Services.AddEmbeddedPersistence(workspace).AddAccess(policy).AddRunsApi();
            if (interceptor is not null)
            {
                string store = new SqliteConnectionStringBuilder { DataSource = workspace.Database, DefaultTimeout = 60 }.ToString();
                builder.Services.AddSingleton<IDbContextFactory<ArmoFlowDbContext>>(services => new Contexts(
                    new DbContextOptionsBuilder<ArmoFlowDbContext>()
                        .UseApplicationServiceProvider(services)
                        .UseSqlite(store)
                        .UseSnakeCaseNamingConvention()
                        .AddInterceptors(interceptor).Options));
            }
            server._app = builder.Build();
            await using (ArmoFlowDbContext db =
                await server._app.Services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>().CreateDbContextAsync())
                await db.Database.MigrateAsync();
            server._app.Use(AccessGate.Harden);
            server._app.UseExceptionHandler();
            server._app.UseAccess();
            server._app.MapGet("/api/v1/models", () => "seen").Requires(Scope.Viewer);
            server._app.MapGet("/counted", () => Caller.Current.RequestId).Requires(Scope.Viewer);
            server._app.MapGet("/admin", () => "seen");
            server._app.MapGet("/lasting", () => "seen").Requires(Scope.Admin, alwaysAsksForKey: true);
            server._app.MapGet("/fails", string () => throw new InvalidOperationException("a defect"));
            server._app.MapGet("/health/live", () => "live").Requires(null);
            await server._app.StartAsync();
            server.Http = new HttpClient { BaseAddress = new Uri(server._app.Urls.Single()) };
            server.Viewer = (await server.Keys.Create(new KeyRequest { Name = "viewer" }, default)).Key;
            server.Admin = (await server.Keys.Create(new KeyRequest { Name = "admin", Scope = Scope.Admin }, default)).Key;
            return server;
        }

        public async Task<HttpStatusCode> Ask(string path, string host, (string Name, string Value)[] headers, string? key = null)
        {
            using HttpRequestMessage request = new(HttpMethod.Get, path);
            request.Headers.Host = host;
            foreach ((string name, string value) in headers) request.Headers.TryAddWithoutValidation(name, value);
            if (key is not null) request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", key);
            using HttpResponseMessage response = await Http.SendAsync(request);
            return response.StatusCode;
        }

        public async ValueTask DisposeAsync()
        {
            Http.Dispose();
            await _app.StopAsync();
            await _app.DisposeAsync();
            SqliteConnection.ClearAllPools();
            Directory.Delete(_folder, recursive: true);
        }

        private sealed class Contexts(DbContextOptions<ArmoFlowDbContext> options) : IDbContextFactory<ArmoFlowDbContext>
        {
            public ArmoFlowDbContext CreateDbContext() => new(options);
        }
    }
}

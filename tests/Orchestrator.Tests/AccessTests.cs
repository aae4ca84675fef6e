using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text;
using System.Text.RegularExpressions;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Orchestrator.Access;
using ArmoFlow.Orchestrator.Api;
using ArmoFlow.Orchestrator.Schedules;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Access;
using MassTransit;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Routing;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Shouldly;
using Xunit;

namespace ArmoFlow.Orchestrator.Tests;

/// <summary>One server for all tests of the API: Hangfire keeps its log in a static, which would outlive the first of two.</summary>
[CollectionDefinition(Name)]
public sealed class ApiCollection : ICollectionFixture<AccessTests.Server>
{
    public const string Name = "api";
}

/// <summary>The API on an address that others can reach: each endpoint for each kind of key, and what strangers try.</summary>
[Collection(ApiCollection.Name)]
public sealed partial class AccessTests(AccessTests.Server server)
{
    private static readonly string[] Open = ["GET /health/live", "GET /health/ready"];

    public sealed class Server : IAsyncLifetime
    {
        private readonly string _folder = Directory.CreateTempSubdirectory("armoflow-access-").FullName;
        private WebApplication _app = null!;

        public HttpClient Http { get; private set; } = null!;
        public Dictionary<string, string?> Keys { get; } = new() { ["none"] = null, ["garbage"] = "armoflow_aa_bb" };
        public NewKey Viewer { get; private set; } = null!;
        public IReadOnlyList<(string Method, string Path, Scope? Required)> Endpoints { get; private set; } = [];

        public async ValueTask InitializeAsync()
        {
            Workspace workspace = new(_folder);
            workspace.TryLock().ShouldBeTrue();
            WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
            builder.WebHost.UseKestrelCore().UseUrls("http://127.0.0.1:0");
            builder.Services.AddEmbeddedPersistence(workspace).AddOrchestrator().AddTelemetry("test",
                isScraped: true)
                .AddSchedules(null)
                .AddAccess(new AccessPolicy(IsLoopbackOnly: false) { Proxies = TrustedProxies.Parse("127.0.0.1, ::1") })
                .AddRunsApi();
            builder.Services.AddOptions<MassTransitHostOptions>().Configure(o => o.WaitUntilStarted = true);
            builder.Services.AddMassTransit(bus =>
            {
                bus.AddRunSaga();
                bus.UsingInMemory((context, transport) => transport.ConfigureEndpoints(context));
            });
            _app = builder.Build();
            _app.MapRunsApi();
            await using (ArmoFlowDbContext db =
                await _app.Services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>().CreateDbContextAsync())
                await db.Database.MigrateAsync();
            await _app.StartAsync();
            Http = new HttpClient { BaseAddress = new Uri(_app.Urls.Single()) };
            AccessKeyStore store = _app.Services.GetRequiredService<AccessKeyStore>();
            foreach (Scope scope in Enum.GetValues<Scope>())
            {
                NewKey key = await store.Create(new KeyRequest { Name = scope.ToString(), Scope = scope }, default);
                Keys[scope.ToString()] = key.Key;
                if (scope == Scope.Viewer) Viewer = key;
            }
            NewKey revoked = await store.Create(new KeyRequest { Name = "revoked", Scope = Scope.Admin }, default);
            await store.Revoke(revoked.Id, default);
            NewKey expired = await store.Create(new KeyRequest { Name = "expired", Scope = Scope.Admin, Days = 1e-8 }, default);
            Keys["revoked"] = revoked.Key;
            Keys["expired"] = expired.Key;
            Endpoints = [.. _app.Services.GetRequiredService<EndpointDataSource>().Endpoints.OfType<RouteEndpoint>().SelectMany(e =>
                (e.Metadata.GetMetadata<HttpMethodMetadata>()?.HttpMethods ?? ["GET"]).Select(m => (m, Fill(e.RoutePattern.RawText!),
                    e.Metadata.GetMetadata<RequiredScope>() is { } r ? r.Scope : Scope.Admin)))];
        }

        private static string Fill(string pattern) =>
            "/"
                + Parameter().Replace(pattern.TrimStart('/'),
                    m => m.Value.Contains("guid", StringComparison.Ordinal)
                        ? Guid.Empty.ToString()
                        : m.Value.Contains("int", StringComparison.Ordinal)
                            ? "1"
                            : m.Value.Contains("sha256", StringComparison.Ordinal)
                                ? new string('0', 64)
                                : m.Value.Contains("documentName", StringComparison.Ordinal) ? "v1" : "nothing");

        public async ValueTask DisposeAsync()
        {
            Http.Dispose();
            await _app.StopAsync();
            await _app.DisposeAsync();
            Directory.Delete(_folder, recursive: true);
        }
    }

    [Fact]
    public async Task Every_endpoint_lets_in_each_kind_of_key_by_its_scope_and_no_other()
    {
        server.Endpoints.Count.ShouldBeGreaterThan(20);
        List<string> wrong = [];
        foreach ((string method, string path, Scope? required) in server.Endpoints)
        {
            foreach ((string kind, string? key) in server.Keys)
            {
                HttpStatusCode status = await Ask(method, path, key);
                HttpStatusCode? expected = required is null ? null
                    : kind is "none" or "garbage" or "revoked" or "expired" ? HttpStatusCode.Unauthorized
                    : Enum.Parse<Scope>(kind) < required ? HttpStatusCode.Forbidden : null;
                bool isRight = expected is null
                    ? status is not (HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden or HttpStatusCode.InternalServerError)
                    : status == expected;
                if (!isRight) wrong.Add($"{method} {path} with {kind}: {status}");
            }
        }
        wrong.ShouldBeEmpty();
        server.Endpoints.Where(e => e.Required is null).Select(e => $"{e.Method} {e.Path}").ShouldBe(Open, ignoreOrder: true);
        server.Endpoints.Where(e => e.Method != "GET" && e.Required < Scope.Operator)
            .Select(e => e.Path)
            .ShouldBe(["/api/v1/score", "/get_reward", "/api/v1/models/evidence"], ignoreOrder: true,
                "what changes something asks for an operator");
    }

    [Theory]
    [InlineData("GET", "/api/v1/artifacts/..%2f..%2fetc%2fpasswd")]
    [InlineData("GET", "/api/v1/artifacts/..")]
    [InlineData("GET", "/api/v1/lineage/%2e%2e%2f%2e%2e%2fetc%2fpasswd")]
    [InlineData("GET", "/api/v1/models/..%2f..%2fetc/versions")]
    [InlineData("GET", "/api/v1/runs?where=name%20%3D%20'a'%3B%20drop%20table%20runs")]
    [InlineData("GET", "/api/v1/runs?where=1%3D1")]
    [InlineData("GET", "/api/v1/runs?tag='%20or%201%3D1%20--&status='&name='&q='%25_")]
    [InlineData("GET", "/api/v1/runs?cursor='%20or%201%3D1&limit=-5")]
    [InlineData("GET", "/api/v1/runs?limit=many")]
    [InlineData("GET", "/api/v1/audit?where=actor%20%3D%20'x'%20union%20select%20*")]
    [InlineData("GET", "/api/v1/audit?cursor=1%3Bdrop")]
    [InlineData("GET", "/api/v1/faults/'%20or%201%3D1")]
    [InlineData("POST", "/api/v1/faults/%2e%2e/redeliver")]
    [InlineData("GET", "/api/v1/runs?tag=a%0d%0aSet-Cookie:%20b")]
    [InlineData("GET", "/api/v1/lineage/conversations/'%20or%201%3D1%20--")]
    [InlineData("GET", "/api/v1/audit/export?format=..%2f..%2fetc%2fpasswd")]
    [InlineData("GET", "/api/v1/models/'%3B%20drop%20table%20runs/evaluations?limit=-1")]
    [InlineData("GET", "/api/v1/models/..%2f..%2fetc/alerts")]
    [InlineData("DELETE", "/api/v1/holds?subject='%20or%201%3D1")]
    [InlineData("DELETE", "/api/v1/datasets/judge/watches?address=..%2f..%2fetc")]
    public async Task Paths_and_filters_that_mean_something_elsewhere_mean_nothing_here(string method, string path)
    {
        using HttpRequestMessage request = Request(method, path, server.Keys["Admin"]);
        using HttpResponseMessage response = await server.Http.SendAsync(request, TestContext.Current.CancellationToken);
        string body = await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
        ((int)response.StatusCode).ShouldBeOneOf(200, 400, 404, 409);
        body.ShouldNotContain("root:");
        body.ShouldNotContain("   at ");
        response.Headers.Contains("Set-Cookie").ShouldBeFalse();
        (await Ask("GET", "/api/v1/audit/verify", server.Keys["Viewer"])).ShouldBe(HttpStatusCode.OK);
    }

    [Theory]
    [InlineData("/api/v1/runs", "{")]
    [InlineData("/api/v1/runs", "")]
    [InlineData("/api/v1/runs",
        "a: &a [x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: "
            + "[*d,*d,*d,*d,*d,*d,*d,*d,*d]\nname: *a")]
    [InlineData("/api/v1/runs", "name: ? [")]
    [InlineData("/api/v1/score", "{\"model\":")]
    [InlineData("/api/v1/score", "[]")]
    [InlineData("/api/v1/score", "{\"items\":[{}],\"model\":\"m\"}")]
    [InlineData("/api/v1/score", "{\"items\":[{\"prompt\":\"a\",\"response\":\"b\"}],\"model\":\"no-such\"}")]
    [InlineData("/api/v1/runs", "? [a, b]\n: c\nname: x")]
    [InlineData("/api/v1/score", "{\"items\":null,\"model\":\"m\"}")]
    [InlineData("/api/v1/score", "{\"pairs\":[null],\"model\":\"m\"}")]
    [InlineData("/get_reward", "{}")]
    [InlineData("/get_reward?run=x", "{\"query\":[\"a\"]}")]
    public async Task Bodies_that_are_none_are_refused_in_words(string path, string body)
    {
        using HttpRequestMessage request = Request("POST", path, server.Keys["Admin"]);
        request.Content = new StringContent(body, Encoding.UTF8, "application/json");
        using HttpResponseMessage response = await server.Http.SendAsync(request, TestContext.Current.CancellationToken);
        ((int)response.StatusCode).ShouldBeOneOf(400, 404);
        response.Content.Headers.ContentType!.MediaType.ShouldBe("application/problem+json");
        (await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken)).ShouldNotContain("   at ");
    }

    [Fact]
    public async Task An_empty_list_of_queries_gets_an_empty_list_of_rewards()
    {
        using HttpRequestMessage request = Request("POST", "/get_reward?model=none", server.Keys["Viewer"]);
        request.Content = new StringContent("{\"query\":[]}", Encoding.UTF8, "application/json");
        using HttpResponseMessage response = await server.Http.SendAsync(request, TestContext.Current.CancellationToken);
        response.StatusCode.ShouldBe(HttpStatusCode.OK);
        string body = await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
        body.ShouldBe("{\"rewards\":[],\"scores\":[],\"extra_logs\":{}}");
    }

    [Theory]
    [InlineData("/api/v1/runs?cursor=yesterday")]
    [InlineData("/api/v1/runs?cursor=9223372036854775807-00000000000000000000000000000000")]
    [InlineData("/api/v1/runs?where=score%20%3E%20'0,5'")]
    [InlineData("/api/v1/audit?where=sequence%20%3E%20'1,000'")]
    public async Task A_cursor_that_no_page_ended_with_and_a_number_with_a_comma_are_refused(string path)
    {
        using HttpRequestMessage request = Request("GET", path, server.Keys["Viewer"]);
        using HttpResponseMessage response = await server.Http.SendAsync(request, TestContext.Current.CancellationToken);
        response.StatusCode.ShouldBe(HttpStatusCode.BadRequest);
        string body = await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
        body.ShouldContain("\"detail\"");
    }

    [Fact]
    public async Task A_body_without_end_is_cut_off()
    {
        using HttpRequestMessage request = Request("POST", "/api/v1/runs", server.Keys["Admin"]);
        request.Content = new StringContent(new string('#', 33 << 20));
        HttpStatusCode? status = null;
        try
        {
            using HttpResponseMessage response = await server.Http.SendAsync(request, TestContext.Current.CancellationToken);
            status = response.StatusCode;
        }
        catch (HttpRequestException) { } // the connection is closed while the body is still being sent
        status.ShouldBeOneOf(null, HttpStatusCode.RequestEntityTooLarge);
        (await Ask("GET", "/health/live", null)).ShouldBe(HttpStatusCode.OK);
    }

    [Fact]
    public async Task A_body_that_comes_in_drops_is_not_waited_for()
    {
        using System.Net.Sockets.TcpClient client = new();
        await client.ConnectAsync(server.Http.BaseAddress!.Host, server.Http.BaseAddress.Port, TestContext.Current.CancellationToken);
        System.Net.Sockets.NetworkStream stream = client.GetStream();
        await stream.WriteAsync(Encoding.ASCII.GetBytes("POST /api/v1/runs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
            + $"{server.Keys["Admin"]}\r\nContent-Length: 100000\r\n\r\n"),
            TestContext.Current.CancellationToken);
        using CancellationTokenSource limit = new(TimeSpan.FromSeconds(60));
        Task<string> answer = new StreamReader(stream).ReadToEndAsync(limit.Token); // ends when the server has had enough
        while (!answer.IsCompleted)
        {
            try { await stream.WriteAsync("#"u8.ToArray(), limit.Token); }
            catch (IOException) { break; }
            await Task.WhenAny(answer, Task.Delay(200, limit.Token));
        }
        string said = "";
        try { said = await answer; }
        catch (IOException) { } // reset
        (said.Length == 0 || said.StartsWith("HTTP/1.1 408", StringComparison.Ordinal)).ShouldBeTrue(said);
        (await Ask("GET", "/health/live", null)).ShouldBe(HttpStatusCode.OK);
    }

    [Fact]
    public async Task A_key_is_also_taken_as_a_password_and_its_use_is_noted()
    {
        using HttpRequestMessage request = new(HttpMethod.Get, "/api/v1/runs");
        request.Headers.Authorization =
            new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes($"key:{server.Keys["Viewer"]}")));
        using HttpResponseMessage response = await server.Http.SendAsync(request, TestContext.Current.CancellationToken);
        response.StatusCode.ShouldBe(HttpStatusCode.OK);
        using HttpRequestMessage audit = Request("GET", $"/api/v1/audit?where=subject%3D'key/{server.Viewer.Id}'", server.Keys["Viewer"]);
        using HttpResponseMessage trail = await server.Http.SendAsync(audit, TestContext.Current.CancellationToken);
        string said = await trail.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
        said.ShouldContain("key.created");
        said.ShouldNotContain(server.Keys["Viewer"]!.Split('_')[2], Case.Sensitive, "no secret in the database");
    }

    [Fact]
    public async Task An_administrator_makes_lists_and_revokes_keys_over_HTTP_and_nobody_else_does()
    {
        (await Ask("POST", "/api/v1/keys", server.Keys["Operator"])).ShouldBe(HttpStatusCode.Forbidden);
        using HttpRequestMessage asked = Request("POST", "/api/v1/keys", server.Keys["Admin"]);
        asked.Content = JsonContent.Create(new { name = "late", scope = "Operator", days = 1 });
        using HttpResponseMessage answer = await server.Http.SendAsync(asked, TestContext.Current.CancellationToken);
        answer.StatusCode.ShouldBe(HttpStatusCode.OK);
        answer.Headers.CacheControl!.NoStore.ShouldBeTrue("a secret is in it");
        NewKey made = (await answer.Content.ReadFromJsonAsync<NewKey>(TestContext.Current.CancellationToken))!;
        (await Ask("GET", "/api/v1/models", made.Key)).ShouldBe(HttpStatusCode.OK);
        using HttpRequestMessage listing = Request("GET", "/api/v1/keys", server.Keys["Admin"]);
        using HttpResponseMessage list = await server.Http.SendAsync(listing, TestContext.Current.CancellationToken);
        string listed = await list.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
        listed.ShouldContain("key Admin", Case.Sensitive, "who made it");
        listed.ShouldNotContain(made.Key.Split('_')[2], Case.Sensitive, "no secret is shown again");
        (await Ask("DELETE", $"/api/v1/keys/{made.Id}", server.Keys["Admin"])).ShouldBe(HttpStatusCode.OK);
        (await Ask("DELETE", $"/api/v1/keys/{made.Id}", server.Keys["Admin"])).ShouldBe(HttpStatusCode.NotFound);
        (await Ask("GET", "/api/v1/models", made.Key)).ShouldBe(HttpStatusCode.Unauthorized);
    }

    [Fact]
    public async Task A_spec_that_would_go_past_the_model_s_policy_is_refused_and_only_an_administrator_changes_the_policy()
    {
        const string Policy = "/api/v1/models/guarded/policy?reason=production", Gates = "approvals: 2\nminimumScore: 0.8\n";
        const string Spec = """
            name: guarded
            objectives: [verbosity]
            backbone: { path: backbone }
            ratings: [{ name: judge, files: [ratings.jsonl] }]
            preferences: [{ name: annotators, files: [pairs.jsonl] }]
            decorrelation: { verbosity: verbosity }
            promotion: { automatic: champion }
            """;
        (await Send("PUT", Policy, "Operator", Gates)).Status.ShouldBe(HttpStatusCode.Forbidden);
        (await Send("PUT", Policy, "Admin", "minimumScores: 0.8\n"))
            .ShouldSatisfyAllConditions(a => a.Status.ShouldBe(HttpStatusCode.BadRequest), a => a.Body.ShouldContain("Did you mean"));
        (await Send("PUT", "/api/v1/models/guarded/policy", "Admin", Gates)).Status.ShouldBe(HttpStatusCode.BadRequest,
            "without a reason");
        (await Send("PUT", Policy, "Admin", Gates)).Status.ShouldBe(HttpStatusCode.OK);
        (await Send("GET", "/api/v1/models/guarded/policy", "Viewer", null)).Body.ShouldContain("\"setBy\":\"key Admin\"");
        (await Send("POST", "/api/v1/runs", "Operator", Spec))
            .ShouldSatisfyAllConditions(a => a.Status.ShouldBe(HttpStatusCode.BadRequest), a => a.Body.ShouldContain("wants 2 people"));
        (await Send("DELETE", Policy, "Operator", null)).Status.ShouldBe(HttpStatusCode.Forbidden);
        (await Send("DELETE", Policy, "Admin", null)).Status.ShouldBe(HttpStatusCode.OK);
        (await Send("GET", "/api/v1/models/guarded/policy", "Viewer", null)).Status.ShouldBe(HttpStatusCode.NotFound);

        async Task<(HttpStatusCode Status, string Body)> Send(string method, string path, string who, string? body)
        {
            using HttpRequestMessage request = Request(method, path, server.Keys[who]);
            if (body is not null) request.Content = new StringContent(body, Encoding.UTF8, "application/yaml");
            using HttpResponseMessage response = await server.Http.SendAsync(request, TestContext.Current.CancellationToken);
            return (response.StatusCode, await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken));
        }
    }

    [Theory]
    [InlineData("http://localhost:5080;http://127.0.0.1:5081;http://[::1]:5082", true)]
    [InlineData("http://localhost:5080;http://0.0.0.0:5081", false)]
    [InlineData("http://*:5080", false)]
    [InlineData("http://10.1.2.3:80", false)]
    public void An_address_is_this_machine_s_own_or_it_is_not(string urls, bool isLoopback) =>
        AccessPolicy.Of(urls.Split(';')).IsLoopbackOnly.ShouldBe(isLoopback);

    private async Task<HttpStatusCode> Ask(string method, string path, string? key)
    {
        using HttpRequestMessage request = Request(method, path, key);
        if (method is "POST" or "PUT" or "PATCH") request.Content = new StringContent("{}", Encoding.UTF8, "application/json");
        using CancellationTokenSource limit = new(TimeSpan.FromSeconds(20));
        using HttpResponseMessage response = await server.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, limit.Token);
        return response.StatusCode;
    }

    private static int _callers;

    /// <summary>A request through the proxy that is trusted, from an address of its own: none spends another's budget.</summary>
    private static HttpRequestMessage Request(string method, string path, string? key)
    {
        HttpRequestMessage request = new(new HttpMethod(method), path);
        int caller = Interlocked.Increment(ref _callers);
        request.Headers.Add("X-Forwarded-For", $"10.{caller >> 16}.{(caller >> 8) & 255}.{caller & 255}");
        if (key is not null) request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", key);
        return request;
    }

    [GeneratedRegex(@"\{[^}]*\}")]
    private static partial Regex Parameter();
}

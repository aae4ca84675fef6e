using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Shouldly;
using Xunit;

namespace ArmoFlow.Orchestrator.Tests;

/// <summary>Whatever is sent is answered with what is wrong with it, and never by the handler of last resort.</summary>
[Collection(ApiCollection.Name)]
public sealed class RequestTests(AccessTests.Server server)
{
    [Theory]
    [InlineData("POST", "/api/v1/score", """{"model": "m", "itmes": []}""", "unknown field 'itmes'", "Did you mean 'items'?")]
    [InlineData("POST", "/api/v1/score", """{"model": "m", "items": 3}""", "$.items", "expected a list")]
    [InlineData("POST", "/api/v1/score", """{"model": "m", "items": [null]}""", "items", "null")]
    [InlineData("POST", "/api/v1/score", """{"model": "m", "items": [{"messages": [null]}]}""", "items[0]", "role or content")]
    [InlineData("POST", "/api/v1/score", """{"model": "m", "pairs": [{"prompt": "p"}]}""", "$.pairs[0]", "chosen", "rejected")]
    [InlineData("POST", "/api/v1/score", """{"model": "m", "prompt": "p", "items": []}""", "without a response")]
    [InlineData("POST", "/api/v1/score", """{"run": "nonsense"}""", "$.run", "expected an id")]
    [InlineData("POST", "/api/v1/score", """{"model": """, "line 1", "not JSON")]
    [InlineData("POST", "/api/v1/score", "", "the body is empty")]
    [InlineData("POST", "/get_reward?unscored=low", """{"query": []}""", "unscored: 'low'", "expected a number")]
    [InlineData("POST", "/get_reward", """{"query": null}""", "query: null", "expected a list")]
    [InlineData("POST", "/get_reward", "{}", "missing", "query")]
    [InlineData("POST", "/api/v1/schedules", """{"name": "s", "cron": "@daily", "spec": "", "overlap": "Maybe"}""", "$.overlap", "Skip")]
    [InlineData("PUT", "/api/v1/models/m/aliases/champion", """{"version": "two"}""", "$.version", "expected a whole number")]
    [InlineData("GET", "/api/v1/runs?limit=many", null, "limit: 'many'", "expected a whole number")]
    [InlineData("GET", "/api/v1/runs?from=yesterday", null, "from: 'yesterday'", "expected a time")]
    [InlineData("DELETE", "/api/v1/datasets/d/files/f", null, "reason: it is missing")]
    [InlineData("POST", "/get_reward?unscored=-1,5", """{"query": []}""", "unscored: '-1,5'", "expected a number")]
    [InlineData("POST", "/get_reward?unscored=NaN", """{"query": []}""", "unscored: 'NaN'", "expected a number")]
    [InlineData("POST", "/get_reward?unscored=1e999", """{"query": []}""", "unscored: '1e999'", "expected a number")]
    [InlineData("GET", "/api/v1/runs?from=12/11/2026", null, "from: '12/11/2026'", "expected a time")]
    [InlineData("GET", "/api/v1/models/m/aliases/champion?at=12/11/2026", null, "at: '12/11/2026'", "expected a time")]
    [InlineData("POST", "/api/v1/score", """{"model": "m", "model": "n", "items": []}""", "'model' stands twice")]
    public async Task What_cannot_be_read_is_named(string method, string path, string? body, params string[] words)
    {
        (HttpStatusCode status, string detail) = await Send(method, path, body is null ? null : Encoding.UTF8.GetBytes(body));
        status.ShouldBe(HttpStatusCode.BadRequest, detail);
        foreach (string word in words) detail.ShouldContain(word);
        ShouldBePlain(detail);
    }

    [Fact]
    public async Task An_encoding_that_does_not_exist_and_another_form_of_answer_are_no_defects()
    {
        using HttpRequestMessage bogus = new(HttpMethod.Post, "/api/v1/score") { Content = new ByteArrayContent("{}"u8.ToArray()) };
        bogus.Content.Headers.TryAddWithoutValidation("Content-Type", "application/json; charset=bogus");
        bogus.Headers.Authorization = new AuthenticationHeaderValue("Bearer", server.Keys["Admin"]);
        using HttpResponseMessage refused = await server.Http.SendAsync(bogus, TestContext.Current.CancellationToken);
        refused.StatusCode.ShouldBe(HttpStatusCode.UnsupportedMediaType);
        (await refused.Content.ReadAsStringAsync(TestContext.Current.CancellationToken)).ShouldContain("charset 'bogus'; expected utf-8");

        using HttpRequestMessage xml = new(HttpMethod.Get, "/api/v1/datasets/nope/files") { Headers = { { "Accept", "application/xml" } } };
        xml.Headers.Authorization = new AuthenticationHeaderValue("Bearer", server.Keys["Admin"]);
        using HttpResponseMessage missing = await server.Http.SendAsync(xml, TestContext.Current.CancellationToken);
        missing.StatusCode.ShouldBe(HttpStatusCode.NotFound);
        (await missing.Content.ReadAsStringAsync(TestContext.Current.CancellationToken)).ShouldContain("nope");
    }

    [Fact]
    public async Task More_fields_than_are_read_are_no_fault_of_a_trainer_s()
    {
        byte[] body = """{"query": [], "prompts": ["p"], "labels": [null]}"""u8.ToArray();
        (HttpStatusCode status, string answer) = await Send("POST", "/get_reward", body);
        status.ShouldBe(HttpStatusCode.OK, answer);
    }

    [Fact]
    public async Task No_body_whatever_reaches_the_handler_of_last_resort()
    {
        JsonNode document = await OpenApi();
        int sent = 0;
        foreach ((string path, JsonNode? operations) in document["paths"]!.AsObject())
        {
            foreach ((string method, JsonNode? operation) in operations!.AsObject())
            {
                if (operation!["requestBody"]?["content"]?["application/json"]?["schema"] is not { } schema) continue;
                foreach (byte[] body in Bodies(Example(document, schema, 0)))
                {
                    (HttpStatusCode status, string detail) = await Send(method.ToUpperInvariant(), Fill(path), body);
                    string sentBody = Encoding.UTF8.GetString(body.AsSpan(0, Math.Min(body.Length, 200)));
                    status.ShouldNotBe(HttpStatusCode.InternalServerError, $"{method} {path}: {sentBody}");
                    if (status == HttpStatusCode.BadRequest) ShouldBePlain($"{detail} ({method} {path}: {sentBody})");
                    sent++;
                }
            }
        }
        sent.ShouldBeGreaterThan(500);
    }

    [Fact]
    public async Task No_query_whatever_reaches_the_handler_of_last_resort()
    {
        string[] values =
        [
            "", "x", "-1", "99999999999999999999", "%00", "%F0%9F%92%A9", "%ED%A0%80", "'", "%22", "0,5", new string('(', 3000), "NOT",
            "1e999"
        ];
        JsonNode document = await OpenApi();
        foreach ((string path, JsonNode? operations) in document["paths"]!.AsObject())
        {
            if (operations!["get"]?["parameters"] is not JsonArray parameters) continue;
            foreach (JsonNode? parameter in parameters)
            {
                foreach (string value in values)
                {
                    string name = parameter!["name"]!.GetValue<string>();
                    string address = parameter["in"]!.GetValue<string>() == "query" ? $"{Fill(path)}?{name}={value}"
                        : path.Replace($"{{{name}}}", value, StringComparison.Ordinal);
                    (HttpStatusCode status, string detail) = await Send("GET", Fill(address), null);
                    status.ShouldNotBe(HttpStatusCode.InternalServerError, $"{address}: {detail}");
                }
            }
        }
    }

    [Fact]
    public async Task No_filter_whatever_reaches_the_handler_of_last_resort()
    {
        string[] words =
        [
            "tag", "name", "submitted", "score", "heldout", "nothing", "=", "!=", "<", ">=", "IN", "NOT", "AND", "OR", "(", ")", ",",
            "'x'", "'2026-11-01'", "0.5", "-1", "1e999", "''", "'", "\"name\"", "'%'", "\u0000", "\U0001F4A9"
        ];
        Random random = new(20261127);
        int answered = 0;
        for (int i = 0; i < 600; i++)
        {
            // Half of them begin as a filter would.
            IEnumerable<string> start = i % 2 == 0 ? [words[random.Next(4)], words[6 + random.Next(4)], words[17 + random.Next(3)]] : [];
            string filter =
                string.Join(' ', [.. start, .. Enumerable.Range(0, random.Next(5)).Select(_ => words[random.Next(words.Length)])]);
            (HttpStatusCode status, string detail) = await Send("GET", $"/api/v1/runs?where={Uri.EscapeDataString(filter)}", null);
            status.ShouldBeOneOf(HttpStatusCode.OK, HttpStatusCode.BadRequest);
            if (status == HttpStatusCode.OK) answered++;
            else ShouldBePlain(detail);
        }
        answered.ShouldBeGreaterThan(20);
    }

    [Theory]
    [InlineData(200, HttpStatusCode.OK)]
    [InlineData(201, HttpStatusCode.BadRequest)]
    public async Task A_filter_compares_with_two_hundred_values(int values, HttpStatusCode expected)
    {
        string any = string.Join(" OR ", Enumerable.Repeat("tag='a'", values)),
            list = $"name IN ({string.Join(',', Enumerable.Repeat("'a'", values))})";
        foreach (string filter in new[] { any, any.Replace("OR", "AND", StringComparison.Ordinal), list })
            (await Send("GET", $"/api/v1/runs?where={Uri.EscapeDataString(filter)}", null)).Status.ShouldBe(expected);
    }

    [Theory]
    [InlineData("GET", null, null, HttpStatusCode.OK)]
    [InlineData("POST", null, null, HttpStatusCode.NotFound)]
    [InlineData("POST", "http://elsewhere.example", null, HttpStatusCode.Forbidden)]
    [InlineData("POST", "null", null, HttpStatusCode.Forbidden)]
    [InlineData("POST", null, "cross-site", HttpStatusCode.Forbidden)]
    [InlineData("POST", null, "same-origin", HttpStatusCode.NotFound)]
    public async Task A_browser_s_password_counts_for_its_own_site_alone(string method, string? origin, string? site,
        HttpStatusCode expected)
    {
        string path = method == "GET" ? "/hangfire" : $"/api/v1/runs/{Guid.NewGuid()}/cancel";
        using HttpRequestMessage request = new(new HttpMethod(method), path);
        string password = Convert.ToBase64String(Encoding.UTF8.GetBytes($"me:{server.Keys["Admin"]}"));
        request.Headers.Authorization = new AuthenticationHeaderValue("Basic", password);
        if (origin is not null) request.Headers.Add("Origin", origin);
        if (site is not null) request.Headers.Add("Sec-Fetch-Site", site);
        using HttpResponseMessage response = await server.Http.SendAsync(request, TestContext.Current.CancellationToken);
        response.StatusCode.ShouldBe(expected);
    }

    [Theory]
    [InlineData("/hangfire")]
    [InlineData("/hangfire/css1")] // what a page is made of, too
    [InlineData("/api/v1/runs")]
    public async Task A_browser_without_a_key_is_told_to_ask_for_one(string path)
    {
        using HttpResponseMessage response = await server.Http.GetAsync(path, TestContext.Current.CancellationToken);
        response.StatusCode.ShouldBe(HttpStatusCode.Unauthorized);
        response.Headers.WwwAuthenticate.Select(w => w.Scheme).ShouldBe(["Bearer", "Basic"]);
    }

    private async Task<JsonNode> OpenApi()
    {
        (HttpStatusCode status, string text) = await Send("GET", "/openapi/v1.json", null);
        status.ShouldBe(HttpStatusCode.OK, text);
        return JsonNode.Parse(text)!;
    }

    /// <summary>The answer's text; of a problem document, what it says.</summary>
    private async Task<(HttpStatusCode Status, string Text)> Send(string method, string path, byte[]? body)
    {
        using HttpRequestMessage request = new(new HttpMethod(method), path);
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", server.Keys["Admin"]);
        if (body is not null)
            request.Content = new ByteArrayContent(body) { Headers = { ContentType = new MediaTypeHeaderValue("application/json") } };
        using HttpResponseMessage response =
            await server.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, TestContext.Current.CancellationToken);
        if (response.Content.Headers.ContentType?.MediaType == "text/event-stream") return (response.StatusCode, "");
        string text = await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
        bool isProblem = response.Content.Headers.ContentType?.MediaType == "application/problem+json";
        return (response.StatusCode, isProblem ? JsonNode.Parse(text)!["detail"]?.GetValue<string>() ?? text : text);
    }

    private static void ShouldBePlain(string detail)
    {
        detail.ShouldNotContain("System.");
        detail.ShouldNotContain("ArmoFlow.");
        detail.ShouldNotContain("Nullable");
        detail.ShouldNotContain("Failed to");
    }

    private static string Fill(string path) => path.Replace("{id}", Guid.Empty.ToString(), StringComparison.Ordinal)
        .Replace("{version}", "1", StringComparison.Ordinal).Replace("{sha256}", new string('0', 64), StringComparison.Ordinal)
        .Replace("{", "", StringComparison.Ordinal).Replace("}", "", StringComparison.Ordinal);

    /// <summary>One of what a schema allows.</summary>
    private static JsonNode? Example(JsonNode document, JsonNode schema, int depth)
    {
        if (schema["$ref"]?.GetValue<string>() is { } reference)
            return depth > 4 ? null : Example(document, document["components"]!["schemas"]![reference.Split('/')[^1]]!, depth + 1);
        if (schema["enum"] is JsonArray names) return names[0]!.DeepClone();
        if (schema["properties"] is JsonObject properties)
            return new JsonObject(properties.Select(p => KeyValuePair.Create(p.Key, Example(document, p.Value!, depth + 1))));
        if (schema["items"] is { } items) return new JsonArray(Example(document, items, depth + 1));
        string type = schema["type"]?.ToString() ?? "string";
        return type.Contains("integer", StringComparison.Ordinal) || type.Contains("number", StringComparison.Ordinal) ? JsonValue.Create(1)
            : type.Contains("boolean", StringComparison.Ordinal) ? JsonValue.Create(true) : JsonValue.Create("x");
    }

    /// <summary>What is no JSON, JSON of another shape, and each field left out or of each wrong kind.</summary>
    private static IEnumerable<byte[]> Bodies(JsonNode? example)
    {
        foreach (string text in new[]
        {
            "",
            " ",
            "null",
            "[]",
            "1",
            "\"x\"",
            "{",
            "{}",
            "{\"a\":1,}",
            "{\"\\ud800\": 1}",
            "\u0000",
            "// x\n{}",
            new string('[', 5000)
        })
            yield return Encoding.UTF8.GetBytes(text);
        yield return [0xff, 0xfe, 0x7b, 0x00];
        yield return [0x7b, 0x22, 0xc3, 0x28, 0x22, 0x7d];
        if (example is not JsonObject valid) yield break;
        yield return Encoding.UTF8.GetBytes(valid.ToJsonString());
        string[] kinds =
        [
            "null", "1", "-1", "1.5", "1e400", "9999999999999999999999", "true", "\"\"", "\"x\"", "\"\\u0000\"", "\"\\ud800\"",
            "\"../../x\"", "[]", "[null]", "[[]]", "{}", $"\"{new string('x', 100_000)}\""
        ];
        foreach (string field in valid.Select(p => p.Key))
        {
            JsonObject without = (JsonObject)valid.DeepClone();
            without.Remove(field);
            yield return Encoding.UTF8.GetBytes(without.ToJsonString());
            foreach (string kind in kinds)
            {
                IEnumerable<string> members =
                    valid.Select(p => $"{JsonSerializer.Serialize(p.Key)}: {(p.Key == field ? kind : p.Value?.ToJsonString() ?? "null")}");
                yield return Encoding.UTF8.GetBytes($"{{{string.Join(", ", members)}}}");
            }
        }
    }
}

using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json.Nodes;
using Shouldly;
using Xunit;

namespace ArmoFlow.Orchestrator.Tests;

/// <summary>docs/api.md is what the server's own OpenAPI document says, written out; ARMOFLOW_WRITE_DOCS=1 writes it anew.</summary>
[Collection(ApiCollection.Name)]
public sealed class ApiReferenceTests(AccessTests.Server server)
{
    private static readonly string[] Methods = ["get", "post", "put", "patch", "delete"];

    [Fact]
    public async Task The_reference_says_what_the_server_does()
    {
        using HttpRequestMessage request = new(HttpMethod.Get, "/openapi/v1.json");
        request.Headers.Add("Authorization", $"Bearer {server.Keys["Viewer"]}");
        using HttpResponseMessage response = await server.Http.SendAsync(request, TestContext.Current.CancellationToken);
        string text = Render(JsonNode.Parse(await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken))!);
        string path = Path.Combine(Root(), "docs", "api.md");
        if (Environment.GetEnvironmentVariable("ARMOFLOW_WRITE_DOCS") == "1")
            await File.WriteAllTextAsync(path, text, TestContext.Current.CancellationToken);
        (await File.ReadAllTextAsync(path, TestContext.Current.CancellationToken)).ShouldBe(text,
            "ARMOFLOW_WRITE_DOCS=1 dotnet test tests/Orchestrator.Tests --filter ApiReference writes it anew");
    }

    private static string Render(JsonNode document)
    {
        StringBuilder page = new();
        page.AppendLine("# HTTP API\n\nWritten from the server's own OpenAPI document (`/openapi/v1.json`) by a test. Keys: "
            + "`Authorization: Bearer KEY`; on an address of this\nmachine alone none are needed. Errors are `application/problem+json` "
            + "with the remedy in `detail`: 400 what was given is wrong, 401 no\nusable key, 403 the key's scope does not allow it, 404 "
            + "there is nothing of that name, 409 not as things are, 413 too large, 429 too\noften, 503 nobody is there to do it.");
        var operations = document["paths"]!.AsObject()
            .SelectMany(p => p.Value!.AsObject()
                .Where(o => Methods.Contains(o.Key))
                .Select(o => (Path: p.Key, Method: o.Key, Operation: o.Value!)))
            .ToList();
        foreach (var tag in operations.GroupBy(o => o.Operation["tags"]?[0]?.GetValue<string>() ?? "other"))
        {
            page.AppendLine($"\n## {tag.Key}");
            foreach ((string path, string method, JsonNode operation) in tag)
            {
                page.AppendLine($"\n### {method.ToUpperInvariant()} {path}\n\n{operation["summary"]?.GetValue<string>()} "
                    + $"{operation["description"]?.GetValue<string>()}");
                JsonArray parameters = operation["parameters"]?.AsArray() ?? [];
                if (parameters.Count > 0)
                {
                    page.AppendLine("\n| parameter | in | type | |\n|---|---|---|---|");
                    foreach (JsonNode? p in parameters)
                    {
                        string need = p!["required"]?.GetValue<bool>() == true
                            ? "required"
                            : p["schema"]?["default"] is { } fallback ? $"default {fallback}" : "";
                        page.AppendLine($"| `{p["name"]}` | {p["in"]} | {Type(p["schema"])} | {need} |");
                    }
                }
                if (operation["requestBody"]?["content"]?.AsObject().FirstOrDefault().Value?["schema"] is { } body)
                    page.AppendLine($"\nBody: {Type(body)}.");
                foreach ((string status, JsonNode? answer) in operation["responses"]!.AsObject())
                {
                    if (answer!["content"]?.AsObject().FirstOrDefault().Value?["schema"] is { } schema
                        && !status.StartsWith('4')
                        && !status.StartsWith('5'))
                        page.AppendLine($"\n{status}: {Type(schema)}.");
                }
            }
        }
        page.AppendLine("\n## Documents");
        foreach ((string name, JsonNode? schema) in document["components"]!["schemas"]!.AsObject()
            .OrderBy(s => s.Key, StringComparer.Ordinal))
        {
            if (schema!["properties"] is not JsonObject properties)
            {
                if (schema["enum"] is JsonArray values)
                    page.AppendLine($"\n### {name}\n\n{string.Join(", ", values.Select(v => $"`{v}`"))}");
                continue;
            }
            HashSet<string> required = [.. (schema["required"]?.AsArray() ?? []).Select(r => r!.GetValue<string>())];
            page.AppendLine($"\n### {name}\n\n| member | type | |\n|---|---|---|");
            foreach ((string property, JsonNode? type) in properties)
                page.AppendLine($"| `{property}` | {Type(type)} | {(required.Contains(property) ? "always there" : "")} |");
        }
        return page.Replace("\r", "").ToString();
    }

    private static string Type(JsonNode? schema)
    {
        if (schema is null) return "any";
        if (schema["$ref"] is { } reference) return Link(reference.GetValue<string>().Split('/')[^1]);
        if ((schema["oneOf"] ?? schema["anyOf"]) is JsonArray choices)
            return string.Join(" or ", choices.Select(c => c!["type"]?.ToString() == "null" ? "null" : Type(c)).Distinct());
        if (schema["type"] is JsonArray types)
            return string.Join(" or ", types.Select(t => Named(t!.GetValue<string>(), schema)).Distinct());
        return schema["type"] is { } type ? Named(type.GetValue<string>(), schema) : "any";
    }

    private static string Named(string type, JsonNode schema) => type switch
    {
        "array" => $"list of {Type(schema["items"])}",
        "object" when schema["additionalProperties"] is JsonObject values => $"name → {Type(values)}",
        "string" when schema["format"] is { } format => format.GetValue<string>(),
        "integer" or "number" when schema["format"] is { } format => format.GetValue<string>(),
        _ => type,
    };

    private static string Link(string name) => $"[{name}](#{name.ToLowerInvariant()})";

    private static string Root([CallerFilePath] string path = "") => Path.GetFullPath(Path.Combine(Path.GetDirectoryName(path)!, "../.."));
}

using System.Net;
using System.Net.Http.Headers;
using System.Runtime.CompilerServices;
using System.Text.Json.Nodes;
using ArmoFlow.Cli;
using Shouldly;
using Xunit;
using YamlDotNet.RepresentationModel;
using static ArmoFlow.EndToEnd.Tests.Waiting;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>
/// The command lines of docker-compose.yml, as they stand there, on real servers: a key is made, a run ends, a score is answered.
/// </summary>
public sealed class ComposeTests(FaultBench bench)
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(5);

    [Fact]
    public async Task What_compose_starts_works_together()
    {
        await bench.Require();
        CancellationToken cancel = TestContext.Current.CancellationToken;
        await using Cluster cluster = await Cluster.Make(bench.Servers, "compose");
        using SmallProject project = new(ratings: 300, pairs: 300, gatingSteps: 30);
        string url = $"http://127.0.0.1:{FreePorts.Next()}";
        (string, string)[] environment =
            [("ARMOFLOW_POSTGRES", cluster.Postgres), ("ARMOFLOW_RABBITMQ", cluster.RabbitMq), ("ARMOFLOW_ARTIFACTS", cluster.Store)];
        YamlMappingNode services = Services();

        await Succeed("migrate");
        string key = (await Succeed("key")).Output.Trim();
        (await Succeed("key")).Output.Trim().ShouldBeEmpty("the first key is made once");
        await using Member orchestrator = Member.Apart("orchestrator on ", [
            .. Command("orchestrator").Select(a => a.Replace("http://0.0.0.0:5080", url, StringComparison.Ordinal)),
            "--require-keys"
        ], environment);
        await using Member worker = Member.Apart("worker for ", Command("worker"), environment);
        await using Member features = Member.Apart("worker for ", Command("worker-features"), environment);
        await Task.WhenAll(orchestrator.Announced, worker.Announced, features.Announced).WaitAsync(Limit, cancel);

        using HttpClient http = new() { BaseAddress = new Uri(url + "/") };
        (await http.GetAsync("api/v1/runs", cancel)).StatusCode.ShouldBe(HttpStatusCode.Unauthorized);
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        using HttpResponseMessage submitted =
            await Attacks.Submit(http, await File.ReadAllTextAsync(project.Spec, cancel), folder: project.Folder);
        string run = JsonNode.Parse(await submitted.Content.ReadAsStringAsync(cancel))!["runId"]!.GetValue<string>();
        await Eventually(() => cluster.HasEnded(run));
        (await cluster.StateOf(run)).ShouldBe("Completed");
        using HttpResponseMessage scored = await Attacks.Score(http, "sample", "please debug");
        scored.StatusCode.ShouldBe(HttpStatusCode.OK, await scored.Content.ReadAsStringAsync(cancel));

        async Task<CommandResult> Succeed(string service)
        {
            CommandResult result = await CommandLine.Run(Command(service), environment);
            result.ExitCode.ShouldBe(0, result.Error);
            return result;
        }

        string[] Command(string service)
        {
            return [.. ((YamlSequenceNode)Find((YamlMappingNode)services[service], "command")).Select(a => ((YamlScalarNode)a).Value!)];
        }
    }

    /// <summary>A service's own, or that of what is merged into it.</summary>
    private static YamlNode Find(YamlMappingNode service, string key) =>
        service.Children.TryGetValue(key, out YamlNode? own) ? own : Find((YamlMappingNode)service["<<"], key);

    private static YamlMappingNode Services([CallerFilePath] string path = "")
    {
        string compose = Path.GetFullPath(Path.Combine(Path.GetDirectoryName(path)!, "../../docker-compose.yml"));
        YamlStream yaml = new();
        using StreamReader reader = File.OpenText(compose);
        yaml.Load(reader);
        return (YamlMappingNode)yaml.Documents[0].RootNode["services"];
    }
}

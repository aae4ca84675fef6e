using System.CommandLine;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Orchestrator.Models;
using ArmoFlow.Persistence.Models;
using ArmoFlow.RewardModel.Scoring;
using ArmoFlow.RewardModel.Tensors;
using ArmoFlow.RewardModel.Text;
using Microsoft.Extensions.DependencyInjection;

namespace ArmoFlow.Cli.Commands;

/// <summary>One archive with everything that is known of a model, or of a score of it.</summary>
internal static class EvidenceCommand
{
    public static Command Evidence()
    {
        Argument<string> model = new("model") { Description = "NAME[@ALIAS or @VERSION]." };
        Option<string> output = new("--out", "-o") { Description = "The archive to write (.zip).", Required = true };
        Option<string?> prompt = new("--prompt") { Description = "With --response: the score that is asked about." },
            response = new("--response") { Description = "The response that was scored." };
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Command command = new("evidence",
            "Packs what is known of a model: version and aliases, evaluations, run, spec, lineage down to the source files' hashes, "
                + "report, logs, the audit trail with its head, a score that is asked about, and how to check it all.")
        {
            model,
            output,
            prompt,
            response,
            workspace,
            server
        };
        command.SetAction(async (parsed, cancel) =>
        {
            (string reference, string path) = (parsed.GetRequiredValue(model), parsed.GetRequiredValue(output));
            if (parsed.GetValue(prompt) is null != parsed.GetValue(response) is null)
                throw new UsageException("a score has a prompt and a response: give both, or neither.");
            EvidenceRequest request = new() { Model = reference, Prompt = parsed.GetValue(prompt), Response = parsed.GetValue(response) };
            if (parsed.GetValue(server) is { } url)
            {
                await using ServerClient client = new(url);
                await client.Save(HttpMethod.Post, "api/v1/models/evidence", request, path, cancel);
            }
            else await FromWorkspace(parsed.GetRequiredValue(workspace), request, path, cancel);
            Console.Error.WriteLine($"evidence on {reference} in {path}; its README.md says how to check it");
            return ExitCodes.Done;
        });
        return command;
    }

    private static async Task FromWorkspace(string folder, EvidenceRequest request, string path, CancellationToken cancel)
    {
        await using ServiceProvider books = await EmbeddedHost.OpenDatabase(folder);
        ModelVersion version = await books.GetRequiredService<ModelRegistry>().Resolve(request.Model, cancel);
        object? score = null;
        if (request is { Prompt: { } prompt, Response: { } response })
        {
            await using WorkspaceClient client = await WorkspaceClient.Open(folder);
            using ConversationScorer scorer = (await RunModel.Load(client, version.RunId, cancel)).Scorer();
            score = new
            {
                model = $"{version.Model}@{version.Version}",
                prompt,
                response,
                explanation = scorer.Score([Conversation.Create(prompt, response, "--response")], null, cancel)[0]
            };
        }
        await AtomicFile.Write(path, stream => books.GetRequiredService<EvidencePack>().Pack(version, score, stream, cancel));
    }
}

using System.CommandLine;
using ArmoFlow.Client;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.RewardModel.Tensors;

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
        Command command = new("evidence",
            "Packs what is known of a model: version and aliases, evaluations, run, spec, lineage down to the source files' hashes, "
                + "report, logs, the audit trail with its head, a score that is asked about, and how to check it all.")
        {
            model,
            output,
            prompt,
            response
        };
        return command.WithClient(async (parsed, cancel) =>
        {
            (string reference, string path) = (parsed.GetRequiredValue(model), parsed.GetRequiredValue(output));
            if (parsed.GetValue(prompt) is null != parsed.GetValue(response) is null)
                throw new UsageException("a score has a prompt and a response: give both, or neither.");
            EvidenceRequest request = new() { Model = reference, Prompt = parsed.GetValue(prompt), Response = parsed.GetValue(response) };
            await using IArmoFlowClient client = await parsed.OpenClient();
            await AtomicFile.Write(path, stream => client.WriteEvidence(request, stream, cancel));
            Console.Error.WriteLine($"evidence on {reference} in {path}; its README.md says how to check it");
            return ExitCodes.Done;
        }, printsJson: false);
    }
}

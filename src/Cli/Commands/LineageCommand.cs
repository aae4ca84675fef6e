using System.CommandLine;
using System.Globalization;
using System.Security.Cryptography;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Client;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using Spectre.Console;

namespace ArmoFlow.Cli.Commands;

/// <summary>What something was made from, and what was made from it.</summary>
internal static class LineageCommand
{
    private const int ShortHash = 12;

    public static Command Lineage()
    {
        Argument<string?> what =
            new("what") { Description = "An artifact's sha256, or a file (its bytes are hashed).", Arity = ArgumentArity.ZeroOrOne };
        Option<string?> conversation =
            new("--conversation") { Description = "A conversation's id: lists the models that were made with it." };
        Option<bool> down = new("--down") { Description = "What was made from it, instead of what it was made from." };
        Option<Guid?> run =
            new("--run") { Description = "Only the steps that this run went by: equal bytes may have been made by several." };
        Command command = new("lineage",
            "Lists the finished steps that an artifact or a file came from, or that used it (--down), nearest first.")
        {
            what,
            conversation,
            down,
            run
        };
        return command.WithClient(async (parsed, cancel) =>
        {
            if (parsed.GetValue(conversation) is { } id) return await ListUsers(parsed, id, cancel);
            string sha256 = await Digest(parsed.GetValue(what)
                ?? throw new UsageException("name an artifact's sha256 or a file, or give --conversation ID."), cancel);
            bool isUp = !parsed.GetValue(down);
            LineageDirection direction = isUp ? LineageDirection.Up : LineageDirection.Down;
            await using IArmoFlowClient client = await parsed.OpenClient();
            IReadOnlyList<LineageStep> steps = await client.Trace(sha256, direction, parsed.GetValue(run), cancel);
            Terminal.WarnOf(steps.Select(s => s.Disagrees));
            if (parsed.WantsJson()) Terminal.PrintJson(steps);
            else if (steps.Count == 0) Console.Error.WriteLine($"no step {(isUp ? "made" : "used")} {sha256}");
            else Tabulate(steps);
            return ExitCodes.Done;
        });
    }

    private static async Task<int> ListUsers(ParseResult parsed, string conversation, CancellationToken cancel)
    {
        await using IArmoFlowClient client = await parsed.OpenClient();
        IReadOnlyList<UsedBy> users = await client.UsersOf(conversation, cancel);
        if (parsed.WantsJson()) Terminal.PrintJson(users);
        else if (users.Count == 0) Console.Error.WriteLine("no model was made with it");
        else RunTables.Users(users);
        return ExitCodes.Done;
    }

    private static void Tabulate(IReadOnlyList<LineageStep> steps)
    {
        Table table = RunTables.New("", "step", "finished", "from", "made", "on");
        foreach (LineageStep s in steps)
        {
            table.AddRow($"{s.Distance}", $"{s.Step} v{s.Version}", s.CreatedAt.ToString("u", CultureInfo.InvariantCulture),
                List(s.Inputs, s.Redacted), List(s.Outputs, s.Redacted), Markup.Escape(s.Hardware));
        }
        Terminal.Out.Write(table);
    }

    private static async Task<string> Digest(string what, CancellationToken cancel)
    {
        if (Sha256.IsOne(what)) return what;
        if (!File.Exists(what))
        {
            throw new UsageException(
                $"'{what}': expected a sha256 of 64 lower-case hex digits, or a file. See: armoflow artifacts list RUN.");
        }
        await using FileStream stream = File.OpenRead(what);
        return Convert.ToHexStringLower(await SHA256.HashDataAsync(stream, cancel));
    }

    private static string List(IReadOnlyList<StepArtifactDocument> artifacts, IReadOnlyDictionary<string, string> redacted) =>
        Markup.Escape(string.Join("\n", artifacts.Select(a =>
        $"{a.Name} {a.Sha256[..ShortHash]}"
        + (redacted.TryGetValue(a.Sha256, out string? now) ? $", redacted: now {now[..ShortHash]}" : ""))));
}

using System.CommandLine;
using System.Globalization;
using System.Security.Cryptography;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Cli.Workspaces;
using ArmoFlow.Client;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Retention;
using ArmoFlow.RewardModel.Text;
using Spectre.Console;

namespace ArmoFlow.Cli.Commands;

/// <summary>What is to be forgotten: first what that would do, then, when that is confirmed, the doing.</summary>
internal static class ForgetCommand
{
    public static Command Forget()
    {
        Argument<string> kind = new("kind") { Description = "conversation, source or file; or list, undo." };
        Argument<string?> value = Value();
        Option<string?> prompt = new("--prompt") { Description = "The conversation's prompt." },
            response = new("--response") { Description = "Its response." };
        Option<string?> reason = new("--reason") { Description = "Why; the audit trail keeps it." };
        Option<bool> retrain = new("--retrain") { Description = "Have the models that used it made anew (needs --server)." };
        Option<bool> dryRun = new("--dry-run") { Description = "Only say what would be done, and what would stay." };
        Option<bool> yes = new("--yes") { Description = "Do not ask whether it is meant; needed where nobody can be asked." };
        Command command = new("forget",
            "Keeps a conversation, a source or a file out of every run from now on, takes it out of what is kept, and lists the models "
                + "that were made with it.")
        {
            kind, value, prompt, response, reason, retrain, dryRun, yes, List(), Undo()
        };
        return command.WithClient(async (parsed, cancel) =>
        {
            string what = parsed.GetRequiredValue(kind);
            string which = await Target(what, parsed.GetValue(value), parsed.GetValue(prompt), parsed.GetValue(response), cancel);
            bool asJson = parsed.WantsJson();
            await using IArmoFlowClient client = await parsed.OpenClient();
            ForgetPlan plan = await client.PlanForgetting(new ForgetTarget { Kind = what, Value = which }, cancel);
            if (parsed.GetValue(dryRun))
            {
                if (asJson) Terminal.PrintJson(plan);
                else Show(plan);
                return ExitCodes.Done;
            }
            string why = parsed.GetValue(reason) ?? throw new UsageException("forgetting needs a reason: --reason TEXT.");
            bool canRetrain = parsed.ServerAddress() is not null;
            if (parsed.GetValue(retrain) && !canRetrain) throw WorkspaceClient.NobodyRetrains(); // before anybody is asked
            if (!parsed.GetValue(yes)) Confirm(plan);
            ForgetRequest request = new() { Kind = what, Value = which, Reason = why, Retrain = parsed.GetValue(retrain) };
            Report(await client.Forget(request, cancel), asJson);
            return ExitCodes.Done;
        });
    }

    private static Command List()
    {
        Option<bool> all = new("--all") { Description = "With those that were lifted again." };
        Command command = new("list", "Lists what is forgotten.") { all };
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            IReadOnlyList<ExclusionDocument> exclusions = await client.ListExclusions(parsed.GetValue(all), cancel);
            if (parsed.WantsJson()) Terminal.PrintJson(exclusions);
            else if (exclusions.Count == 0) Console.Error.WriteLine("nothing is forgotten");
            else Write(exclusions);
            return ExitCodes.Done;
        });
    }

    private static Command Undo()
    {
        Argument<string> kind = new("kind") { Description = "conversation, source or file." };
        Argument<string?> value = Value();
        Option<string> reason = new("--reason") { Description = "Why; the audit trail keeps it.", Required = true };
        Command command = new("undo", "Lets runs read it again, where it still is; text that was removed does not come back.")
        {
            kind, value, reason,
        };
        return command.WithClient(async (parsed, cancel) =>
        {
            string what = parsed.GetRequiredValue(kind), which = await Target(what, parsed.GetValue(value), null, null, cancel);
            ForgetRequest request = new() { Kind = what, Value = which, Reason = parsed.GetRequiredValue(reason) };
            await using IArmoFlowClient client = await parsed.OpenClient();
            ExclusionDocument lifted = await client.LiftExclusion(request, cancel);
            if (parsed.WantsJson()) Terminal.PrintJson(lifted);
            else
            {
                Console.Error.WriteLine($"{what} {which}: runs read it again, where it still is. Text that was removed does not come "
                    + "back: run the specs again, on data that has it.");
            }
            return ExitCodes.Done;
        });
    }

    /// <summary>A conversation by its text, a file by its bytes.</summary>
    private static async Task<string> Target(string kind, string? value, string? prompt, string? response, CancellationToken cancel)
    {
        if (value is null)
        {
            return prompt is not null && response is not null ? Conversation.Create(prompt, response, "--prompt").Id
            : throw new UsageException("name the conversation: its id, or --prompt and --response.");
        }
        if (kind != ExclusionKind.File.Text() || !File.Exists(value)) return value;
        await using FileStream stream = File.OpenRead(value);
        return Convert.ToHexStringLower(await SHA256.HashDataAsync(stream, cancel));
    }

    /// <summary>Nobody forgets by accident: whoever sits at a terminal types the kind again.</summary>
    private static void Confirm(ForgetPlan plan)
    {
        Show(plan);
        if (Console.IsInputRedirected)
        {
            throw new UsageException(
                "forgetting cannot be taken back, and there is nobody to ask: look at it with --dry-run, then give --yes.");
        }
        Console.Error.Write($"This cannot be taken back. Type '{plan.Kind.Text()}' to go on: ");
        if (Console.ReadLine()?.Trim() != plan.Kind.Text()) throw new UsageException("not confirmed; nothing was done.");
    }

    private static void Report(Forgetting forgotten, bool asJson)
    {
        if (asJson)
        {
            Terminal.PrintJson(forgotten);
            return;
        }
        ExclusionDocument exclusion = forgotten.Exclusion;
        Console.Error.WriteLine($"{exclusion.Kind.Text()} {exclusion.Value}: no run reads it from now on; "
            + $"{(forgotten.UsedBy.Count == 0 ? "no model was made with it" : "made with it:")}");
        RunTables.Users(forgotten.UsedBy);
        if (forgotten.Plan is { } plan)
        {
            Console.Error.WriteLine($"{Format.Number(plan.Rewritten.Count)} tables looked through and written again where they had it, "
                + $"{Format.Number(plan.Removed.Count)} artifacts removed");
        }
        foreach (string what in forgotten.Plan?.Stays ?? []) Console.Error.WriteLine($"stays: {what}");
        foreach (Guid run in forgotten.Retrains) Console.Error.WriteLine($"retrain: run {run}");
    }

    private static void Show(ForgetPlan plan)
    {
        Console.Error.WriteLine(
            $"{plan.Kind.Text()} {plan.Value}: {(plan.UsedBy.Count == 0 ? "no model was made with it" : "models were made with it:")}");
        RunTables.Users(plan.UsedBy);
        if (plan.Files.Count > 0)
        {
            Console.Error.WriteLine(
                $"files that no run would read, whatever they are called: {string.Join(", ", plan.Files.Select(f => f[..12]))}");
        }
        Console.Error.WriteLine($"{Format.Number(plan.Rewritten.Count)} tables would be looked through and written again without it, "
            + $"{Format.Number(plan.Removed.Count)} artifacts (features, files of data sets) removed");
        foreach (string what in plan.Stays) Console.Error.WriteLine($"stays: {what}");
        foreach (string obstacle in plan.Obstacles) Console.Error.WriteLine($"not now: {obstacle}");
    }

    private static void Write(IReadOnlyList<ExclusionDocument> exclusions)
    {
        Table table = RunTables.New("kind", "value", "since", "by", "reason", "lifted");
        foreach (ExclusionDocument e in exclusions)
        {
            string lifted = e.LiftedAt is { } at ? $"{at.ToString("u", CultureInfo.InvariantCulture)} by {e.LiftedBy}: {e.LiftedReason}"
                : "";
            table.AddRow(e.Kind.Text(), Markup.Escape(e.Value), e.At.ToString("u", CultureInfo.InvariantCulture), Markup.Escape(e.By),
                Markup.Escape(e.Origin is { } origin ? $"with {origin}" : e.Reason), Markup.Escape(lifted));
        }
        Terminal.Out.Write(table);
    }

    private static Argument<string?> Value() => new("value")
    {
        Description = "A conversation's id, a source's name, or a file (or its sha256); left out where --prompt and --response name the "
                + "conversation.",
        Arity = ArgumentArity.ZeroOrOne,
    };
}

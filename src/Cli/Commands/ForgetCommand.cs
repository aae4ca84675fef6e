using System.CommandLine;
using System.Globalization;
using System.Security.Cryptography;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Retention;
using ArmoFlow.Persistence.Retention;
using ArmoFlow.RewardModel.Text;
using Microsoft.Extensions.DependencyInjection;
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
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Option<bool> json = Options.Json();
        Command command = new("forget",
            "Keeps a conversation, a source or a file out of every run from now on, takes it out of what is kept, and lists the models "
                + "that were made with it.")
        {
            kind, value, prompt, response, reason, retrain, dryRun, yes, workspace, server, json, List(), Undo(),
        };
        command.SetAction(async (parsed, cancel) =>
        {
            string what = parsed.GetRequiredValue(kind);
            string which = await Target(what, parsed.GetValue(value), parsed.GetValue(prompt), parsed.GetValue(response), cancel);
            (string? url, string folder, bool asJson) = (parsed.GetValue(server), parsed.GetRequiredValue(workspace),
                parsed.GetValue(json));
            ForgetPlan plan = await Books.Ask(url, folder, books =>
                books.GetRequiredService<Redaction>().Plan(ForgettingStore.KindOf(what), which, cancel),
                client => client.Send<ForgetPlan>(HttpMethod.Post, "api/v1/exclusions/plan",
                    new ForgetTarget { Kind = what, Value = which }, cancel));
            if (parsed.GetValue(dryRun))
            {
                if (asJson) Terminal.PrintJson(plan);
                else Show(plan);
                return ExitCodes.Done;
            }
            string why = parsed.GetValue(reason) ?? throw new UsageException("forgetting needs a reason: --reason TEXT.");
            if (parsed.GetValue(retrain)
                && url is null)
            {
                throw new UsageException("--retrain needs a server that runs what is submitted: --server URL. Without one, run the "
                    + "listed models' specs again.");
            }
            if (!parsed.GetValue(yes)) Confirm(plan);
            ForgetRequest request = new() { Kind = what, Value = which, Reason = why, Retrain = parsed.GetValue(retrain) };
            Report(await Books.Ask(url, folder, books => Here(books, request, cancel), client =>
                client.Send<Forgetting>(HttpMethod.Post, "api/v1/exclusions", request, cancel)), asJson);
            return ExitCodes.Done;
        });
        return command;
    }

    private static async Task<Forgetting> Here(ServiceProvider books, ForgetRequest request, CancellationToken cancel)
    {
        (Exclusion exclusion, ForgetPlan plan) = await books.GetRequiredService<Redaction>().Forget(
            ForgettingStore.KindOf(request.Kind), request.Value, request.Reason, cancel);
        return new Forgetting(exclusion.ToDocument(), plan.UsedBy, [], plan);
    }

    private static Command List()
    {
        Option<bool> all = new("--all") { Description = "With those that were lifted again." };
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Option<bool> json = Options.Json();
        Command command = new("list", "Lists what is forgotten.") { all, workspace, server, json };
        command.SetAction(async (parsed, cancel) =>
        {
            bool withLifted = parsed.GetValue(all);
            IReadOnlyList<ExclusionDocument> exclusions = await Books.Ask(parsed.GetValue(server), parsed.GetRequiredValue(workspace),
                async books =>
                    [.. (await books.GetRequiredService<ForgettingStore>().List(cancel, withLifted)).Select(e => e.ToDocument())],
                client => client.Get<IReadOnlyList<ExclusionDocument>>(
                    $"api/v1/exclusions?lifted={(withLifted ? "true" : "false")}", cancel));
            if (parsed.GetValue(json)) Terminal.PrintJson(exclusions);
            else if (exclusions.Count == 0) Console.Error.WriteLine("nothing is forgotten");
            else Write(exclusions);
            return ExitCodes.Done;
        });
        return command;
    }

    private static Command Undo()
    {
        Argument<string> kind = new("kind") { Description = "conversation, source or file." };
        Argument<string?> value = Value();
        Option<string> reason = new("--reason") { Description = "Why; the audit trail keeps it.", Required = true };
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Option<bool> json = Options.Json();
        Command command = new("undo", "Lets runs read it again, where it still is; text that was removed does not come back.") { kind,
            value, reason, workspace, server, json };
        command.SetAction(async (parsed, cancel) =>
        {
            string what = parsed.GetRequiredValue(kind), which = await Target(what, parsed.GetValue(value), null, null, cancel);
            ForgetRequest request = new() { Kind = what, Value = which, Reason = parsed.GetRequiredValue(reason) };
            ExclusionDocument lifted = await Books.Ask(parsed.GetValue(server), parsed.GetRequiredValue(workspace),
                async books => (await books.GetRequiredService<ForgettingStore>()
                    .Lift(ForgettingStore.KindOf(what), which, request.Reason, cancel)).ToDocument(),
                client => client.Send<ExclusionDocument>(HttpMethod.Post, "api/v1/exclusions/undo", request, cancel));
            if (parsed.GetValue(json)) Terminal.PrintJson(lifted);
            else
            {
                Console.Error.WriteLine($"{what} {which}: runs read it again, where it still is. Text that was removed does not come "
                    + "back: run the specs again, on data that has it.");
            }
            return ExitCodes.Done;
        });
        return command;
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

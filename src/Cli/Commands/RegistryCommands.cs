using System.CommandLine;
using System.Globalization;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Client;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Persistence.Models;
using Spectre.Console;

namespace ArmoFlow.Cli.Commands;

/// <summary>Names, versions and aliases of models: who promoted what, and on what evidence.</summary>
internal static class RegistryCommands
{
    private const int Shown = 20;

    public static Command List()
    {
        Command command = new("list", "Lists models, with what their aliases mean now.");
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            IReadOnlyList<ModelSummary> models = await client.ListModels(cancel);
            if (parsed.WantsJson()) Terminal.PrintJson(models);
            else if (models.Count == 0) Console.Error.WriteLine("no model yet; a completed run makes one");
            else
            {
                Table table = RunTables.New("model", "versions", "newest", "made", "aliases");
                foreach (ModelSummary m in models)
                {
                    table.AddRow(Markup.Escape(m.Model), $"{m.Versions}", $"{m.Newest}", Format.Time(m.CreatedAt),
                        string.Join(", ", m.Aliases.Select(a => $"{a.Key} → {a.Value}")));
                }
                Terminal.Out.Write(table);
            }
            return ExitCodes.Done;
        });
    }

    public static Command Show()
    {
        Argument<string> model = Model();
        Command command = new("show", "Shows a model's versions and the history of its aliases.") { model };
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            string name = parsed.GetRequiredValue(model);
            IReadOnlyList<VersionDocument> versions = await client.Versions(name, cancel);
            IReadOnlyList<AliasPeriodDocument> history = await client.AliasHistory(name, cancel);
            IReadOnlyList<ModelEvaluationDocument> evaluations = await client.Evaluations(name, Shown, cancel);
            IReadOnlyList<ModelAlertDocument> alerts = await client.Alerts(name, Shown, cancel);
            if (parsed.WantsJson())
            {
                Terminal.PrintJson(new { model = name, versions, history, evaluations, alerts });
                return ExitCodes.Done;
            }
            ShowVersions(name, versions);
            ShowEvaluations(evaluations);
            ShowAlerts(alerts);
            ShowHistory(history);
            return ExitCodes.Done;
        });
    }

    private static void ShowVersions(string model, IReadOnlyList<VersionDocument> versions)
    {
        Table table = RunTables.New("version", "made", "run", "held-out", "benchmark", "aliases", "usable", "notes");
        foreach (VersionDocument v in versions)
        {
            table.AddRow($"{v.Version.Version}", Format.Time(v.Version.CreatedAt), v.Version.RunId.ToString(),
                v.NoSignal is null ? Percent(v.HeldOutAccuracy) : RunTables.NoSignal,
                v.NoSignal is null ? Percent(v.Score) : RunTables.NoSignal,
                string.Join(", ", v.Aliases), v.Usable ? "yes" : "[red]no[/]", Markup.Escape(v.Version.Notes ?? ""));
        }
        Terminal.Out.Write(table);
        foreach (VersionDocument v in versions.Where(v => !v.Usable))
            Console.Error.WriteLine($"{model}@{v.Version.Version} cannot be scored with: {string.Join("; ", v.Missing ?? [])}.");
        foreach (VersionDocument v in versions.Where(v => v.NoSignal is not null))
            Console.Error.WriteLine($"{model}@{v.Version.Version}: {v.NoSignal}");
    }

    private static void ShowHistory(IReadOnlyList<AliasPeriodDocument> history)
    {
        if (history.Count == 0) return;
        Terminal.WarnOf(history.Select(p => p.Disagrees));
        Table periods = RunTables.New("alias", "version", "from", "until", "by", "reason");
        foreach (AliasPeriodDocument p in history.Where(p => p.KnownUntil is null))
        {
            periods.AddRow(Markup.Escape(p.Alias), $"{p.Version}", Format.Time(p.ValidFrom),
                p.ValidUntil is { } until ? Format.Time(until) : "", Markup.Escape(p.DecidedBy), Markup.Escape(p.Reason ?? ""));
        }
        Terminal.Out.Write(periods);
    }

    private static void ShowEvaluations(IReadOnlyList<ModelEvaluationDocument> evaluations)
    {
        if (evaluations.Count == 0) return;
        Table table = RunTables.New("evaluated", "version", "run", "held-out", "benchmark", "gates");
        foreach (ModelEvaluationDocument e in evaluations)
        {
            table.AddRow(Format.Time(e.At), $"{e.Version}", e.RunId.ToString(), Percent(e.HeldOutAccuracy), Percent(e.Score),
                e.Holds switch { true => "[green]hold[/]", false => $"[red]{(e.Error is null ? "below" : "failed")}[/]", null => "…" });
        }
        Terminal.Out.Write(table);
    }

    private static void ShowAlerts(IReadOnlyList<ModelAlertDocument> alerts)
    {
        if (alerts.Count == 0) return;
        Table table = RunTables.New("raised", "version", "alert", "webhook");
        foreach (ModelAlertDocument a in alerts)
        {
            string told = a switch
            {
                { Webhook: null } => "none",
                { DeliveredAt: { } at } => $"told {Format.Time(at)}",
                { NextAttemptAt: null } => $"given up after {a.Attempts}: {a.LastError}",
                { LastError: null } => $"attempt {a.Attempts + 1}",
                _ => $"attempt {a.Attempts + 1}: {a.LastError}",
            };
            table.AddRow(Format.Time(a.RaisedAt), $"{a.Version}", Markup.Escape(a.Text), Markup.Escape(told));
        }
        Terminal.Out.Write(table);
    }

    public static Command Promote()
    {
        Argument<string> version = new("version") { Description = "NAME@VERSION." };
        Option<string> alias = Alias();
        Option<bool> force = new("--force") { Description = "Though a gate does not hold; needs --reason." };
        Option<string?> reason = Reason();
        Command command = new("promote",
            "Runs the gates of a version's spec and, if all hold, lets an alias mean it; exit code 1 if they refuse.")
        {
            version,
            alias,
            force,
            reason
        };
        return command.WithClient(async (parsed, cancel) =>
        {
            (string name, int number) = Version(parsed.GetRequiredValue(version));
            await using IArmoFlowClient client = await parsed.OpenClient();
            AliasRequest request = new(number, parsed.GetValue(force), parsed.GetValue(reason));
            Promotion promotion = await client.Promote(name, parsed.GetRequiredValue(alias), request, cancel);
            if (parsed.WantsJson()) Terminal.PrintJson(promotion);
            else
            {
                foreach (GateVerdict v in promotion.Verdicts)
                    Terminal.Out.MarkupLine($"{(v.Holds ? "[green]✓[/]" : "[red]✗[/]")} {Markup.Escape(v.Detail)}");
                Console.Error.WriteLine(Describe(name, promotion));
            }
            return promotion.Promoted ? ExitCodes.Done : ExitCodes.Failed;
        });
    }

    private static string Describe(string model, Promotion promotion)
    {
        const string NoGates = "; neither its spec (promotion: …) nor a policy of the model has gates";
        if (promotion.Promoted)
        {
            string how = promotion.Verdicts.Count == 0 ? NoGates : "";
            if (promotion.Forced) how = ", though a gate did not hold";
            return $"{model}@{promotion.Alias} is version {promotion.Version} now{how}";
        }
        if (promotion.Waiting is { } asked) return $"asked for by {string.Join(", ", asked)}; more people must ask for it (approvals)";
        return $"armoflow: refused: {promotion.Verdicts.Count(v => !v.Holds)} of {promotion.Verdicts.Count} gates do not hold. "
            + "Promote another version, or --force --reason TEXT.";
    }

    public static Command RollBack()
    {
        Argument<string> model = Model();
        Option<string> alias = Alias();
        Option<int?> to = new("--to") { Description = "A version further back that the alias meant." };
        Option<string?> reason = Reason();
        Command command = new("rollback",
            "Lets an alias mean again what it meant before; each time one step further back, and never to a version that it was rolled "
                + "back from.")
        {
            model, alias, to, reason
        };
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            RollbackRequest request = new(parsed.GetValue(reason), parsed.GetValue(to));
            AliasPeriodDocument period =
                await client.RollBack(parsed.GetRequiredValue(model), parsed.GetRequiredValue(alias), request, cancel);
            if (parsed.WantsJson()) Terminal.PrintJson(period);
            else Console.Error.WriteLine($"{period.Model}@{period.Alias} is version {period.Version} again");
            return ExitCodes.Done;
        });
    }

    public static Command Backbone()
    {
        Argument<string> model = new("model") { Description = "NAME (its champion, else its newest version) or NAME@VERSION." };
        Argument<string> place =
            new("path") { Description = "The folder that its backbone lies in now; of a server's model, as the workers see it." };
        Command command = new("backbone",
            "Says where a model's backbone lies now, for all versions that were trained on it; its files are hashed before that is "
                + "believed.")
        {
            model, place
        };
        return command.WithClient(async (parsed, cancel) =>
        {
            string given = parsed.GetRequiredValue(model), folder = parsed.GetRequiredValue(place);
            (string name, int? version) = given.Contains('@', StringComparison.Ordinal) ? Version(given) : (given, (int?)null);
            await using IArmoFlowClient client = await parsed.OpenClient();
            string path = parsed.ServerAddress() is null ? Path.GetFullPath(folder) : folder;
            PlacedBackbone placed = await client.PlaceBackbone(name, new BackboneRequest(path, version), cancel);
            if (parsed.WantsJson()) Terminal.PrintJson(placed);
            else Console.Error.WriteLine($"backbone {placed.Digest[..16]}… of {name} lies in {placed.Path}");
            return ExitCodes.Done;
        });
    }

    public static Command At()
    {
        Argument<DateTimeOffset> time = new("time")
        {
            Description = "Such as 2026-11-25 or 2026-11-25T16:00:00Z; UTC where no zone is given.",
            CustomParser = Options.Time,
        };
        Argument<string> alias = new("alias") { Description = "The alias." };
        Option<string?> model = new("--model") { Description = "Only this model; all of them if left out." };
        Option<DateTimeOffset?> known = new("--known")
        {
            Description = "As it was known at this time; now if left out.",
            CustomParser = result => Options.Time(result),
        };
        Command command = new("at", "Says which version an alias meant at a time, by whose decision and on what evidence.")
        {
            time,
            alias,
            model,
            known
        };
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            List<AliasPeriodDocument> periods = [];
            foreach (string name in parsed.GetValue(model) is { } one ? [one] : (await client.ListModels(cancel)).Select(m => m.Model))
            {
                AliasPeriodDocument? period = await client.AliasAt(
                    name, parsed.GetRequiredValue(alias), parsed.GetValue(time), parsed.GetValue(known), cancel);
                if (period is not null) periods.Add(period);
            }
            Terminal.WarnOf(periods.Select(p => p.Disagrees));
            if (parsed.WantsJson()) Terminal.PrintJson(periods);
            else if (periods.Count == 0) Console.Error.WriteLine($"no model had the alias '{parsed.GetValue(alias)}' then");
            else ShowPeriods(periods);
            return ExitCodes.Done;
        });
    }

    private static void ShowPeriods(List<AliasPeriodDocument> periods)
    {
        Table table = RunTables.New("model", "version", "from", "until", "by", "reason", "evidence");
        foreach (AliasPeriodDocument p in periods)
        {
            table.AddRow(Markup.Escape(p.Model), $"{p.Version}", Format.Time(p.ValidFrom),
                p.ValidUntil is { } until ? Format.Time(until) : "", Markup.Escape(p.DecidedBy), Markup.Escape(p.Reason ?? ""),
                Markup.Escape(p.Evidence));
        }
        Terminal.Out.Write(table);
    }

    public static Command Describe()
    {
        Argument<string> version = new("version") { Description = "NAME@VERSION." };
        Option<string?> notes = new("--notes") { Description = "New notes; empty to remove them." };
        Option<string[]> tags = new("--tag") { Description = "New tags, instead of those it has." };
        Command command = new("describe", "Sets a version's notes and tags.") { version, notes, tags };
        return command.WithClient(async (parsed, cancel) =>
        {
            (string name, int number) = Version(parsed.GetRequiredValue(version));
            await using IArmoFlowClient client = await parsed.OpenClient();
            IReadOnlyList<string>? given = parsed.GetValue(tags) is { Length: > 0 } some ? some : null;
            Terminal.PrintJson(await client.Describe(name, number, new DescribeRequest(parsed.GetValue(notes), given), cancel));
            return ExitCodes.Done;
        }, printsJson: false);
    }

    private static Argument<string> Model() => new("model") { Description = "The model's name: that of its runs' spec." };

    private static Option<string> Alias() =>
        new("--alias") { Description = "The alias.", DefaultValueFactory = _ => ModelRegistry.Champion };

    private static Option<string?> Reason() => new("--reason") { Description = "Why; the audit trail keeps it." };

    private static (string Name, int Version) Version(string text) =>
        text.Split('@') is [{ Length: > 0 } name, var number] && int.TryParse(number.TrimStart('v'), out int version) ? (name, version)
            : throw new UsageException($"'{text}': expected NAME@VERSION, such as real-mini@3. See: armoflow models list.");

    private static string Percent(double? share) => share?.ToString("p1", CultureInfo.InvariantCulture) ?? "–";
}

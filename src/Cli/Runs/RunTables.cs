using System.Globalization;
using System.Text.Json.Nodes;
using ArmoFlow.Cli.Commands;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Decorrelation;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Evaluation;
using ArmoFlow.Contracts.Regression;
using ArmoFlow.Contracts.Runs;
using Spectre.Console;

namespace ArmoFlow.Cli.Runs;

/// <summary>Runs as tables for a reader.</summary>
internal static class RunTables
{
    /// <summary>What stands in the place of a figure that means nothing.</summary>
    public const string NoSignal = "no signal";

    /// <summary>Says of a gate that found no signal why, before anything else is said.</summary>
    private static void Warn(RunDocument run)
    {
        if (RunSignal.Missing(run.Metrics) is { } missing) Terminal.Out.MarkupLine($"[red]{Markup.Escape(missing)}[/]");
    }

    public static void List(IReadOnlyList<RunDocument> runs)
    {
        Table table = New("run", "name", "status", "submitted", "seconds", "held-out accuracy", "benchmark");
        foreach (RunDocument run in runs)
        {
            ScorerFigures? gate = RunFigures.Of(run.Metrics).Gate;
            bool isNothing = RunSignal.Missing(run.Metrics) is not null;
            string submitted = run.SubmittedAt.ToString("u", CultureInfo.InvariantCulture);
            string seconds = run.Steps.Sum(s => s.Seconds).ToString("f1", CultureInfo.InvariantCulture);
            table.AddRow(run.RunId.ToString(), Markup.Escape(run.Name), Colour(run.Status.Text()), submitted, seconds,
                isNothing ? NoSignal : Percent(gate?.HeldOutAccuracy), isNothing ? NoSignal : Percent(gate?.Benchmark?.Score));
        }
        Terminal.Out.Write(table);
    }

    public static void Show(RunDocument run)
    {
        Warn(run);
        Terminal.Out.MarkupLine($"[bold]{Markup.Escape(run.Name)}[/]  {run.RunId}  {Colour(run.Status.Text())}");
        if (run.Status == RunStatus.Interrupted) Terminal.Out.MarkupLine(Markup.Escape(Interrupted(run)));
        if (run.Error is { } error) Terminal.Out.MarkupLine($"[red]{Markup.Escape(error)}[/]");
        foreach (AlertDocument alert in run.Alerts) Terminal.Out.MarkupLine($"[red]alert:[/] {Markup.Escape(alert.Text)}");
        Table steps = New("step", "status", "seconds", "detail");
        foreach (StepDocument step in run.Steps)
        {
            steps.AddRow(step.Name, Colour(step.Status.Text()),
                step.Reused ? "reused" : step.Seconds.ToString("f1", CultureInfo.InvariantCulture), Markup.Escape(step.Detail ?? ""));
        }
        Terminal.Out.Write(steps);
        if (run.Artifacts.Count > 0) Artifacts(run);
        if (run.Status == RunStatus.Completed) Figures(run);
        if (run.Gates is not { } gates) return;
        foreach (JsonNode? verdict in gates.Verdicts)
        {
            Terminal.Out.MarkupLine($"{(verdict?["holds"]?.GetValue<bool>() == true ? "[green]✓[/]" : "[red]✗[/]")} "
                + $"{Markup.Escape(verdict?["detail"]?.GetValue<string>() ?? "")}");
        }
    }

    /// <summary>How to go on with a run that nobody works on.</summary>
    public static string Interrupted(RunDocument run) =>
        $"interrupted: no process works on it; go on with: armoflow runs resume {run.RunId}, or run its spec again";

    public static void Artifacts(RunDocument run)
    {
        Table table = New("artifact", "bytes", "sha256");
        foreach ((string name, ArtifactDocument artifact) in run.Artifacts)
            table.AddRow(name, artifact.Bytes.ToString("N0", CultureInfo.InvariantCulture), artifact.Sha256);
        Terminal.Out.Write(table);
    }

    /// <summary>What a finished run found: objectives, and the gate beside its baselines.</summary>
    public static void Results(RunDocument run)
    {
        Warn(run);
        Figures(run);
    }

    private static void Figures(RunDocument run)
    {
        RunFigures figures = RunFigures.Of(run.Metrics);
        Objectives(figures);
        if (figures.Evaluation is not { Scorers: { Count: > 0 } scorers }) return;
        Scorers(scorers, RunSignal.Missing(run.Metrics) is not null);
        foreach ((string name, ScorerFigures scorer) in scorers)
        {
            long ties = (scorer.HeldOutTies ?? 0) + (scorer.Benchmark?.Ties ?? 0);
            if (ties > 0) Console.Out.WriteLine($"{name}: {ties:N0} pairs tie, which count as not chosen");
        }
        foreach (string warning in figures.Gating?.Health?.Warnings ?? [])
            Terminal.Out.MarkupLine($"[yellow]gate health:[/] {Markup.Escape(warning)}");
        // not folded: a path is to be copied
        if (run.Artifacts.TryGetValue(ArtifactNames.Report, out ArtifactDocument? report) && report.Path is { } path)
            Console.Out.WriteLine($"report: {path}");
    }

    private static void Objectives(RunFigures figures)
    {
        Dictionary<string, PenaltyFigures> penalties = figures.Decorrelation?.Objectives.ToDictionary(p => p.Name) ?? [];
        Table table = New("objective", "rated rows", "α", "held-out R²", "corr. with verbosity", "after penalty");
        foreach (ObjectiveFigures fit in figures.Regression?.Objectives ?? [])
        {
            PenaltyFigures? penalty = penalties.GetValueOrDefault(fit.Name);
            table.AddRow(Markup.Escape(fit.Name), Number(fit.Rows, "N0"), Number(fit.Alpha, "g4"), Number(fit.ValidationR2, "f3"),
                Number(penalty?.Before, "f3"), Number(penalty?.After, "0.0e+0"));
        }
        Terminal.Out.Write(table);
    }

    private static void Scorers(IReadOnlyDictionary<string, ScorerFigures> scorers, bool hasNoSignal)
    {
        BenchmarkFigures? benchmark = scorers.GetValueOrDefault(EvaluationReport.Gate)?.Benchmark;
        string[] sections = benchmark is null ? [] : [.. benchmark.Sections.Keys];
        Table table = New(["scorer", "held-out pairs", .. sections, .. sections.Length > 0 ? new[] { "benchmark score" } : []]);
        foreach ((string name, ScorerFigures scorer) in scorers)
        {
            bool isNothing = hasNoSignal && name == EvaluationReport.Gate;
            List<double?> shares = [scorer.HeldOutAccuracy];
            foreach (string section in sections)
                shares.Add(scorer.Benchmark?.Sections.TryGetValue(section, out double share) == true ? share : null);
            if (sections.Length > 0) shares.Add(scorer.Benchmark?.Score);
            table.AddRow([name, .. shares.Select(share => isNothing ? NoSignal : Percent(share))]);
        }
        Terminal.Out.Write(table);
    }

    public static void Compare(IReadOnlyList<Difference> spec, IReadOnlyList<Difference> figures)
    {
        foreach ((string title, IReadOnlyList<Difference> differences) in new[] { ("spec", spec), ("figure", figures) })
        {
            if (differences.Count == 0)
            {
                Terminal.Out.MarkupLine($"no {title} differs");
                continue;
            }
            Table table = New(title, "first", "second");
            foreach (Difference d in differences)
                table.AddRow(Markup.Escape(d.Key), Markup.Escape(d.First ?? "–"), Markup.Escape(d.Second ?? "–"));
            Terminal.Out.Write(table);
        }
    }

    public static Table New(params string[] columns)
    {
        Table table = new Table().Border(TableBorder.Rounded);
        foreach (string column in columns) table.AddColumn(new TableColumn(Markup.Escape(column)));
        return table;
    }

    private static string Colour(string status) => status switch
    {
        nameof(StepStatus.Completed) => $"[green]{status}[/]",
        nameof(StepStatus.Failed) => $"[red]{status}[/]",
        nameof(StepStatus.Cancelled) or nameof(StepStatus.Paused) or nameof(StepStatus.Pending) => $"[grey]{status}[/]",
        _ => $"[yellow]{status}[/]",
    };

    private static string Number(double? value, string format) => value?.ToString(format, CultureInfo.InvariantCulture) ?? "–";

    private static string Percent(double? share) => Number(share, "p1");

    /// <summary>Versions that were made with something, a line each.</summary>
    public static void Users(IEnumerable<UsedBy> users)
    {
        foreach (UsedBy u in users)
            Console.Out.WriteLine($"{u.Model}@{u.Version}  run {u.RunId}{(u.IsCertain ? "" : "  not known: what it read was collected")}");
    }
}

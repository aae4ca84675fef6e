using System.Diagnostics;
using System.Globalization;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Runs;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace ArmoFlow.Cli.Runs;

/// <summary>Shows a run on stderr while it goes on: live bars on a terminal, plain lines otherwise.</summary>
internal static class RunView
{
    private static readonly TimeSpan LineInterval = TimeSpan.FromSeconds(5);
    private const int BarWidth = 28;

    /// <summary>Follows a run until it ends or pauses, and returns its last document.</summary>
    public static Task<RunDocument> Follow(IAsyncEnumerable<RunEvent> events) =>
        Terminal.Error.Profile.Capabilities.Interactive && !Console.IsErrorRedirected ? FollowLive(events) : FollowInLines(events);

    private static async Task<RunDocument> FollowInLines(IAsyncEnumerable<RunEvent> events)
    {
        Dictionary<string, StepStatus> shown = [];
        RunDocument? last = null;
        Rate rate = new();
        long lastLine = Stopwatch.GetTimestamp();
        await foreach ((RunDocument run, StepProgressed? progress) in events)
        {
            last = run;
            foreach (StepDocument step in run.Steps)
            {
                if (step.Status == StepStatus.Pending || shown.GetValueOrDefault(step.Name) == step.Status) continue;
                shown[step.Name] = step.Status;
                if (step.Status != StepStatus.Running) Console.Error.WriteLine(Line(step));
            }
            if (progress is not null
                && run.Steps.Any(s => s.Name == progress.Step && s.Status == StepStatus.Running)
                && Stopwatch.GetElapsedTime(lastLine) > LineInterval)
            {
                lastLine = Stopwatch.GetTimestamp();
                Console.Error.WriteLine($"  … {progress.Step,-14} {rate.Describe(progress)}");
            }
            if (run.HasEnded || run.Status == RunStatus.Paused) break;
        }
        return last!;
    }

    private static async Task<RunDocument> FollowLive(IAsyncEnumerable<RunEvent> events)
    {
        RunDocument? last = null;
        Rate rate = new();
        await Terminal.Error.Live(new Text("")).StartAsync(async live =>
        {
            await foreach ((RunDocument run, StepProgressed? progress) in events)
            {
                last = run;
                live.UpdateTarget(Draw(run, progress, rate));
                if (run.HasEnded || run.Status == RunStatus.Paused) break;
            }
        });
        return last!;
    }

    private static Rows Draw(RunDocument run, StepProgressed? progress, Rate rate)
    {
        List<IRenderable> lines = [];
        foreach (StepDocument step in run.Steps)
        {
            string mark = step.Status switch
            {
                StepStatus.Completed => "[green]✓[/]",
                StepStatus.Running => "[yellow]▸[/]",
                StepStatus.Failed => "[red]✗[/]",
                StepStatus.Pending => "[grey]·[/]",
                _ => "[grey]‖[/]"
            };
            string text = step.Status == StepStatus.Running && progress?.Step == step.Name
                ? $"{Bar(progress)} {Markup.Escape(rate.Describe(progress))}"
                : Markup.Escape(step.Detail ?? "");
            string time = step switch
            {
                { Status: StepStatus.Pending } => "",
                { Reused: true } => "reused",
                _ => string.Create(CultureInfo.InvariantCulture, $"{step.Seconds:f1} s"),
            };
            lines.Add(new Markup($"{mark} {step.Name,-14} {time,9}  {text}"));
        }
        return new Rows(lines);
    }

    private static string Bar(StepProgressed progress)
    {
        if (progress.Total <= 0) return "";
        int full = (int)Math.Clamp(progress.Done * BarWidth / progress.Total, 0, BarWidth);
        return $"[yellow]{new string('━', full)}[/][grey]{new string('━', BarWidth - full)}[/]";
    }

    private static string Line(StepDocument step)
    {
        string mark = step.Status switch { StepStatus.Completed => "✓", StepStatus.Failed => "✗", _ => "‖" };
        string time = step.Reused ? "reused" : string.Create(CultureInfo.InvariantCulture, $"{step.Seconds:f1} s");
        return $"{mark} {step.Name,-14} {time,9}  {(step.Status == StepStatus.Completed ? step.Detail : step.Status.Text())}";
    }

    /// <summary>Items a second and time left, from when the step's progress was first seen.</summary>
    private sealed class Rate
    {
        private string _step = "";
        private long _start, _firstDone;

        public string Describe(StepProgressed progress)
        {
            string key = progress.Step + progress.Unit.Split(',')[0];
            if (key != _step)
            {
                _step = key;
                _start = Stopwatch.GetTimestamp();
                _firstDone = progress.Done;
            }
            double seconds = Stopwatch.GetElapsedTime(_start).TotalSeconds, rate = seconds > 0 ? (progress.Done - _firstDone) / seconds : 0;
            string total = progress.Total > 0 ? string.Create(CultureInfo.InvariantCulture, $" of {progress.Total:N0}") : "";
            string speed = rate > 0 ? string.Create(CultureInfo.InvariantCulture, $", {rate:N0}/s") : "";
            string left = rate > 0 && progress.Total > progress.Done
                ? $", {Span(TimeSpan.FromSeconds((progress.Total - progress.Done) / rate))} left"
                : "";
            return string.Create(CultureInfo.InvariantCulture, $"{progress.Done:N0}{total} {progress.Unit}{speed}{left}");
        }

        private static string Span(TimeSpan span)
        {
            if (span.TotalMinutes < 1) return $"{Math.Ceiling(span.TotalSeconds)} s";
            if (span.TotalHours < 1) return $"{(int)span.TotalMinutes} min {span.Seconds} s";
            return $"{(int)span.TotalHours} h {span.Minutes} min";
        }
    }
}

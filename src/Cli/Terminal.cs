using System.CommandLine.Parsing;
using System.Globalization;
using System.Text;
using System.Text.Json;
using ArmoFlow.Client;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Outbox;
using ArmoFlow.RewardModel;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace ArmoFlow.Cli;

internal static class ExitCodes
{
    public const int Done = 0, Failed = 1, BadInput = 2;
}

/// <summary>A mistake on the command line itself, or in what it names.</summary>
internal sealed class UsageException(string message) : Exception(message);

/// <summary>Where output goes: results to stdout, everything else to stderr.</summary>
internal static class Terminal
{
    private const int ReadOnlyFileSystem = 30;
    private static readonly TextWriter Plain = Console.Out, PlainError = Console.Error;

    public static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web)
    {
        WriteIndented = true,
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping
    };

    /// <summary>Tables and bars; to stderr where stdout is promised to one JSON document.</summary>
    public static IAnsiConsole Error { get; } = ConsoleOn(PlainError, isWide: false);

    /// <summary>Results for a reader. Without a terminal lines are not folded at 80 columns.</summary>
    public static IAnsiConsole Out { get; } = ConsoleOn(Plain, isWide: Console.IsOutputRedirected);

    public static void PrintJson(object value) => Plain.WriteLine(JsonSerializer.Serialize(value, Json));

    /// <summary>Says on stderr what of an answer the audit trail does not prove.</summary>
    /// <param name="disagrees">Why not, for each row that the answer rests on; null where it is proved.</param>
    public static void WarnOf(IEnumerable<string?> disagrees)
    {
        foreach (string why in disagrees.OfType<string>().Distinct())
            Console.Error.WriteLine($"armoflow: not proved by the audit trail: {why}. See: armoflow audit verify.");
    }

    /// <summary>
    /// Has everything that goes to the console from now on shown instead of obeyed: names and errors are others' words, and may hold
    /// what clears a screen or turns a line around. JSON is written as it is, and escapes by itself.
    /// </summary>
    public static void Guard()
    {
        _ = Plain; // the console's own, taken before
        Console.SetOut(new HarmlessWriter(Console.Out));
        Console.SetError(new HarmlessWriter(Console.Error));
    }

    /// <summary>A text whose control characters are written out, such as \u001b; ends of lines and tabs stay.</summary>
    public static string Harmless(string text)
    {
        if (!text.Any(IsHarmful)) return text;
        StringBuilder shown = new();
        foreach (char c in text)
        {
            if (IsHarmful(c)) shown.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}");
            else shown.Append(c);
        }
        return shown.ToString();
    }

    private static bool IsHarmful(char c) => c is not ('\n' or '\t') && StoredText.IsUnseen(c);

    /// <summary>The message of an error that the user can mend, without the passwords in it; null for a defect.</summary>
    public static string? AsUserError(Exception e) => Explain(e) is { } message ? Secrets.Mask(message) : null;

    private static string? Explain(Exception e) => e switch
    {
        InvalidInputException or SpecException or UsageException or RefusedException or RequestRefusedException => e.Message,
        ArtifactLostException => $"{e.Message}. Run the spec again: the step that made it makes it anew.",
        AggregateException { InnerException: { } inner } => Explain(inner),
        _ when DatabaseFault.Cause(e) is { } cause => Explain(cause),
        _ when DatabaseFault.Explain(e) is { } message => message,
        _ when DiskFull.Is(e) => $"no space left on the disk: {e.Message} {DiskFull.Remedy}",
        IOException when (e.HResult & 0xffff) == ReadOnlyFileSystem =>
            $"{e.Message} It is on a file system that may only be read. Use another --workspace, or mount it for writing.",
        MassTransit.ConnectionException =>
            $"RabbitMQ does not answer: {e.Message}. Check the address (--rabbitmq or ARMOFLOW_RABBITMQ), and that the server runs.",
        UnauthorizedAccessException => $"{e.Message} Check the permissions, or choose another folder.",
        FileNotFoundException or DirectoryNotFoundException => $"{e.Message} Check the path.",
        HttpRequestException { StatusCode: { } status } => $"the server answered {(int)status}: {e.Message}",
        HttpRequestException => $"the server does not answer: {e.Message} Check --server, or start one with: armoflow serve.",
        _ => null,
    };

    /// <summary>
    /// Writes the stack where this user alone finds it, and returns the file's path; null where there is no place for it.
    /// </summary>
    public static string? WriteCrash(Exception e)
    {
        try
        {
            using FileStream file = PrivateFolder.CreateFile("crashes", ".log");
            file.Write(System.Text.Encoding.UTF8.GetBytes(Secrets.Mask(e.ToString())));
            return file.Name;
        }
        catch (Exception problem) when (problem is IOException or UnauthorizedAccessException or RefusedException) { return null; }
    }

    public static IEnumerable<string> CommandPath(CommandResult result)
    {
        Stack<string> names = new();
        for (SymbolResult? at = result; at is CommandResult { Parent: not null } command; at = command.Parent)
            names.Push(command.Command.Name);
        return names;
    }

    private static IAnsiConsole ConsoleOn(TextWriter writer, bool isWide)
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(writer) });
        console.Pipeline.Attach(new HarmlessHook());
        if (isWide) console.Profile.Width = 200;
        return console;
    }
}

/// <summary>Writes texts with their control characters written out.</summary>
internal sealed class HarmlessWriter(TextWriter inner) : TextWriter(CultureInfo.InvariantCulture)
{
    public override Encoding Encoding => inner.Encoding;

    public override void Write(char value) => inner.Write(Terminal.Harmless(value.ToString()));
    public override void Write(string? value) => inner.Write(value is null ? null : Terminal.Harmless(value));
    public override void Write(char[] buffer, int index, int count) => Write(new string(buffer, index, count));
    public override void Write(ReadOnlySpan<char> buffer) => Write(new string(buffer));
    public override void WriteLine() => inner.WriteLine();
    public override void WriteLine(string? value) => inner.WriteLine(value is null ? null : Terminal.Harmless(value));
    public override void WriteLine(ReadOnlySpan<char> buffer) => WriteLine(new string(buffer));
    public override void Flush() => inner.Flush();
}

/// <summary>The same for tables and marked-up lines, whose own colours are left.</summary>
internal sealed class HarmlessHook : IRenderHook
{
    public IEnumerable<IRenderable> Process(RenderOptions options, IEnumerable<IRenderable> renderables) =>
        renderables.Select(r => new Shown(r));

    private sealed class Shown(IRenderable inner) : IRenderable
    {
        public Measurement Measure(RenderOptions options, int maxWidth) => inner.Measure(options, maxWidth);

        public IEnumerable<Segment> Render(RenderOptions options, int maxWidth) =>
            inner.Render(options, maxWidth).Select(Clean);

        private static Segment Clean(Segment part) =>
            part.IsControlCode || part.IsLineBreak ? part : new Segment(Terminal.Harmless(part.Text), part.Style);
    }
}

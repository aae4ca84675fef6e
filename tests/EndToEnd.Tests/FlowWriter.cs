using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using ArmoFlow.Cli;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>The console of a process in which several commands run side by side: each flow of control has a page of its own.</summary>
internal sealed class FlowWriter(TextWriter console) : TextWriter(CultureInfo.InvariantCulture)
{
    private static TextWriter? _taken;
    private readonly AsyncLocal<TextWriter?> _page = new();
    private TextWriter _others = console;

    public static FlowWriter Output { get; } = new(Console.Out);
    public static FlowWriter Error { get; } = new(Console.Error);

    public override Encoding Encoding => _others.Encoding;

    /// <summary>
    /// Has the program write here, whose writers are taken once and for good; the console is the test runner's again afterwards, which
    /// tells its results through it.
    /// </summary>
    [ModuleInitializer]
    internal static void Begin()
    {
        foreach (string variable in new[] { "ARMOFLOW_WORKSPACE", "ARMOFLOW_URL" }) Environment.SetEnvironmentVariable(variable, null);
        (TextWriter output, TextWriter error) = (Console.Out, Console.Error);
        TakeConsole();
        Console.SetOut(output);
        Console.SetError(error);
    }

    /// <summary>Takes the console, also from whoever has taken it since.</summary>
    internal static void TakeConsole()
    {
        lock (Output)
        {
            if (ReferenceEquals(Console.Out, _taken)) return;
            Output._others = Console.Out;
            Error._others = Console.Error;
            Console.SetOut(Output);
            Console.SetError(Error);
            Terminal.Guard();
            _taken = Console.Out;
        }
    }

    /// <summary>Where this flow, and those that it starts, write from here on.</summary>
    public void Turn(TextWriter page) => _page.Value = Synchronized(page);

    public override void Write(char value) => (_page.Value ?? _others).Write(value);
    public override void Write(char[] buffer, int index, int count) => (_page.Value ?? _others).Write(buffer, index, count);
    public override void Write(string? value) => (_page.Value ?? _others).Write(value);
    public override void Write(ReadOnlySpan<char> buffer) => Write(new string(buffer));
    public override void Flush() => (_page.Value ?? _others).Flush();
}

/// <summary>Hands on whole lines.</summary>
internal sealed class LineWriter(Action<string> hear) : TextWriter(CultureInfo.InvariantCulture)
{
    private readonly StringBuilder _line = new();

    public override Encoding Encoding => Encoding.Unicode;

    public override void Write(char value)
    {
        if (value != '\n')
        {
            _line.Append(value);
            return;
        }
        hear(_line.ToString());
        _line.Clear();
    }
}

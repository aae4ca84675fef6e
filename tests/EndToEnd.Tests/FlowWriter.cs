using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using ArmoFlow.Cli;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>The console of a process in which several commands run side by side: each flow of control has a page of its own.</summary>
internal sealed class FlowWriter(TextWriter others) : TextWriter(CultureInfo.InvariantCulture)
{
    private static TextWriter? _taken;
    private readonly AsyncLocal<TextWriter?> _page = new();

    public static FlowWriter Output { get; } = new(Console.Out);
    public static FlowWriter Error { get; } = new(Console.Error);

    public override Encoding Encoding => others.Encoding;

    /// <summary>
    /// Before anything takes the console's writers for good; and again where the test runner has taken the console since.
    /// </summary>
    [ModuleInitializer]
    internal static void TakeConsole()
    {
        lock (Output)
        {
            if (ReferenceEquals(Console.Out, _taken)) return;
            foreach (string variable in new[] { "ARMOFLOW_WORKSPACE", "ARMOFLOW_URL" }) Environment.SetEnvironmentVariable(variable, null);
            Console.SetOut(Output);
            Console.SetError(Error);
            Terminal.Guard();
            _taken = Console.Out;
        }
    }

    /// <summary>Where this flow, and those that it starts, write from here on.</summary>
    public void Begin(TextWriter page) => _page.Value = Synchronized(page);

    public override void Write(char value) => (_page.Value ?? others).Write(value);
    public override void Write(char[] buffer, int index, int count) => (_page.Value ?? others).Write(buffer, index, count);
    public override void Write(string? value) => (_page.Value ?? others).Write(value);
    public override void Write(ReadOnlySpan<char> buffer) => Write(new string(buffer));
    public override void Flush() => (_page.Value ?? others).Flush();
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

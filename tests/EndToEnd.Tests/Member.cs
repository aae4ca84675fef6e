using System.Diagnostics;
using System.Text;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>A server: in this process, which is warm, or apart in one of its own, where it can be killed, stopped and measured.</summary>
internal abstract class Member(string sign) : IAsyncDisposable
{
    private static readonly TimeSpan StartLimit = TimeSpan.FromMinutes(1);
    private readonly TaskCompletionSource _announced = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly StringBuilder _said = new();

    public Task Announced => _announced.Task;

    public string Said
    {
        get { lock (_said) return _said.ToString(); }
    }

    /// <summary>The first address that a serving member named.</summary>
    public string Url => Said.Split(" on ")[1].Split(';', '\n')[0];

    public abstract bool IsRunning { get; }

    /// <param name="sign">What its announcement begins with.</param>
    /// <param name="arguments">The command and its options.</param>
    public static Member Here(string sign, params string[] arguments) => new HereMember(sign, arguments);

    /// <summary>A server on a workspace, in this process, once it answers.</summary>
    public static async Task<Member> Serve(string workspace, string urls = "http://127.0.0.1:0")
    {
        Member server = Here("serving", "serve", "--urls", urls, "--workspace", workspace);
        await server.Announced.WaitAsync(StartLimit);
        return server;
    }

    /// <inheritdoc cref="Here"/>
    public static ApartMember Apart(string sign, string[] arguments, params (string Name, string Value)[] environment) =>
        new(sign, CommandLine.Start(arguments, environment));

    /// <summary>The process of a member that is apart.</summary>
    public ApartMember Process => (ApartMember)this;

    public abstract ValueTask DisposeAsync();

    /// <summary>Hears a line of stderr; null at its end.</summary>
    protected void Hear(string? line)
    {
        lock (_said) _said.AppendLine(line);
        if (line is null) _announced.TrySetException(new InvalidOperationException($"it ended: {Said}"));
        else if (line.StartsWith(sign, StringComparison.Ordinal)) _announced.TrySetResult();
    }

    private sealed class HereMember : Member
    {
        private readonly CancellationTokenSource _stop = new();
        private readonly Task _running;

        public HereMember(string sign, string[] arguments) : base(sign) => _running = Task.Run(() => Run(arguments));

        public override bool IsRunning => !_running.IsCompleted;

        private async Task Run(string[] arguments)
        {
            await CommandLine.RunHere(arguments, Hear, _stop.Token);
            Hear(null);
        }

        public override async ValueTask DisposeAsync()
        {
            if (!_running.IsCompleted) await _stop.CancelAsync();
            await _running;
            _stop.Dispose();
        }
    }
}

/// <summary>A server in a process of its own.</summary>
internal sealed class ApartMember : Member
{
    private readonly Process _process;

    public ApartMember(string sign, Process process) : base(sign)
    {
        _process = process;
        process.ErrorDataReceived += (_, e) => Hear(e.Data);
        process.BeginErrorReadLine();
        process.BeginOutputReadLine();
    }

    public override bool IsRunning => !_process.HasExited;

    public TimeSpan CpuTime
    {
        get
        {
            _process.Refresh();
            return _process.TotalProcessorTime;
        }
    }

    public long MemoryBytes
    {
        get
        {
            _process.Refresh();
            return _process.WorkingSet64;
        }
    }

    public void Kill()
    {
        if (!_process.HasExited) _process.Kill();
        _process.WaitForExit();
    }

    public async Task Signal(string name)
    {
        using Process kill = System.Diagnostics.Process.Start("kill", [$"-{name}", $"{_process.Id}"]);
        await kill.WaitForExitAsync();
    }

    public Task<int> Exited(TimeSpan limit) =>
        _process.WaitForExitAsync().WaitAsync(limit).ContinueWith(_ => _process.ExitCode, TaskScheduler.Default);

    public override ValueTask DisposeAsync()
    {
        Kill();
        _process.Dispose();
        return ValueTask.CompletedTask;
    }
}

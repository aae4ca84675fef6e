using System.Runtime.InteropServices;
using ArmoFlow.Cli;

Terminal.Guard();
using CancellationTokenSource interrupt = new();
using PosixSignalRegistration interrupted = PosixSignalRegistration.Create(PosixSignal.SIGINT, Interrupt),
    terminated = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Interrupt);
return await CommandRunner.Run(args, interrupt.Token);

// The first signal asks for an orderly end; a second one is not held back.
void Interrupt(PosixSignalContext context)
{
    context.Cancel = !interrupt.IsCancellationRequested;
    interrupt.Cancel();
}

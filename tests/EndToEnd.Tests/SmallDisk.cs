using System.Diagnostics;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>A file system that is soon full, where this user may mount one.</summary>
internal static class SmallDisk
{
    public static async Task<bool> Succeeds(string program, params string[] arguments)
    {
        try
        {
            using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true })!;
            await process.WaitForExitAsync();
            return process.ExitCode == 0;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return false;
        }
    }
}

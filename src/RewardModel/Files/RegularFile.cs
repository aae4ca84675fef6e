using System.Runtime.InteropServices;
using System.Text;

namespace ArmoFlow;

/// <summary>
/// Tells regular files from what only looks like one by its name: opening a named pipe waits for ever, and a device has no end.
/// Links are followed: what counts is what they lead to.
/// </summary>
internal static class RegularFile
{
    // statx(2): its structure is the kernel's own and equal on all architectures.
    private const int CurrentFolder = -100, TypeOnly = 1, StructureBytes = 256, ModeOffset = 28;
    private const int KindMask = 0xf000, Pipe = 0x1000, CharacterDevice = 0x2000, Folder = 0x4000, BlockDevice = 0x6000, Regular = 0x8000, Socket = 0xc000;

    /// <summary>What a path leads to, as a reader would call it; null for a regular file, and for what is not there.</summary>
    public static string? OtherKind(string path)
    {
        if (Directory.Exists(path)) return "a folder";
        if (!OperatingSystem.IsLinux()) return null;
        byte[] status = new byte[StructureBytes];
        if (Statx(CurrentFolder, Encoding.UTF8.GetBytes(path + "\0"), 0, TypeOnly, status) != 0) return null;
        return (BitConverter.ToUInt16(status, ModeOffset) & KindMask) switch
        {
            Regular => null,
            Pipe => "a named pipe",
            CharacterDevice or BlockDevice => "a device",
            Socket => "a socket",
            Folder => "a folder",
            _ => "no file",
        };
    }

    [DllImport("libc", EntryPoint = "statx")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Statx(int folder, byte[] path, int flags, uint mask, byte[] status);
}

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
    private const int CurrentFolder = -100, TypeOnly = 1, BasicStatus = 0x7ff, StructureBytes = 256;
    private const int ModeOffset = 28, InodeOffset = 32, SizeOffset = 40, ChangedOffset = 96, WrittenOffset = 112, DeviceOffset = 136;
    private const int TimeBytes = 12; // seconds and nanoseconds
    private const int KindMask = 0xf000, Pipe = 0x1000, CharacterDevice = 0x2000, Folder = 0x4000, BlockDevice = 0x6000, Regular = 0x8000,
        Socket = 0xc000;

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

    /// <summary>Bytes of what a path leads to; a link's own length is that of its text.</summary>
    /// <exception cref="IOException">It is not there, or cannot be read.</exception>
    public static long Length(string path)
    {
        using Microsoft.Win32.SafeHandles.SafeFileHandle file = File.OpenHandle(path);
        return RandomAccess.GetLength(file);
    }

    /// <summary>
    /// A text that changes whenever what a path leads to may have changed: its size, the time of the last write, and on Linux its
    /// place on the disk and the time of the last change of any kind, which nobody can set back.
    /// </summary>
    public static string Stamp(string path)
    {
        byte[] status = new byte[StructureBytes];
        bool isKnown = OperatingSystem.IsLinux() && Statx(CurrentFolder, Encoding.UTF8.GetBytes(path + "\0"), 0, BasicStatus, status) == 0;
        if (isKnown)
        {
            ReadOnlySpan<byte> all = status;
            return string.Join(':', BitConverter.ToUInt64(status, SizeOffset), BitConverter.ToUInt64(status, InodeOffset),
                BitConverter.ToUInt64(status, DeviceOffset), Convert.ToHexString(all.Slice(ChangedOffset, TimeBytes)),
                Convert.ToHexString(all.Slice(WrittenOffset, TimeBytes)));
        }
        FileInfo file = new(path);
        FileSystemInfo target = file.ResolveLinkTarget(returnFinalTarget: true) ?? file;
        return FormattableString.Invariant(
            $"{Length(path)}:{target.FullName}:{target.CreationTimeUtc.Ticks}:{target.LastWriteTimeUtc.Ticks}");
    }

    [DllImport("libc", EntryPoint = "statx")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Statx(int folder, byte[] path, int flags, uint mask, byte[] status);
}

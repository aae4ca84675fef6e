using System;
using System.IO;
using System.Text;
using Microsoft.Build.Framework;
using Microsoft.Build.Utilities;

/// <summary>
/// Marks one needed symbol version of an ELF64 little-endian library weak (VER_FLG_WEAK), where the system's libstdc++ lacks it.
/// </summary>
public class WeakenGlibcxx : Task
{
    private const uint DynamicSectionStrings = 3;
    private const uint GnuVersionNeeds = 0x6ffffffe;
    private const ushort WeakFlag = 2;

    [Required] public string Library { get; set; }
    [Required] public string VersionName { get; set; }

    public override bool Execute()
    {
        if (SystemProvides(VersionName)) return true;
        byte[] elf = File.ReadAllBytes(Library);
        if (!Weaken(elf, VersionName)) return true;
        // Beside, then renamed: the output file is a hard link into the package cache and must not be written through.
        string beside = Library + ".weak";
        File.WriteAllBytes(beside, elf);
        File.Delete(Library);
        File.Move(beside, Library);
        Log.LogMessage(MessageImportance.Normal, "marked " + VersionName + " weak in " + Library);
        return true;
    }

    /// <summary>Sets the weak flag on every entry of .gnu.version_r with that name; false if there was nothing to change.</summary>
    public static bool Weaken(byte[] elf, string versionName)
    {
        if (elf.Length < 64 || elf[0] != 0x7f || elf[1] != 'E' || elf[4] != 2 || elf[5] != 1) return false;
        long sections = BitConverter.ToInt64(elf, 0x28);
        int entrySize = BitConverter.ToUInt16(elf, 0x3a), count = BitConverter.ToUInt16(elf, 0x3c);
        bool changed = false;
        for (int s = 0; s < count; s++)
        {
            int header = (int)(sections + (long)s * entrySize);
            if (BitConverter.ToUInt32(elf, header + 4) != GnuVersionNeeds) continue;
            int strings = (int)(sections + (long)BitConverter.ToUInt32(elf, header + 0x28) * entrySize);
            if (BitConverter.ToUInt32(elf, strings + 4) != DynamicSectionStrings) continue;
            int names = (int)BitConverter.ToInt64(elf, strings + 0x18);
            int need = (int)BitConverter.ToInt64(elf, header + 0x18);
            for (uint needNext = 1; needNext != 0; need += (int)needNext)
            {
                needNext = BitConverter.ToUInt32(elf, need + 12);
                int entry = need + (int)BitConverter.ToUInt32(elf, need + 8);
                for (uint next = 1; next != 0; entry += (int)next)
                {
                    next = BitConverter.ToUInt32(elf, entry + 12);
                    int at = names + (int)BitConverter.ToUInt32(elf, entry + 8);
                    int end = Array.IndexOf(elf, (byte)0, at);
                    if (Encoding.ASCII.GetString(elf, at, end - at) != versionName) continue;
                    ushort flags = BitConverter.ToUInt16(elf, entry + 4);
                    if ((flags & WeakFlag) != 0) continue;
                    elf[entry + 4] = (byte)(flags | WeakFlag);
                    changed = true;
                }
            }
        }
        return changed;
    }

    private static bool SystemProvides(string versionName)
    {
        foreach (string folder in new[] { "/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/lib/x86_64-linux-gnu", "/usr/lib" })
        {
            string file = Path.Combine(folder, "libstdc++.so.6");
            if (File.Exists(file)) return Encoding.GetEncoding(28591).GetString(File.ReadAllBytes(file)).Contains(versionName + "\0");
        }
        return false;
    }
}

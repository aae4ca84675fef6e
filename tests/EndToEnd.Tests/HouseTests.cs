using System.Runtime.CompilerServices;
using System.Text;
using System.Xml.Linq;
using Shouldly;
using TorchSharp;
using Xunit;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>Which way the arrows of the house point, and that libtorch loads where the system is older than it asks for.</summary>
public class HouseTests
{
    private static readonly Dictionary<string, string[]> Arrows = new()
    {
        ["Contracts"] = [],
        ["Client"] = ["Contracts"],
        ["RewardModel"] = [],
        ["Persistence"] = ["Contracts"],
        ["Workers"] = ["Contracts", "Persistence", "RewardModel"],
        ["Orchestrator"] = ["Client", "Contracts", "Persistence"],
        ["Cli"] = ["Client", "Orchestrator", "Workers"],
    };

    internal static string Root([CallerFilePath] string path = "") => Path.GetFullPath(Path.Combine(Path.GetDirectoryName(path)!, "../.."));

    [Fact]
    public void Arrows_point_one_way()
    {
        string[] rooms =
            [.. Directory.EnumerateDirectories(Path.Combine(Root(), "src")).Select(d => Path.GetFileName(d)).Order(StringComparer.Ordinal)];
        rooms.ShouldBe(Arrows.Keys.Order(StringComparer.Ordinal));
        foreach (string room in rooms)
        {
            string[] references = [.. XDocument.Load(Path.Combine(Root(), "src", room, room + ".csproj"))
                .Descendants("ProjectReference")
                .Select(r => Path.GetFileNameWithoutExtension(r.Attribute("Include")!.Value))
                .Order(StringComparer.Ordinal)];
            references.ShouldBe(Arrows[room], customMessage: $"references of {room}");
        }
    }

    [Theory]
    [InlineData("RewardModel", "MassTransit", "Microsoft.EntityFrameworkCore")]
    [InlineData("Contracts", "MassTransit", "Microsoft.EntityFrameworkCore", "TorchSharp")]
    [InlineData("Persistence", "TorchSharp")]
    [InlineData("Orchestrator", "TorchSharp", "Parquet.Net")]
    public void A_room_keeps_out_what_it_must_not_know(string room, params string[] unknown) =>
        XDocument.Load(Path.Combine(Root(), "src", room, room + ".csproj"))
            .Descendants("PackageReference")
            .Select(r => r.Attribute("Include")!.Value)
            .Intersect(unknown)
            .ShouldBeEmpty();

    [Fact]
    public void Libtorch_loads_and_its_newest_version_of_libstdcxx_is_weak_where_the_system_lacks_it()
    {
        using torch.Tensor product = torch.ones(2, 2).matmul(torch.ones(2, 2));
        product.sum().item<float>().ShouldBe(8);
        string? system = new[] { "/usr/lib/x86_64-linux-gnu/libstdc++.so.6", "/usr/lib64/libstdc++.so.6" }.FirstOrDefault(File.Exists);
        Assert.SkipUnless(system is not null
            && !Encoding.Latin1.GetString(File.ReadAllBytes(system)).Contains("GLIBCXX_3.4.32\0", StringComparison.Ordinal),
            "this system's libstdc++ is new enough: nothing was patched");
        string library = Path.Combine(AppContext.BaseDirectory, "libLibTorchSharp.so");
        IsWeak(library, "GLIBCXX_3.4.32").ShouldBeTrue();
        string? packages = Environment.GetEnvironmentVariable("NUGET_PACKAGES")
            ?? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");
        string original = Directory.EnumerateFiles(Path.Combine(packages, "torchsharp"), "libLibTorchSharp.so", SearchOption.AllDirectories)
            .First(f => f.Contains("linux-x64", StringComparison.Ordinal));
        IsWeak(original, "GLIBCXX_3.4.32").ShouldBeFalse("the package cache must not be written through its hard link");
    }

    /// <summary>The flag of a needed version in .gnu.version_r (System V ABI, Elf64_Vernaux.vna_flags).</summary>
    private static bool IsWeak(string path, string version)
    {
        byte[] elf = File.ReadAllBytes(path);
        long sections = BitConverter.ToInt64(elf, 0x28);
        int size = BitConverter.ToUInt16(elf, 0x3a), count = BitConverter.ToUInt16(elf, 0x3c);
        for (int s = 0; s < count; s++)
        {
            int header = (int)sections + s * size;
            if (BitConverter.ToUInt32(elf, header + 4) != 0x6ffffffe) continue;
            int names = (int)BitConverter.ToInt64(elf, (int)sections + (int)BitConverter.ToUInt32(elf, header + 0x28) * size + 0x18);
            int need = (int)BitConverter.ToInt64(elf, header + 0x18);
            while (true)
            {
                int entry = need + (int)BitConverter.ToUInt32(elf, need + 8);
                for (int i = BitConverter.ToUInt16(elf, need + 2); i > 0; i--, entry += (int)BitConverter.ToUInt32(elf, entry + 12))
                {
                    int at = names + (int)BitConverter.ToUInt32(elf, entry + 8);
                    if (Encoding.ASCII.GetString(elf, at, Array.IndexOf(elf, (byte)0, at) - at) == version)
                        return (BitConverter.ToUInt16(elf, entry + 4) & 2) != 0;
                }
                int next = (int)BitConverter.ToUInt32(elf, need + 12);
                if (next == 0) break;
                need += next;
            }
        }
        throw new InvalidOperationException($"{path} does not need {version}");
    }
}

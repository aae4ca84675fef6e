using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using ArmoFlow.Contracts.Specs;
using Shouldly;
using Xunit;

namespace ArmoFlow.Contracts.Tests;

/// <summary>The specs in the pages are specs: each block of YAML is read, with what it leaves out put in.</summary>
public partial class DocsTests
{
    private static readonly (string Key, string Text)[] Needed =
    [
        ("backbone:", "backbone: { path: backbone/ }"), ("ratings:", "ratings: [{ name: r, files: [r.jsonl] }]"),
        ("preferences:", "preferences: [{ name: p, files: [p.jsonl] }]"),
    ];

    [Fact]
    public void Every_spec_in_the_pages_can_be_read()
    {
        string root = Path.GetFullPath(Path.Combine(Path.GetDirectoryName(Here())!, "../.."));
        int read = 0;
        foreach (string page in Directory.EnumerateFiles(Path.Combine(root, "docs"), "*.md", SearchOption.AllDirectories)
            .Append(Path.Combine(root, "README.md")))
        {
            foreach (Match block in Block().Matches(File.ReadAllText(page)))
            {
                string text = block.Groups[1].Value;
                bool isEvaluation = text.Contains("\nmodel:", StringComparison.Ordinal);
                string spec = text
                    + (isEvaluation
                        ? ""
                        : string.Concat(Needed.Where(n => !text.Split('\n').Any(l => l.StartsWith(n.Key, StringComparison.Ordinal)))
                            .Select(n => n.Text + "\n")));
                Should.NotThrow(() => SpecReader.Parse(spec, Path.GetFileName(page), root), $"{page}:\n{spec}");
                read++;
            }
        }
        read.ShouldBeGreaterThanOrEqualTo(4);
    }

    private static string Here([CallerFilePath] string path = "") => path;

    [GeneratedRegex("^```yaml\n(.*?)^```$", RegexOptions.Singleline | RegexOptions.Multiline)]
    private static partial Regex Block();
}

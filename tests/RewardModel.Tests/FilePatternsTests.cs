using System.Diagnostics;
using ArmoFlow.RewardModel.Ingestion;
using Shouldly;
using Xunit;

namespace ArmoFlow.RewardModel.Tests;

public sealed class FilePatternsTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public FilePatternsTests()
    {
        foreach (string file in new[] { "a/x.jsonl", "a/y.parquet", "b/x.jsonl", "b/deep/er/x.jsonl", "b/deep/z.jsonl", "top.jsonl" })
            _folder.Write(file, "{}");
        Directory.CreateSymbolicLink(_folder.File("b/deep/up"), _folder.Path); // a cycle
    }

    public void Dispose()
    {
        Shell($"rm -rf \"{_folder.Path}\"/b/caf*"); // .NET cannot name the file
        _folder.Dispose();
    }

    [Theory]
    [InlineData("*/x.jsonl", "a/x.jsonl,b/x.jsonl")]
    [InlineData("?/*.jsonl", "a/x.jsonl,b/x.jsonl")]
    [InlineData("**/*.jsonl", "a/x.jsonl,b/deep/er/x.jsonl,b/deep/z.jsonl,b/x.jsonl,top.jsonl")]
    [InlineData("b/**/x.jsonl", "b/deep/er/x.jsonl,b/x.jsonl")]
    [InlineData("**/deep/**/*.jsonl", "b/deep/er/x.jsonl,b/deep/z.jsonl")]
    [InlineData("**/**/**/**/**/**/*.parquet", "a/y.parquet")]
    [InlineData("b/deep/**", "b/deep/er/x.jsonl,b/deep/z.jsonl")]
    [InlineData("./a/*", "./a/x.jsonl,./a/y.parquet")]
    [InlineData("a/*.parquet", "a/y.parquet")]
    public void Wildcards_stand_for_files_and_folders_and_links_lead_nowhere_twice(string pattern, string expected) =>
        FilePatterns.Resolve(_folder.Path, [pattern]).Select(f => f.ShownAs).ShouldBe(expected.Split(','));

    [Fact]
    public void A_found_file_lies_where_it_is_shown() =>
        FilePatterns.Resolve(_folder.Path, ["*/x.jsonl"])
            .Select(f => f.Path)
            .ShouldBe([_folder.File("a/x.jsonl"), _folder.File("b/x.jsonl")]);

    [Theory]
    [InlineData("*/none.jsonl", "the pattern matches no file")]
    [InlineData("none/**/x.jsonl", "the pattern matches no file")]
    [InlineData("none.jsonl", "no such file in")]
    [InlineData("a", "a folder")]
    [InlineData("a/\0.jsonl", "a NUL character")]
    public void What_cannot_be_found_is_said(string pattern, string expected) => Refused(pattern, expected);

    [Fact]
    public void A_long_pattern_is_refused() => Refused(string.Concat(Enumerable.Repeat("**/", 2000)) + "x", "at most 4,096 characters");

    [Fact]
    public async Task Names_that_are_not_utf8_and_links_that_lead_nowhere_are_named()
    {
        File.CreateSymbolicLink(_folder.File("lost.jsonl"), "gone/away.jsonl");
        Refused("lost.jsonl", "a link to 'gone/away.jsonl', where no file is");
        Refused("l*.jsonl", "a link to 'gone/away.jsonl', where no file is");
        Shell($"touch \"{_folder.Path}/b/$(printf 'caf\\xe9').json\"");
        Refused("b/*.json", "a name that is not UTF-8");
        InvalidInputException lost = await Should.ThrowAsync<InvalidInputException>(async () =>
        {
            await foreach (SourceRow _ in RowReader.Read(_folder.File(
                "lost.jsonl"), "lost.jsonl", TestContext.Current.CancellationToken)) { }
        });
        lost.Message.ShouldContain("a link to");
    }

    private static void Shell(string command)
    {
        using Process shell = Process.Start("bash", ["-c", command]);
        shell.WaitForExit();
    }

    private void Refused(string pattern, string expected) =>
        Should.Throw<InvalidInputException>(() => FilePatterns.Resolve(_folder.Path, [pattern])).Message.ShouldContain(expected);
}

using ArmoFlow.Contracts.Specs;
using Shouldly;
using Xunit;

namespace ArmoFlow.Contracts.Tests;

public class TextTests
{
    private const string Rest =
        "backbone: { path: b }\nratings: [{ name: r, files: [r.jsonl] }]\npreferences: [{ name: p, files: [p.jsonl] }]\n";

    [Theory]
    [InlineData("amqp://svc:S3cret@host:5672/vhost", "amqp://svc:***@host:5672/vhost")]
    [InlineData("amqp://svc:S3c@r/et@host:5672", "amqp://svc:***@host:5672")]
    [InlineData("http://key:armoflow_0123456789ab_cdef0123456789abcdef@host/", "http://key:***@host/")]
    [InlineData("https://S3cretToken@host/path", "https://***@host/path")]
    [InlineData("Host=db;Username=svc;Password=S3cret;Database=x", "Host=db;Username=svc;Password=***;Database=x")]
    [InlineData("Host=db;pwd = \"S3;cret\";Database=x", "Host=db;pwd = ***;Database=x")]
    [InlineData("https://hooks/x?token=S3cret&user=a", "https://hooks/x?token=***&user=a")]
    [InlineData("Authorization: Bearer armoflow_0123456789ab_cdef0123456789abcdef", "Authorization: Bearer ***")]
    public void A_password_is_masked_wherever_it_stands(string text, string shown) =>
        Secrets.Mask($"cannot reach {text} now").ShouldBe($"cannot reach {shown} now");

    [Theory]
    [InlineData("'dataset:pairs@9': the data set has 3 versions")]
    [InlineData("GET http://localhost:5080/api/v1/models/real@champion")]
    [InlineData("Failed to connect to 127.0.0.1:5432")]
    public void What_is_no_secret_is_shown(string text) => Secrets.Mask(text).ShouldBe(text);

    [Theory]
    [InlineData("https://hooks.example.com/services/T0/S3cret", "https://hooks.example.com/***")]
    [InlineData("https://u:S3cret@hooks.example.com:8443/", "https://hooks.example.com:8443/")]
    [InlineData(null, null)]
    public void Of_a_webhook_only_scheme_and_host_are_shown(string? address, string? shown) => Secrets.HostOf(address).ShouldBe(shown);

    [Fact]
    public void Stored_texts_hold_neither_NUL_nor_halves_of_pairs_and_keep_everything_else()
    {
        StoredText.Clean("a\0b\uD800c\uDC00d").ShouldBe("a\uFFFDb\uFFFDc\uFFFDd");
        StoredText.Clean("grüße 😀\n\t\u001b").ShouldBe("grüße 😀\n\t\u001b");
        StoredText.Bound(new string('x', 20_000)).Length.ShouldBe(StoredText.LongestFreeText);
        StoredText.Bound("short\0").ShouldBe("short\uFFFD");
    }

    [Theory]
    [InlineData("team/reward", "without '/'")]
    [InlineData("x@champion", "'@'")]
    [InlineData(".", "other than '.'")]
    [InlineData("..", "other than '.'")]
    [InlineData(" lead", "no space")]
    [InlineData("trail ", "no space")]
    [InlineData("bell\\a", "no control characters")]
    [InlineData("turned\\u202Earound", "no control characters")]
    public void A_name_that_could_not_be_asked_for_again_is_refused_where_it_is_given(string name, string expected)
    {
        string message = Should.Throw<SpecException>(() => SpecReader.Parse($"name: \"{name}\"\n{Rest}", "spec.yaml", "/tmp/p")).Message;
        message.ShouldStartWith("spec.yaml line 1: 'name:");
        message.ShouldContain(expected);
    }

    [Fact]
    public void Names_and_tags_are_bounded()
    {
        Should.Throw<SpecException>(() => SpecReader.Parse($"name: {new string('n', 201)}\n{Rest}", "spec.yaml", "/tmp/p")).Message
            .ShouldContain("at most 200 characters");
        Should.Throw<SpecException>(() => SpecReader.Parse($"tags: [{new string('t', 101)}]\n{Rest}", "spec.yaml", "/tmp/p")).Message
            .ShouldContain("at most 100 characters");
        Should.Throw<SpecException>(() => SpecReader.Parse($"tags: [{string.Join(',', Enumerable.Range(0, 51))}]\n{Rest}", "spec.yaml",
            "/tmp/p")).Message
            .ShouldContain("51 tags");
        Should.Throw<SpecException>(() => SpecReader.Parse(Rest.Replace("name: r", $"name: {new string('s', 201)}",
            StringComparison.Ordinal), "spec.yaml", "/tmp/p")).Message
            .ShouldContain("at most 200 characters");
        RunSpec spec =
            SpecReader.Parse($"name: {new string('n', 200)}\ntags: [{new string('t', 100)}, nightly run]\n{Rest}", "spec.yaml", "/tmp/p");
        spec.Name.Length.ShouldBe(200);
        spec.Tags.ShouldContain("nightly run");
    }

    [Theory]
    [InlineData("/tmp/project", "project")]
    [InlineData("/tmp/a@b", "a-b")]
    [InlineData("/tmp/two\nlines", "two-lines")]
    [InlineData("/", "run")]
    public void A_folders_name_becomes_one_that_can_be_asked_for(string folder, string name) =>
        SpecReader.Parse(Rest, "spec.yaml", folder).Name.ShouldBe(name);
}

/// <summary>Where specs may read from; alone in changing the environment.</summary>
public sealed class DataRootsTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("armoflow-roots-").FullName;

    public void Dispose()
    {
        Environment.SetEnvironmentVariable(DataRoots.Variable, null);
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public void Links_are_followed_before_a_path_is_judged()
    {
        string root = Directory.CreateDirectory(Path.Combine(_folder, "root")).FullName,
            other = Directory.CreateDirectory(Path.Combine(_folder, "root-and-more")).FullName;
        File.WriteAllText(Path.Combine(root, "in.jsonl"), "");
        File.WriteAllText(Path.Combine(other, "out.jsonl"), "");
        File.CreateSymbolicLink(Path.Combine(root, "out.jsonl"), "../root-and-more/out.jsonl");
        File.CreateSymbolicLink(Path.Combine(root, "in-link.jsonl"), "in.jsonl");
        Directory.CreateSymbolicLink(Path.Combine(root, "folder"), other);
        File.CreateSymbolicLink(Path.Combine(root, "circle"), "circle");
        Directory.CreateSymbolicLink(Path.Combine(_folder, "root-link"), root);
        DataRoots.Allow("/etc/passwd").ShouldBeTrue("without roots everything is");
        Environment.SetEnvironmentVariable(DataRoots.Variable, $"/nowhere:{Path.Combine(_folder, "root-link")}");
        foreach (string name in new[] { "in.jsonl", "in-link.jsonl", "none.jsonl", "deep/../in.jsonl" })
            DataRoots.Allow(Path.Combine(root, name)).ShouldBeTrue(name);
        foreach (string name in new[] { "out.jsonl", "folder/out.jsonl", "../root-and-more/out.jsonl", "/etc/passwd", "circle" })
            DataRoots.Allow(Path.Combine(root, name)).ShouldBeFalse(name);
    }
}

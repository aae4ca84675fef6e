using System.Diagnostics;
using System.IO.Compression;
using System.Runtime.ExceptionServices;
using System.Text;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Tensors;
using ArmoFlow.RewardModel.Text;
using Shouldly;
using Xunit;

namespace ArmoFlow.RewardModel.Tests;

/// <summary>Files that would make a reader wait for ever, loop, or take all memory.</summary>
public sealed class InputFileTests : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    public static TheoryData<string> Readers => ["rows", "safetensors", "tokenizer", "config", "checkpoint"];

    [Theory]
    [MemberData(nameof(Readers))]
    public async Task A_named_pipe_is_refused_whatever_it_is_named_as(string reader)
    {
        string pipe = _folder.File(reader switch
        {
            "rows" => "rows.jsonl",
            "config" => "config.json",
            "tokenizer" => "tokenizer.json",
            _ => "model.safetensors"
        });
        using (Process make = Process.Start("mkfifo", [pipe])) await make.WaitForExitAsync(TestContext.Current.CancellationToken);
        string link = pipe + ".link" + Path.GetExtension(pipe);
        File.CreateSymbolicLink(link, pipe);
        foreach (string path in new[] { pipe, link })
        {
            InvalidInputException refused =
                await Should.ThrowAsync<InvalidInputException>(() => Task.Run(() => Open(reader, path)).WaitAsync(Patience));
            refused.Message.ShouldContain("a named pipe");
        }
    }

    private async Task Open(string reader, string path)
    {
        switch (reader)
        {
            case "rows":
                await foreach (SourceRow _ in RowReader.Read(path, path)) { }
                break;
            case "safetensors":
                new SafetensorsFile(path).Dispose();
                break;
            case "tokenizer":
                ChatTokenizer.Load(path);
                break;
            case "config":
                Backbones.Config(Path.GetDirectoryName(path)!);
                break;
            default:
                _ = Checkpoint.Digest(_folder.Path);
                break;
        }
    }

    [Fact]
    public async Task A_device_is_refused() =>
        (await Should.ThrowAsync<InvalidInputException>(
            () => Task.Run(() => Open("safetensors", "/dev/zero")).WaitAsync(Patience))).Message.ShouldContain("a device");

    [Fact]
    public async Task A_footer_of_a_hundred_bytes_with_forged_counts_is_refused()
    {
        // A schema of one column with two thousand million children.
        byte[] footer =
            [0x15, 0x02, 0x19, 0x1c, 0x48, 0x01, (byte)'s', 0x15, .. Varint(2_000_000_000L * 2), 0x00, 0x16, 0x00, 0x19, 0x0c, 0x00];
        byte[] file = [.. "PAR1"u8, .. footer, .. new byte[112 - 12 - footer.Length], .. BitConverter.GetBytes(112 - 12), .. "PAR1"u8];
        await File.WriteAllBytesAsync(_folder.File("forged.parquet"), file, TestContext.Current.CancellationToken);
        await Refused("forged.parquet", "not a readable Parquet file");
    }

    private static byte[] Varint(long value)
    {
        List<byte> bytes = [];
        for (; value >= 128; value >>= 7) bytes.Add((byte)(value & 127 | 128));
        bytes.Add((byte)value);
        return [.. bytes];
    }

    [Fact]
    public async Task Whichever_byte_of_a_table_is_damaged_it_is_read_or_refused_in_time_and_memory()
    {
        string whole = _folder.File("whole.parquet");
        await using (FileStream stream = File.Create(whole))
        await using (ParquetTable table = new(stream, [("n", typeof(long)), ("s", typeof(string)), ("x", typeof(double))]))
        {
            for (int i = 0; i < 40; i++) await table.Add((long)i, $"text {i % 7}", i % 3 == 0 ? null : i / 2.0);
        }
        byte[] bytes = await File.ReadAllBytesAsync(whole, TestContext.Current.CancellationToken);
        int read = 0, refused = 0, nulls = 0;
        // Taking what is missing for there ends a process now and then, where the runtime fails to make an exception of it.
        void Count(object? sender, FirstChanceExceptionEventArgs e)
        {
            if (e.Exception is NullReferenceException) Interlocked.Increment(ref nulls);
        }

        AppDomain.CurrentDomain.FirstChanceException += Count;
        for (int at = 0; at < bytes.Length; at++)
        {
            foreach (byte value in new[] { (byte)(bytes[at] ^ 0x80), (byte)0xff, (byte)(bytes[at] + 1) })
            {
                byte[] damaged = [.. bytes];
                damaged[at] = value;
                string path = _folder.File("damaged.parquet");
                await File.WriteAllBytesAsync(path, damaged, TestContext.Current.CancellationToken);
                long before = GC.GetTotalAllocatedBytes();
                try
                {
                    await Task.Run(() => Open("rows", path)).WaitAsync(Patience);
                    read++;
                }
                catch (InvalidInputException) { refused++; }
                catch (TimeoutException)
                {
                    Assert.Fail($"byte {at} of {bytes.Length} as {value} (was {bytes[at]}): not read in {Patience}");
                }
                (GC.GetTotalAllocatedBytes() - before).ShouldBeLessThan(512L << 20, $"byte {at} as {value}");
            }
        }
        AppDomain.CurrentDomain.FirstChanceException -= Count;
        refused.ShouldBeGreaterThan(read / 4);
        nulls.ShouldBe(0, "of what a footer lacks the check must know before the library asks for it");
    }

    [Fact]
    public async Task Data_that_decompresses_without_end_is_refused_before_it_is_read()
    {
        string path = _folder.File("bomb.jsonl.gz");
        await using (GZipStream zip = new(File.Create(path), CompressionLevel.SmallestSize))
        {
            byte[] line = Encoding.ASCII.GetBytes(new string(' ', 1 << 20));
            for (int i = 0; i < 300; i++) await zip.WriteAsync(line, TestContext.Current.CancellationToken);
        }
        long before = GC.GetTotalAllocatedBytes();
        await Refused("bomb.jsonl.gz", "times its size");
        (GC.GetTotalAllocatedBytes() - before).ShouldBeLessThan(64L << 20);
    }

    [Fact]
    public async Task A_line_longer_than_any_row_is_refused_by_its_number()
    {
        string path = _folder.File("long.jsonl");
        await using (StreamWriter writer = new(path))
        {
            await writer.WriteAsync("{}\r\n\r\n");
            string part = new('x', 1 << 20);
            for (int i = 0; i < 65; i++) await writer.WriteAsync(part);
        }
        await Refused("long.jsonl", "line 3: a line of more than");
    }

    [Theory]
    [InlineData("a\nb\n", "a|b")]
    [InlineData("a\r\nb", "a|b")]
    [InlineData("a\r\rb\n\n", "a||b|")]
    [InlineData("\n", "")]
    [InlineData("", null)]
    public async Task Lines_are_those_of_a_stream_reader(string text, string? lines)
    {
        BoundedLines reader = new(new StreamReader(new MemoryStream(Encoding.UTF8.GetBytes(text))));
        List<string> found = [];
        while (await reader.Next(TestContext.Current.CancellationToken) is { } line) found.Add(line);
        (found.Count == 0 ? null : string.Join('|', found)).ShouldBe(lines);
    }

    private async Task Refused(string file, string words) =>
        (await Should.ThrowAsync<InvalidInputException>(
            () => Task.Run(() => Open("rows", _folder.File(file))).WaitAsync(Patience))).Message.ShouldContain(words);
}

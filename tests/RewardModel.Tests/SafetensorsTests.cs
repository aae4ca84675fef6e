using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Tensors;
using Shouldly;
using Xunit;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Tests;

/// <summary>A safetensors file is read as it says, or refused by name; never anything else, whatever its header says.</summary>
public sealed class SafetensorsTests : IDisposable
{
    private const int FuzzedHeaders = 4000;
    private static readonly float[] Weight = [1, 2, 3, 4, 5, 6];
    private readonly TemporaryFolder _folder = new();

    private string File => _folder.File("x.safetensors");

    [Theory]
    [InlineData("""{"t":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}}""", "64 bits")]
    [InlineData("""{"t":{"dtype":"F64","shape":[2305843009213693952,2],"data_offsets":[0,8]}}""", "64 bits")]
    [InlineData("""{"t":{"dtype":"F32","shape":[2],"data_offsets":[9223372036854775800,9223372036854775807]}}""", "has 7 bytes")]
    [InlineData("""{"t":{"dtype":"U8","shape":[8],"data_offsets":[9223372036854775799,9223372036854775807]}}""", "within the file")]
    [InlineData("""{"t":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,8]}}""", "within 64 bits")]
    [InlineData("""{"t":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}""", "-2 in 'shape'")]
    [InlineData("""{"t":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}}""", "2.5 in 'shape'")]
    [InlineData("""{"t":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}""", "[8, 0]")]
    [InlineData("""{"t":{"dtype":"F32","shape":[2],"data_offsets":[0]}}""", "[begin, end]")]
    [InlineData("""{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"u":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}""",
        "inside of 't'")]
    [InlineData("""{"t":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", "4 bytes after the header")]
    [InlineData("""{"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", "4 bytes after the last tensor, 't'")]
    [InlineData("""{"t":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}""", "ends at byte")]
    [InlineData("""{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""",
        "Duplicate")]
    [InlineData("""{"t":{"dtype":"F32","shape":[2]}}""", "without 'data_offsets'")]
    [InlineData("""{"t":{"dtype":3,"shape":[2],"data_offsets":[0,8]}}""", "'dtype' that is of kind number")]
    [InlineData("""{"t":[1]}""", "'t' that is of kind array")]
    [InlineData("""{"__metadata__":{"a":1},"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", "'a' that is of kind number")]
    [InlineData("""[]""", "not the format's JSON")]
    public void A_header_that_does_not_describe_its_data_is_refused_with_tensor_found_and_expected(string header, string found)
    {
        Write(header, new byte[8]);
        string message = Should.Throw<InvalidInputException>(() => new SafetensorsFile(File)).Message;
        message.ShouldContain(File);
        message.ShouldContain(found);
        message.ShouldContain("expected");
    }

    [Fact]
    public void A_header_longer_than_the_format_allows_is_refused_before_it_is_read()
    {
        System.IO.File.WriteAllBytes(File, BitConverter.GetBytes(100_000_001L));
        using (FileStream stream = System.IO.File.OpenWrite(File)) stream.SetLength(200_000_000); // sparse
        Should.Throw<InvalidInputException>(() => new SafetensorsFile(File)).Message.ShouldContain("at most 100000000 bytes");
    }

    [Fact]
    public void Whole_numbers_are_refused_where_floats_are_expected()
    {
        using Tensor numbers = ones(3, 2, dtype: ScalarType.Int32);
        SafetensorsFile.Write(File, [("embeddings", numbers)]);
        using SafetensorsFile file = new(File);
        Should.Throw<InvalidInputException>(() => file.LoadFloats("embeddings"))
            .Message.ShouldContain("tensor 'embeddings': elements of type I32; expected F64, F32, F16, BF16");
        Should.Throw<InvalidInputException>(() => new SafetensorsRows([file], "embeddings", rank: 2)).Message.ShouldContain("I32");
        file.Load("embeddings").numel().ShouldBe(6, "whole numbers can be read as what they are");
    }

    [Fact]
    public void A_row_that_the_tensor_does_not_have_is_never_read()
    {
        using Tensor weight = tensor(Weight).reshape(3, 2);
        SafetensorsFile.Write(File, [("weight", weight), ("other", weight)]);
        using SafetensorsFile file = new(File);
        float[] row = new float[2];
        file.ReadRow(file.Entry("weight"), 2, row);
        row.ShouldBe([5, 6]);
        Should.Throw<ArgumentOutOfRangeException>(() => file.ReadRow(file.Entry("weight"), 3, row));
        Should.Throw<ArgumentOutOfRangeException>(() => file.ReadRow(file.Entry("weight"), -1, row));
    }

    /// <summary>
    /// Good files' headers with one to three bytes, numbers or texts changed: what is read is what the bytes say, or nothing is.
    /// </summary>
    [Fact]
    public void A_mutated_header_is_refused_or_read_exactly_as_it_says()
    {
        Random random = new(17);
        byte[] data = [.. Enumerable.Range(0, 64).Select(i => (byte)i)];
        string good =
            """{"__metadata__":{"rows":"3"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]"""
                + """},"b":{"dtype":"I64","shape":[3],"data_offsets":[24,48]},"c":{"dtype":"BF16","shape":[2,2,2],"data_offsets":[48,64]"""
                + """}}""";
        int read = 0, refused = 0;
        for (int i = 0; i < FuzzedHeaders; i++)
        {
            byte[] header = i == 0 ? Encoding.UTF8.GetBytes(good) : Mutate(good, random);
            System.IO.File.WriteAllBytes(File, [.. BitConverter.GetBytes((long)header.Length), .. header, .. data]);
            SafetensorsFile file;
            try { file = new SafetensorsFile(File); }
            catch (InvalidInputException)
            {
                refused++;
                continue;
            }
            using (file) ReadsWhatItSays(file, header, data);
            read++;
        }
        read.ShouldBeGreaterThan(FuzzedHeaders / 100, "the mutations must not all be refused, or nothing was tested");
        refused.ShouldBeGreaterThan(FuzzedHeaders / 2);
    }

    private static byte[] Mutate(string good, Random random)
    {
        string[] numbers = ["-1", "0", "1", "8", "24", "48", "63", "65", "4611686018427387904", "9223372036854775807",
            "18446744073709551615", "1e3", "2.5", "\"24\"", "null", "[]"];
        string[] words = ["F32", "F64", "I64", "I32", "U8", "BOOL", "F128", "", "a", "b", "shape", "dtype"];
        StringBuilder header = new(good);
        for (int n = random.Next(1, 4); n > 0; n--)
        {
            int at = random.Next(header.Length);
            switch (random.Next(4))
            {
                case 0:
                    header[at] = (char)random.Next(32, 127);
                    break;
                case 1:
                    header.Remove(at, Math.Min(random.Next(1, 6), header.Length - at));
                    break;
                case 2:
                    Replace(header, char.IsAsciiDigit, at, numbers[random.Next(numbers.Length)]);
                    break;
                default:
                    Replace(header, char.IsAsciiLetterOrDigit, at, words[random.Next(words.Length)]);
                    break;
            }
        }
        return Encoding.UTF8.GetBytes(header.ToString());
    }

    /// <summary>Replaces the next stretch of such characters.</summary>
    private static void Replace(StringBuilder header, Func<char, bool> isPart, int from, string by)
    {
        int begin = from;
        while (begin < header.Length && !isPart(header[begin])) begin++;
        int end = begin;
        while (end < header.Length && isPart(header[end])) end++;
        header.Remove(begin, end - begin).Insert(begin, by);
    }

    private static void ReadsWhatItSays(SafetensorsFile file, byte[] header, byte[] data)
    {
        JsonObject said = JsonNode.Parse(header)!.AsObject();
        foreach ((string name, TensorEntry entry) in file.Entries)
        {
            long[] offsets = said[name]!["data_offsets"]!.Deserialize<long[]>()!;
            using Tensor tensor = file.Load(name);
            tensor.shape.ShouldBe(said[name]!["shape"]!.Deserialize<long[]>()!);
            tensor.bytes.ToArray().ShouldBe(data[(int)offsets[0]..(int)offsets[1]], $"tensor {name} of {Encoding.UTF8.GetString(header)}");
            (entry.End - entry.Begin).ShouldBe(offsets[1] - offsets[0]);
        }
        file.Entries.Values.Sum(e => e.End - e.Begin).ShouldBe(data.Length, "every byte is one tensor's");
    }

    private void Write(string header, byte[] data) =>
        System.IO.File.WriteAllBytes(File, [.. BitConverter.GetBytes((long)Encoding.UTF8.GetByteCount(header)),
            .. Encoding.UTF8.GetBytes(header), .. data]);

    public void Dispose() => _folder.Dispose();
}

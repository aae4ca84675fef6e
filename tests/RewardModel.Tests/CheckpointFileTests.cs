using System.Text;
using System.Text.Json.Nodes;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Tensors;
using Shouldly;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Tests;

/// <summary>Checkpoints as they lie on disks: behind links, saved without a head, put in another's place, damaged.</summary>
public class CheckpointFileTests
{
    [Fact]
    public void Links_count_as_what_they_lead_to()
    {
        using TemporaryFolder folder = new();
        string blobs = TinyCheckpoint.Write(folder.File("blobs")), other = TinyCheckpoint.Write(folder.File("other"), seed: 2);
        string snapshot = Directory.CreateDirectory(folder.File("snapshot")).FullName;
        LinkTo(blobs);
        BackboneParts.Open(snapshot);
        BackboneTests.Hidden(snapshot, ScalarType.Float64).ShouldBe(BackboneTests.Hidden(blobs, ScalarType.Float64));
        using (Checkpoint linked = new(snapshot), direct = new(blobs)) linked.Bytes.ShouldBe(direct.Bytes);
        (string stamp, string digest) = (Checkpoint.Stamp(snapshot), Checkpoint.Digest(snapshot));
        Checkpoint.Stamp(snapshot).ShouldBe(stamp);
        LinkTo(other);
        Checkpoint.Digest(snapshot).ShouldNotBe(digest);
        Checkpoint.Stamp(snapshot).ShouldNotBe(stamp);

        void LinkTo(string target)
        {
            foreach (string file in Directory.EnumerateFiles(target))
            {
                string link = Path.Combine(snapshot, Path.GetFileName(file));
                File.Delete(link);
                File.CreateSymbolicLink(link, file);
            }
        }
    }

    [Fact]
    public void A_shard_counts_whatever_its_name_is()
    {
        using TemporaryFolder folder = new();
        string path = TinyCheckpoint.Write(folder.File("backbone")), index = Path.Combine(path, "model.safetensors.index.json");
        string shard = JsonNode.Parse(File.ReadAllText(index))!["weight_map"]!.AsObject().First().Value!.GetValue<string>();
        File.Move(Path.Combine(path, shard), Path.Combine(path, "weights.safetensors"));
        File.WriteAllText(index, File.ReadAllText(index).Replace(shard, "weights.safetensors", StringComparison.Ordinal));
        (string stamp, string digest) = (Checkpoint.Stamp(path), Checkpoint.Digest(path));
        byte[] bytes = File.ReadAllBytes(Path.Combine(path, "weights.safetensors"));
        bytes[^1] ^= 1;
        File.WriteAllBytes(Path.Combine(path, "weights.safetensors"), bytes);
        Checkpoint.Digest(path).ShouldNotBe(digest);
        Checkpoint.Stamp(path).ShouldNotBe(stamp);
    }

    [Fact]
    public void A_single_file_comes_before_an_index_as_transformers_has_it()
    {
        using TemporaryFolder folder = new();
        string path = TinyCheckpoint.Write(folder.File("sharded"));
        List<(string, Tensor)> doubled = [];
        using (DisposeScope scope = NewDisposeScope())
        {
            using (Checkpoint sharded = new(path))
                foreach (string name in sharded.Files.Keys) doubled.Add((name, sharded.FileOf(name).Load(name) * 2));
            SafetensorsFile.Write(Path.Combine(path, "model.safetensors"), doubled);
        }
        using Checkpoint both = new(path);
        both.Files.Values.Distinct().ShouldBe(["model.safetensors"]);
    }

    [Fact]
    public void What_would_change_the_result_and_is_not_computed_is_refused_by_name()
    {
        using TemporaryFolder folder = new();
        string layers = TinyCheckpoint.Write(folder.File("layers")), config = Path.Combine(layers, "config.json");
        JsonNode parsed = JsonNode.Parse(File.ReadAllText(config))!;
        parsed["num_hidden_layers"] = parsed["num_hidden_layers"]!.GetValue<int>() - 1;
        File.WriteAllText(config, parsed.ToJsonString());
        BackboneTests.Refused(() => BackboneParts.Open(layers), "model.layers.", "layers, as config.json says");

        string adapter = TinyCheckpoint.Write(folder.File("adapter"));
        File.WriteAllText(Path.Combine(adapter, "adapter_config.json"), "{}");
        BackboneTests.Refused(() => BackboneParts.Open(adapter), "an adapter (LoRA)", "merge_and_unload");

        string twice = TinyCheckpoint.Write(folder.File("twice")), index = Path.Combine(twice, "model.safetensors.index.json");
        string text = File.ReadAllText(index);
        int at = text.IndexOf("\"model.", StringComparison.Ordinal);
        File.WriteAllText(index, text.Insert(at, "\"model.norm.weight\":\"model-00001-of-00002.safetensors\","));
        BackboneTests.Refused(() => BackboneParts.Open(twice), "stands twice");
    }

    [Fact]
    public void Another_checkpoint_of_equal_sizes_and_times_has_another_stamp()
    {
        using TemporaryFolder folder = new();
        string path = TinyCheckpoint.Write(folder.File("backbone"));
        SetTimes(path);
        (string stamp, string digest) = (Checkpoint.Stamp(path), Checkpoint.Digest(path));

        // In its place, as an image layer or an archive with fixed times puts it there.
        Directory.Move(path, folder.File("before"));
        TinyCheckpoint.Write(path, seed: 2);
        SetTimes(path);
        Checkpoint.Digest(path).ShouldNotBe(digest);
        Checkpoint.Stamp(path).ShouldNotBe(stamp);

        // Over it, byte by byte.
        stamp = Checkpoint.Stamp(path);
        string shard = Directory.EnumerateFiles(path, "*.safetensors").Order(StringComparer.Ordinal).First();
        using (FileStream stream = File.OpenWrite(shard))
        {
            stream.Seek(-1, SeekOrigin.End);
            stream.WriteByte(7);
        }
        SetTimes(path);
        Checkpoint.Stamp(path).ShouldNotBe(stamp);

        static void SetTimes(string folder)
        {
            foreach (string file in Directory.EnumerateFiles(folder)) File.SetLastWriteTimeUtc(file, DateTime.UnixEpoch);
        }
    }

    [Fact]
    public void A_model_that_was_saved_without_its_head_is_read()
    {
        using TemporaryFolder folder = new();
        string whole = TinyCheckpoint.Write(folder.File("whole")), bare = Directory.CreateDirectory(folder.File("bare")).FullName;
        foreach (string name in new[] { "config.json", "tokenizer.json" }) File.Copy(Path.Combine(whole, name), Path.Combine(bare, name));
        using (Checkpoint checkpoint = new(whole))
        {
            (string, Tensor)[] tensors = [.. checkpoint.Files.Keys.Select(n => (n["model.".Length..], checkpoint.FileOf(n).Load(n)))];
            SafetensorsFile.Write(Path.Combine(bare, "model.safetensors"), tensors);
            foreach ((_, Tensor tensor) in tensors) tensor.Dispose();
        }
        BackboneParts.Open(bare);
        BackboneTests.Hidden(bare, ScalarType.Float64).ShouldBe(BackboneTests.Hidden(whole, ScalarType.Float64));
    }

    [Fact]
    public void Metadata_may_be_null()
    {
        using TemporaryFolder folder = new();
        byte[] header = Encoding.UTF8.GetBytes("""{"__metadata__":null,"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""");
        File.WriteAllBytes(folder.File("x.safetensors"),
            [.. BitConverter.GetBytes((long)header.Length), .. header, .. BitConverter.GetBytes(7f)]);
        using SafetensorsFile file = new(folder.File("x.safetensors"));
        file.LoadFloats("t").ShouldBe([7f]);
    }

    /// <summary>Whatever is done to a file, opening the folder succeeds or ends in our own error.</summary>
    [Theory]
    [InlineData("config.json", 400)]
    [InlineData("tokenizer.json", 250)]
    [InlineData("tokenizer_config.json", 250)]
    [InlineData("model.safetensors.index.json", 250)]
    [InlineData("model-00001-of-00002.safetensors", 300)]
    public void No_damage_to_a_file_reaches_a_handler_of_last_resort(string name, int mutations)
    {
        using TemporaryFolder folder = new();
        TinyCheckpoint.Write(folder.Path);
        folder.Write("tokenizer_config.json",
            """{"bos_token":{"content":"<|begin_of_text|>"},"chat_template":[{"name":"default","template":"x"}],"n":1}""");
        byte[] whole = File.ReadAllBytes(folder.File(name));
        Random random = new(17);
        for (int i = 0; i < mutations; i++)
        {
            byte[] mutated =
                i % 2 == 0 && name.EndsWith(".json", StringComparison.Ordinal) ? Restructured(whole, random) : Flipped(whole, random);
            File.WriteAllBytes(folder.File(name), mutated);
            try { BackboneParts.Open(folder.Path); }
            catch (InvalidInputException e)
            {
                e.Message.ShouldContain(folder.Path);
                e.Message.Length.ShouldBeLessThan(2000);
            }
            catch (Exception e)
            {
                Assert.Fail($"mutation {i}: {e.GetType().Name}: "
                    + $"{e.Message}\n{Encoding.UTF8.GetString(mutated[..Math.Min(600, mutated.Length)])}\n{e.StackTrace}");
            }
        }
    }

    private static byte[] Flipped(byte[] whole, Random random)
    {
        byte[] bytes = [.. whole];
        for (int n = random.Next(1, 4); n > 0; n--) bytes[random.Next(Math.Min(bytes.Length, 4000))] = (byte)random.Next(256);
        return random.Next(4) == 0 ? bytes[..random.Next(bytes.Length)] : bytes;
    }

    /// <summary>Another value in one place of a document, or one member less.</summary>
    private static byte[] Restructured(byte[] whole, Random random)
    {
        string[] values =
            ["null", "true", "-1", "0", "1.5", "1e400", "99999999999999999999", "\"\"", "\"x\"", "[]", "{}", "[[[[]]]]", "{\"a\":{}}"];
        JsonNode root = JsonNode.Parse(whole)!;
        List<JsonNode> nodes = [];
        Collect(root);
        JsonNode chosen = nodes[random.Next(nodes.Count)];
        JsonNode? other = JsonNode.Parse(values[random.Next(values.Length)]);
        if (chosen.Parent is JsonObject parent)
        {
            string key = chosen.GetPropertyName();
            if (random.Next(3) == 0) parent.Remove(key);
            else parent[key] = other;
        }
        else if (chosen.Parent is JsonArray array) array[chosen.GetElementIndex()] = other;
        else root = other ?? new JsonObject();
        string text = root.ToJsonString();
        return Encoding.UTF8.GetBytes(random.Next(8) == 0 ? text.Replace("\"x\"", "\"\\ud800\"", StringComparison.Ordinal) : text);

        // Outer members as often as the thousand entries of a vocabulary.
        void Collect(JsonNode node)
        {
            nodes.Add(node);
            if (node is JsonObject members)
                foreach ((_, JsonNode? member) in members.Take(40).ToArray()) { if (member is not null) Collect(member); }
            if (node is JsonArray items) foreach (JsonNode? item in items.Take(10).ToArray()) { if (item is not null) Collect(item); }
        }
    }
}

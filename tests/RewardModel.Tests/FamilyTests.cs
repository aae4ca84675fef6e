using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Tensors;
using Shouldly;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Tests;

/// <summary>
/// Tiny checkpoints of each family, as transformers writes them, against hidden states that others computed in double precision.
/// </summary>
public class FamilyTests
{
    private static readonly string[] Families = ["llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "olmo2", "phi3"];

    /// <summary>Each family, and each other config.json for the same weights.</summary>
    public static TheoryData<string, string?> Configurations()
    {
        TheoryData<string, string?> all = [];
        foreach (string family in Families)
        {
            all.Add(family, null);
            string variants = Path.Combine(SharedData.Folder, "families", family, "variants");
            if (!Directory.Exists(variants)) continue;
            foreach (string variant in Directory.EnumerateDirectories(variants).Order(StringComparer.Ordinal))
                all.Add(family, Path.GetFileName(variant));
        }
        return all;
    }

    [Theory]
    [MemberData(nameof(Configurations))]
    public void Hidden_states_are_those_of_an_independent_implementation(string family, string? variant)
    {
        using TemporaryFolder folder = new();
        string weights = SharedData.Require(Path.Combine("families", family));
        string from = variant is null ? weights : Path.Combine(weights, "variants", variant);
        Link(weights, from, folder.Path);
        using SafetensorsFile reference = new(Path.Combine(from, "reference-hidden.safetensors"));
        using SafetensorsFile ids = new(Path.Combine(weights, "reference-hidden.safetensors"));
        using IBackbone exact = Backbones.Load(folder.Path, ScalarType.Float64, CPU);
        using IBackbone single = Backbones.Load(folder.Path, ScalarType.Float32, CPU, WeightsKept.AsStored);
        using IBackbone half = Backbones.Load(folder.Path, ScalarType.BFloat16, CPU);
        for (int n = 0; n < 5; n++)
        {
            using DisposeScope scope = NewDisposeScope();
            Tensor expected = reference.Load($"hidden.{n}").to(ScalarType.Float64);
            Tensor tokens = ids.Load($"ids.{n}").to(ScalarType.Int64).view(1, -1);
            Difference(exact, tokens, expected).ShouldBeLessThan(1e-6, $"float64, text {n}");
            Difference(single, tokens, expected).ShouldBeLessThan(1e-5, $"float32, text {n}");
            Cosine(half, tokens, expected).ShouldBeGreaterThan(0.999, $"bfloat16, text {n}");
        }
    }

    /// <summary>The largest difference, relative to the largest number.</summary>
    private static double Difference(IBackbone model, Tensor tokens, Tensor expected)
    {
        Tensor found = Hidden(model, tokens);
        return ((found - expected).abs().max() / expected.abs().max()).item<double>();
    }

    /// <summary>The cosine of the two, of all positions as one vector.</summary>
    private static double Cosine(IBackbone model, Tensor tokens, Tensor expected)
    {
        Tensor found = Hidden(model, tokens);
        return ((found * expected).sum() / ((found * found).sum() * (expected * expected).sum()).sqrt()).item<double>();
    }

    private static Tensor Hidden(IBackbone model, Tensor tokens)
    {
        Tensor all = arange(tokens.shape[1], ScalarType.Int64).view(1, -1);
        return model.Forward(tokens, all).to(ScalarType.Float64)[0];
    }

    /// <summary>A folder of the weights and of one config.json.</summary>
    private static void Link(string weights, string config, string folder)
    {
        foreach (string file in Directory.EnumerateFiles(weights, "model*"))
            File.CreateSymbolicLink(Path.Combine(folder, Path.GetFileName(file)), file);
        File.Copy(Path.Combine(config, "config.json"), Path.Combine(folder, "config.json"));
    }
}

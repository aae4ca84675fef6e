using System.Text.Json;

namespace ArmoFlow.RewardModel.Backbone.Families;

/// <summary>Qwen 3: each head's queries and keys are normalised, and a head has a size of its own. Source: transformers,
/// models/qwen3.</summary>
internal sealed class Qwen3Reader(string path, JsonElement root) : Qwen2Reader(path, root)
{
    public new const string Name = "qwen3";

    protected override DecoderConfig Read()
    {
        bool hasBias = Flag("attention_bias");
        return Qwen(new FamilyDefaults { KeyValueHeads = 32, HeadSize = 128, MaxPositionEmbeddings = 32768 }) with
        {
            HasInputBias = hasBias,
            HasOutputBias = hasBias,
            HeadNorm = HeadNorm.EachHead,
        };
    }
}

using System.Text.Json;

namespace ArmoFlow.RewardModel.Text;

/// <summary>What two neighbouring tokens become, and how early.</summary>
/// <param name="Rank">The place in the file's list of merges: of the merges that a text allows, the one of the lowest rank comes
/// first.</param>
/// <param name="Whole">The token that they become.</param>
internal readonly record struct Merge(int Rank, int Whole);

/// <summary>The tokens and merges of a tokenizer.json of byte-pair encoding.</summary>
internal sealed class BpeVocabulary
{
    private BpeVocabulary(Dictionary<string, int> ids, Dictionary<(int Left, int Right), Merge> merges)
    {
        Ids = ids;
        Merges = merges;
    }

    /// <summary>Token, as the file spells it → id.</summary>
    public Dictionary<string, int> Ids { get; }

    /// <summary>Two tokens → what they become.</summary>
    public Dictionary<(int Left, int Right), Merge> Merges { get; }

    /// <summary>Reads the member 'model'.</summary>
    /// <param name="model">The member.</param>
    /// <param name="path">The file, for errors.</param>
    /// <exception cref="InvalidInputException">Ids or merges cannot be used.</exception>
    public static BpeVocabulary Read(JsonElement model, string path)
    {
        Dictionary<string, int> ids = new(StringComparer.Ordinal);
        foreach (JsonProperty token in model.GetProperty("vocab").EnumerateObject()) ids[token.Name] = token.Value.GetInt32();
        RequireIds(ids, path);
        Dictionary<(int Left, int Right), Merge> merges = [];
        int rank = 0;
        foreach (JsonElement merge in model.GetProperty("merges").EnumerateArray())
        {
            string[] parts = merge.ValueKind == JsonValueKind.Array
                ? [.. merge.EnumerateArray().Select(part => part.GetString()!)]
                : merge.GetString()!.Split(' ');
            int left = 0, right = 0;
            bool isPair = parts.Length == 2 && ids.TryGetValue(parts[0], out left) && ids.TryGetValue(parts[1], out right);
            if (!isPair) throw TokenizerFile.Unsupported(path, $"the merge '{string.Join(' ', parts)}'", "two tokens of the vocabulary");
            if (!ids.TryGetValue(string.Concat(parts), out int whole))
            {
                throw TokenizerFile.Unsupported(path, $"the merge '{string.Join(' ', parts)}' into no token",
                    "merges into tokens of the vocabulary");
            }
            merges[(left, right)] = new Merge(rank++, whole); // of two alike the later counts, as in the reference
        }
        return new BpeVocabulary(ids, merges);
    }

    private static void RequireIds(Dictionary<string, int> ids, string path)
    {
        HashSet<int> seen = [];
        foreach ((string token, int id) in ids)
        {
            if (id < 0 || !seen.Add(id))
            {
                throw TokenizerFile.Unsupported(path, $"token '{token}' with id {id}, {(id < 0 ? "below 0" : "which another has")}",
                    "an id from 0 up for each token");
            }
        }
    }
}

using System.Text;
using System.Text.Json;
using ArmoFlow.RewardModel.Files;

namespace ArmoFlow.RewardModel.Text.Templates;

/// <summary>A chat template as a backbone's folder has it.</summary>
/// <param name="Text">The template, in Jinja.</param>
/// <param name="Place">Where it stands, for errors.</param>
/// <param name="Tokens">What it may write by name, such as bos_token, as the folder spells them; null where it says there is none.</param>
internal sealed record TemplateFile(string Text, string Place, IReadOnlyDictionary<string, string?> Tokens)
{
    /// <summary>True where the template names a token, such as bos_token.</summary>
    public bool Names(string token) => Text.Contains(token, StringComparison.Ordinal);

    /// <summary>The same with tokens for those that the folder says nothing of.</summary>
    public TemplateFile WithDefaults(IEnumerable<KeyValuePair<string, string>> tokens) => this with
    {
        Tokens = tokens.Where(token => !Tokens.ContainsKey(token.Key))
            .Select(token => KeyValuePair.Create(token.Key, (string?)token.Value))
            .Concat(Tokens)
            .ToDictionary(),
    };

    /// <summary>Refuses a template that writes a token of which the folder says nothing; transformers would write a default.</summary>
    /// <exception cref="InvalidInputException">It is one.</exception>
    public void RequireTokens()
    {
        foreach (string token in new[] { "bos_token", "eos_token" })
        {
            if (!Names(token) || Tokens.ContainsKey(token)) continue;
            throw new InvalidInputException(Place, $"a template that writes {token}, which no file names",
                $"the key '{token}' in tokenizer_config.json", "Fetch tokenizer_config.json with the checkpoint.");
        }
    }
}

/// <summary>Finds a folder's chat template where transformers looks for it.</summary>
internal static class TemplateFiles
{
    private const string JinjaName = "chat_template.jinja", ConfigName = "tokenizer_config.json", MapName = "special_tokens_map.json",
        DefaultTemplate = "default";
    private static readonly string[] TokenNames =
        ["bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token"];

    /// <summary>Null where the folder has none.</summary>
    /// <exception cref="InvalidInputException">A file is damaged, or has several templates and none that counts.</exception>
    public static TemplateFile? Find(string folder)
    {
        Dictionary<string, string?> tokens = [];
        (string Text, string Place)? inConfig = null;
        Read(MapName, root => AddTokens(root, tokens));
        Read(ConfigName, root =>
        {
            inConfig = InConfig(root, Path.Combine(folder, ConfigName));
            AddTokens(root, tokens);
        });
        return (OfItsOwn(folder) ?? inConfig) is var (text, place) ? new TemplateFile(text, place, tokens) : null;

        void Read(string name, Action<JsonElement> read)
        {
            string path = Path.Combine(folder, name);
            if (!IsThere(path)) return;
            SmallJson.Read(path, "the tokenizer's configuration", "Fetch the file again.", root =>
            {
                if (root.ValueKind != JsonValueKind.Object) throw Damaged(path, "no object", "the tokenizer's configuration");
                read(root);
                return true;
            });
        }
    }

    private static bool IsThere(string path) => RegularFile.OtherKind(path) is not null || File.Exists(path);

    /// <summary>A file of its own comes before the configuration.</summary>
    private static (string Text, string Place)? OfItsOwn(string folder)
    {
        string path = Path.Combine(folder, JinjaName);
        if (!IsThere(path)) return null;
        return (Encoding.UTF8.GetString(InputFile.ReadSmall(path, "a chat template", "Fetch the file again.")), path);
    }

    /// <summary>Of several named ones the default counts.</summary>
    private static (string Text, string Place)? InConfig(JsonElement root, string path)
    {
        if (!root.TryGetProperty("chat_template", out JsonElement value)) return null;
        string place = $"{path} key 'chat_template'";
        return value.ValueKind switch
        {
            JsonValueKind.Null => null,
            JsonValueKind.String => (value.GetString()!, place),
            JsonValueKind.Array => (Default(value, place), $"{place}, the template named '{DefaultTemplate}'"),
            _ => throw Damaged(place, value.ValueKind.ToString().ToLowerInvariant(), "a text, or a list of {name, template}"),
        };
    }

    private static string Default(JsonElement templates, string place)
    {
        List<string> names = [];
        foreach (JsonElement template in templates.EnumerateArray())
        {
            bool isNamed = template.ValueKind == JsonValueKind.Object
                && template.TryGetProperty("name", out JsonElement name) && name.ValueKind == JsonValueKind.String
                && template.TryGetProperty("template", out JsonElement text) && text.ValueKind == JsonValueKind.String;
            if (!isNamed) throw Damaged(place, "an item of another form", "a list of {name, template}");
            names.Add(template.GetProperty("name").GetString()!);
            if (names[^1] == DefaultTemplate) return template.GetProperty("template").GetString()!;
        }
        throw new InvalidInputException(place, $"templates named {string.Join(", ", names)}",
            $"one named '{DefaultTemplate}', which is what renders without a choice",
            $"Keep the template that the model was trained with as {JinjaName}.");
    }

    /// <summary>Tokens as a text or as {content}.</summary>
    private static void AddTokens(JsonElement root, Dictionary<string, string?> into)
    {
        foreach (string name in TokenNames)
        {
            if (!root.TryGetProperty(name, out JsonElement value)) continue;
            if (value.ValueKind == JsonValueKind.Object && value.TryGetProperty("content", out JsonElement content)) value = content;
            if (value.ValueKind is JsonValueKind.String or JsonValueKind.Null) into[name] = value.GetString();
        }
    }

    private static InvalidInputException Damaged(string place, string found, string expected) =>
        new(place, found, expected, "The file is damaged; fetch it again.");
}

using System.Text.Json;
using ArmoFlow.RewardModel.Files;
using ArmoFlow.RewardModel.Text.Jinja;

namespace ArmoFlow.RewardModel.Text;

/// <summary>The chat template that a backbone's folder asks for, found where transformers looks for it.</summary>
internal static class TemplateFiles
{
    private const string JinjaName = "chat_template.jinja", ConfigName = "tokenizer_config.json", DefaultTemplate = "default";

    /// <summary>Refuses a folder whose template is not Llama-3's; says in a few words what was found.</summary>
    /// <exception cref="InvalidInputException">The template is of another kind, or begins with another token.</exception>
    public static string Require(string folder)
    {
        string configPath = Path.Combine(folder, ConfigName);
        bool isThere = RegularFile.OtherKind(configPath) is not null || File.Exists(configPath);
        return !isThere ? Require(folder, configPath, null)
            : SmallJson.Read(configPath, "the tokenizer's configuration", "Fetch the file again.",
                root => Require(folder, configPath, root));
    }

    private static string Require(string folder, string configPath, JsonElement? config)
    {
        if (config is { ValueKind: not JsonValueKind.Object }) throw Damaged(configPath, "no object", "the tokenizer's configuration");
        if (Find(folder, configPath, config) is not var (text, place)) return "no chat template: Llama-3's is used";
        RequireBeginOfText(configPath, config);
        if (DifferenceFromLlama3(text, config) is not { } difference) return "Llama-3 template";
        throw new InvalidInputException(place, $"a chat template that is not Llama-3's: {difference}",
            "Llama-3's template (header tokens, trimmed contents, <|eot_id|>)",
            "Features under another template would be wrong; use a backbone with the Llama-3 template.");
    }

    /// <summary>A file of its own comes before the configuration; of several named ones the default counts.</summary>
    private static (string Text, string Place)? Find(string folder, string configPath, JsonElement? config)
    {
        string jinja = Path.Combine(folder, JinjaName);
        if (RegularFile.OtherKind(jinja) is not null || File.Exists(jinja))
            return (System.Text.Encoding.UTF8.GetString(InputFile.ReadSmall(jinja, "a chat template", "Fetch the file again.")), jinja);
        if (config is not { } root || !root.TryGetProperty("chat_template", out JsonElement value)) return null;
        string place = $"{configPath} key 'chat_template'";
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

    private static void RequireBeginOfText(string configPath, JsonElement? config)
    {
        if (Token(config, "bos_token") is not { } token || token == ChatTemplate.BeginOfText) return;
        throw new InvalidInputException($"{configPath} key 'bos_token'", $"'{token}'", $"'{ChatTemplate.BeginOfText}'",
            "Use a backbone with the Llama-3 template.");
    }

    /// <summary>
    /// How a template renders conversations otherwise than Llama-3's; null where it renders all of some kinds alike. One that it refuses
    /// says nothing about it.
    /// </summary>
    private static string? DifferenceFromLlama3(string text, JsonElement? config)
    {
        try
        {
            JinjaTemplate template = JinjaTemplate.Parse(text);
            int rendered = 0;
            foreach (Message[] probe in TemplateProbes.Conversations)
            {
                if (Rendered(template, probe, config) is not { } found) continue;
                rendered++;
                string expected = ChatTemplate.Render(probe, first: true);
                if (found != expected) return Difference(probe, found, expected);
            }
            return rendered > 0 ? null : "it refuses every conversation";
        }
        catch (JinjaException e) { return $"{e.Message}, which is not part of it"; }
    }

    /// <summary>Null where the template refuses the conversation.</summary>
    private static string? Rendered(JinjaTemplate template, Message[] probe, JsonElement? config)
    {
        Dictionary<string, object?> names = new()
        {
            ["messages"] = (IReadOnlyList<object?>)[.. probe.Select(Turn)],
            ["add_generation_prompt"] = false,
            ["bos_token"] = MarkedText.Template(ChatTemplate.BeginOfText),
            ["eos_token"] = MarkedText.Template(Token(config, "eos_token") ?? ChatTemplate.EndOfTurn),
            ["strftime_now"] = (JinjaFunction)((_, _) => throw new JinjaException("today's date")),
        };
        try { return template.Render(names).Value; }
        catch (TemplateRefusalException) { return null; }
    }

    private static Dictionary<string, object?> Turn(Message message) => new()
    {
        ["role"] = MarkedText.Template(message.Role),
        ["content"] = MarkedText.Message(message.Content),
    };

    private static string Difference(Message[] probe, string found, string expected)
    {
        const int Shown = 40;
        int same = found.Zip(expected).TakeWhile(pair => pair.First == pair.Second).Count();
        return $"of {probe.Length} turns it makes '{From(found)}' where Llama-3's has '{From(expected)}'";

        string From(string text) => text.Length > same ? text[same..Math.Min(text.Length, same + Shown)].ReplaceLineEndings(" ") : "";
    }

    /// <summary>A token that the configuration names, as a text or as {content}.</summary>
    private static string? Token(JsonElement? config, string name)
    {
        if (config is not { } root || !root.TryGetProperty(name, out JsonElement value)) return null;
        if (value.ValueKind == JsonValueKind.Object && value.TryGetProperty("content", out JsonElement content)) value = content;
        return value.ValueKind switch
        {
            JsonValueKind.Null => null,
            JsonValueKind.String => value.GetString(),
            _ => value.GetRawText(),
        };
    }

    private static InvalidInputException Damaged(string place, string found, string expected) =>
        new(place, found, expected, "The file is damaged; fetch it again.");
}

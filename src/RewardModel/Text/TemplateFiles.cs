using System.Text.Json;
using System.Text.RegularExpressions;
using ArmoFlow.RewardModel.Files;

namespace ArmoFlow.RewardModel.Text;

/// <summary>The chat template that a backbone's folder asks for, found where transformers looks for it.</summary>
internal static partial class TemplateFiles
{
    private const string JinjaName = "chat_template.jinja", ConfigName = "tokenizer_config.json", DefaultTemplate = "default";

    // Literals that are compared with, or are names of members: they are not printed.
    private static readonly HashSet<string> Unprinted = new(StringComparer.Ordinal) { "role", "content", "system", "user", "assistant" };

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
        if (DifferenceFromLlama3(text) is not { } difference) return "Llama-3 template";
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
        if (config is not { } root || !root.TryGetProperty("bos_token", out JsonElement value)) return;
        if (value.ValueKind == JsonValueKind.Object && value.TryGetProperty("content", out JsonElement content)) value = content;
        if (value.ValueKind == JsonValueKind.Null) return;
        string token = value.ValueKind == JsonValueKind.String ? value.GetString()! : value.GetRawText();
        if (token != ChatTemplate.BeginOfText)
        {
            throw new InvalidInputException($"{configPath} key 'bos_token'", $"'{token}'", $"'{ChatTemplate.BeginOfText}'",
                "Use a backbone with the Llama-3 template.");
        }
    }

    /// <summary>What a template prints otherwise than Llama-3's; null where nothing is found.</summary>
    private static string? DifferenceFromLlama3(string template)
    {
        string code = Refusals().Replace(Comments().Replace(template, ""), "");
        foreach (string token in new[] { ChatTemplate.StartHeader, ChatTemplate.EndHeader, ChatTemplate.EndOfTurn })
        {
            if (!code.Contains(token, StringComparison.Ordinal)) return $"no {token}";
        }
        if (!code.Contains("trim", StringComparison.Ordinal)) return "contents that are not trimmed";
        bool hasBegin =
            code.Contains("bos_token", StringComparison.Ordinal) || code.Contains(ChatTemplate.BeginOfText, StringComparison.Ordinal);
        if (!hasBegin) return $"no {ChatTemplate.BeginOfText}";
        bool opensAnother = code.Contains(ChatTemplate.StartHeader + "assistant", StringComparison.Ordinal);
        if (opensAnother && !code.Contains("add_generation_prompt", StringComparison.Ordinal))
            return "another assistant turn opened after the last";
        if (OtherDoing(code) is { } doing) return doing;
        return Printed(code).Select(WithoutTokens).FirstOrDefault(text => text.Length > 0 && !Unprinted.Contains(text)) is { } other
            ? $"the text '{other[..Math.Min(other.Length, 40)]}'" : null;
    }

    /// <summary>
    /// What a template does that Llama-3's does not: leaves turns out, changes contents, treats a role apart. What it may do is listed,
    /// since what it must not cannot be.
    /// </summary>
    private static string? OtherDoing(string code)
    {
        string acting = EmptyConditions().Replace(code, "");
        string bare = string.Join(' ', Code().Matches(acting).Select(m => Literals().Replace(m.Value, " ")));
        if (bare.Contains("!=", StringComparison.Ordinal)) return "turns that are left out or treated apart ('!=')";
        string? other = Words().Matches(bare).Select(m => m.Value).FirstOrDefault(w => !Known.Contains(w));
        if (other is not null) return $"'{other}', which is not part of it";
        if (Slices().Match(acting) is { Success: true } slice) return $"a part of the turns or of a text alone ('{slice.Value}')";
        bool comparesRoles = Comparisons().IsMatch(acting);
        bool knowsEveryRole = acting.Contains("else %}", StringComparison.Ordinal) || acting.Contains("else -%}", StringComparison.Ordinal)
            || Roles.All(role => acting.Contains($"'{role}'", StringComparison.Ordinal)
                || acting.Contains($"\"{role}\"", StringComparison.Ordinal));
        return comparesRoles && !knowsEveryRole ? "turns of some roles alone" : null;
    }

    private static readonly string[] Roles = ["system", "user", "assistant"];

    private static readonly HashSet<string> Known = new(StringComparer.Ordinal)
    {
        "set", "for", "in", "if", "elif", "else", "endif", "endfor", "and", "is", "defined", "not", "true", "false",
        "messages", "loop_messages", "message", "role", "content", "trim", "loop", "index0", "first", "last",
        "bos_token", "add_generation_prompt",
    };

    /// <summary>Every text that the template may print: what stands outside of its code, and the literals in it.</summary>
    private static IEnumerable<string> Printed(string code) =>
        Code().Split(code).Concat(Code().Matches(code).SelectMany(m => Literals().Matches(m.Value)).Select(m => m.Value[1..^1]));

    private static string WithoutTokens(string text)
    {
        foreach (string token in ChatTemplate.Tokens)
        {
            text = text.Replace(token, "", StringComparison.Ordinal);
        }
        return text.Replace("\\n", "", StringComparison.Ordinal).Trim();
    }

    private static InvalidInputException Damaged(string place, string found, string expected) =>
        new(place, found, expected, "The file is damaged; fetch it again.");

    [GeneratedRegex(@"\{#.*?#\}", RegexOptions.Singleline | RegexOptions.NonBacktracking)]
    private static partial Regex Comments();

    // What stops the rendering prints nothing.
    [GeneratedRegex(@"raise_exception\([^)]*\)", RegexOptions.NonBacktracking)]
    private static partial Regex Refusals();

    // What is left of a condition that only stopped the rendering.
    [GeneratedRegex(@"\{%-?\s*if\b[^%]*%\}\s*(\{\{-?\s*-?\}\}\s*)?\{%-?\s*endif\s*-?%\}", RegexOptions.NonBacktracking)]
    private static partial Regex EmptyConditions();

    [GeneratedRegex(@"[A-Za-z_][A-Za-z_0-9]*", RegexOptions.NonBacktracking)]
    private static partial Regex Words();

    // A member by its name is no slice.
    [GeneratedRegex(@"\w\[\s*[^'""\s\]][^\]]*\]", RegexOptions.NonBacktracking)]
    private static partial Regex Slices();

    [GeneratedRegex(@"==\s*['""](system|user|assistant)['""]", RegexOptions.NonBacktracking)]
    private static partial Regex Comparisons();

    [GeneratedRegex(@"\{[{%].*?[%}]\}", RegexOptions.Singleline | RegexOptions.NonBacktracking)]
    private static partial Regex Code();

    [GeneratedRegex("'[^']*'|\"[^\"]*\"", RegexOptions.NonBacktracking)]
    private static partial Regex Literals();
}

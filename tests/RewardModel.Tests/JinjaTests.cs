using System.Text.Json;
using ArmoFlow.RewardModel.Text.Jinja;
using Shouldly;
using Xunit;

namespace ArmoFlow.RewardModel.Tests;

/// <summary>Templates as model makers publish them against what Jinja2 renders, and the language by small examples.</summary>
public class JinjaTests
{
    public static TheoryData<string> Published()
    {
        string folder = Path.Combine(SharedData.Folder, "families", "templates");
        return Directory.Exists(folder)
            ? new(Directory.EnumerateFiles(folder, "*.jinja").Select(Path.GetFileNameWithoutExtension).Order(StringComparer.Ordinal)!)
            : new("none");
    }

    [Theory]
    [MemberData(nameof(Published))]
    public void A_published_template_renders_as_Jinja2_does(string name)
    {
        string folder = SharedData.Require("families/templates");
        JinjaTemplate template = JinjaTemplate.Parse(File.ReadAllText(Path.Combine(folder, name + ".jinja")));
        int rows = 0;
        foreach (string line in File.ReadLines(Path.Combine(folder, name + ".rendered.jsonl")))
        {
            rows++;
            JsonElement row = JsonElement.Parse(line);
            Dictionary<string, object?> names = new()
            {
                ["messages"] = Value(row.GetProperty("messages")),
                ["add_generation_prompt"] = row.GetProperty("add_generation_prompt").GetBoolean(),
                ["bos_token"] = MarkedText.Template(BosOf(name)),
                ["eos_token"] = MarkedText.Template(EosOf(name)),
            };
            if (name == "llama-3.2") names["date_string"] = MarkedText.Template("26 Jul 2024");
            if (row.TryGetProperty("error", out _)) Should.Throw<JinjaException>(() => template.Render(names), $"row {rows}");
            else template.Render(names).Value.ShouldBe(row.GetProperty("text").GetString(), $"row {rows}");
        }
        rows.ShouldBeGreaterThan(5);
    }

    /// <summary>Expected values are Jinja2's, with trim_blocks and lstrip_blocks.</summary>
    [Theory]
    [InlineData("{{ 1 + 2 * 3 - 4 // 3 }} {{ 7 % 3 }} {{ 7 / 2 }} {{ -1 }}", "6 1 3.5 -1")]
    [InlineData("{{ 'a' ~ 1 ~ none ~ true }}", "a1NoneTrue")]
    [InlineData("{{ x }}|{{ x is defined }}|{{ x | default('d') }}", "|False|d")]
    [InlineData("{{ 'a' if x else 'b' }}{{ 'c' if x }}", "b")]
    [InlineData("{{ not x and 1 == 1 or x }} {{ 1 < 2 and 2 != 3 and 'b' >= 'a' }}", "True True")]
    [InlineData("{{ 'b' in 'abc' }} {{ 2 not in [1, 3] }} {{ 'k' in {'k': 1} }}", "True True True")]
    [InlineData("{{ [1, 2, 3][-1] }}{{ 'abcd'[1:3] }}{{ 'abc'[::-1] }}{{ ([1, 2, 3][1:]) | length }}{{ 'abc'[:-1] }}", "3bccba2ab")]
    [InlineData("{% for i in [1, 2, 3] if i != 2 %}{{ loop.index }}{{ i }}{{ ',' if not loop.last }}{% else %}none{% endfor %}", "11,23")]
    [InlineData("{% for i in [] %}{{ i }}{% else %}none{% endfor %}", "none")]
    [InlineData("{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}{{ v }}{% endfor %}", "a1b2")]
    [InlineData("{% for i in range(5) %}{% if i == 1 %}{% continue %}{% elif i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}", "02")]
    [InlineData("{% set n = namespace(a=1) %}{% for i in [1, 2] %}{% set n.a = n.a + i %}{% set b = i %}{% endfor %}{{ n.a }}{{ b }}", "4")]
    [InlineData("{% set t %}x{{ 1 }}{% endset %}{{ t | upper }}", "X1")]
    [InlineData("{% macro m(a, b='z') %}<{{ a }}{{ b }}>{% endmacro %}{{ m('x') }}{{ m('y', b=1) }}", "<xz><y1>")]
    [InlineData("{{ '  a b ' | trim }}.{{ 'xxaxx'.strip('x') }}.{{ 'a,b'.split(',')[1] }}.{{ 'ab'.replace('b', 'c') }}", "a b.a.b.ac")]
    [InlineData("{{ ['a', 'b'] | join('-') }} {{ {'a': ['é', 1, none]} | tojson }}", "a-b {\"a\": [\"é\", 1, null]}")]
    [InlineData("{{ [{'r': 'x'}, {'r': 'y'}] | selectattr('r', 'equalto', 'y') | map(attribute='r') | list | first }}", "y")]
    [InlineData("a\n  {% if true %}\n  b\n  {%- endif %}\nc {{- 'd' -}} \n e{# no #}\nf\n", "a\n  bcdef")]
    [InlineData("{{ \"\\\"\\n\\u00e9\" }}{{ {'a': {'b': 1}}['a']['b'] }}", "\"\né1")]
    public void The_language_is_Jinjas(string template, string expected) =>
        JinjaTemplate.Parse(template).Render([]).Value.ShouldBe(expected);

    [Theory]
    [InlineData("{% include 'x' %}", "the tag 'include'")]
    [InlineData("{{ x | shuffle }}", "the filter 'shuffle'")]
    [InlineData("{{ x is divisibleby 3 }}", "the test 'divisibleby'")]
    [InlineData("{{ x.y.z }}", "'x' is undefined")]
    [InlineData("{{ 'a' + x }}", "'x' is undefined")]
    [InlineData("{{ 1 + 'a' }}", "no number")]
    [InlineData("{{ cycler(1) }}", "no function")]
    [InlineData("{% if x %}", "'if' without 'endif'")]
    [InlineData("{% endif %}", "'endif' without its beginning")]
    [InlineData("{{ 'a", "without its end")]
    [InlineData("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}", "1,000,000 steps")]
    [InlineData("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "without end")]
    [InlineData("{% set n = namespace(x='aa') %}{% for i in range(40) %}{% set n.x = n.x ~ n.x %}{% endfor %}", "67,108,864 characters")]
    public void What_is_not_of_the_part_that_is_known_is_refused_by_name(string template, string expected) =>
        Should.Throw<JinjaException>(() => JinjaTemplate.Parse(template).Render([])).Message.ShouldContain(expected);

    [Theory]
    [InlineData("{{ ", "1 + ", "1 }}")]
    [InlineData("{{ ", "not ", "1 }}")]
    [InlineData("{{ ", "(", "1 }}")]
    [InlineData("{{ 1", " if 1 else 1", " }}")]
    [InlineData("{{ x", "[0]", " }}")]
    [InlineData("", "{% if true %}", "")]
    public void A_template_that_is_nested_without_end_is_refused(string before, string again, string after)
    {
        string template = before + string.Concat(Enumerable.Repeat(again, 100_000)) + after;
        Should.Throw<JinjaException>(() => JinjaTemplate.Parse(template).Render([]));
    }

    [Fact]
    public void What_a_message_says_stays_the_messages_however_it_is_cut_and_joined()
    {
        JinjaTemplate template = JinjaTemplate.Parse("<s>{{ ('[' + m | trim)[:4] + ']' }}{{ m.split('b')[-1] }}");
        MarkedText text = template.Render(new() { ["m"] = MarkedText.Message(" abc ") });
        text.Value.ShouldBe("<s>[abc]c ");
        text.Runs().Select(run => (run.Text, run.IsTemplates)).ShouldBe([("<s>[", true), ("abc", false), ("]", true), ("c ", false)]);
    }

    private static object? Value(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Array => (IReadOnlyList<object?>)[.. value.EnumerateArray().Select(Value)],
        JsonValueKind.Object => value.EnumerateObject().ToDictionary(m => m.Name, m => Value(m.Value)),
        JsonValueKind.String => MarkedText.Message(value.GetString()!),
        _ => null,
    };

    private static string BosOf(string name) => name.Split('-')[0] switch
    {
        "llama" when name != "llama-2" => "<|begin_of_text|>",
        "gemma" => "<bos>",
        "olmo" => "<|endoftext|>",
        "qwen" => "",
        _ => "<s>",
    };

    private static string EosOf(string name) => name.Split('-')[0] switch
    {
        "llama" when name != "llama-2" => "<|eot_id|>",
        "phi" or "olmo" => "<|endoftext|>",
        "gemma" => "<eos>",
        _ => "</s>",
    };
}

namespace ArmoFlow.RewardModel.Text.Templates;

/// <summary>
/// Conversations that show what a chat template does: with a system turn or without, of one turn and of many, with blanks around their
/// contents, with empty contents, and with what some templates treat apart.
/// </summary>
internal static class TemplateProbes
{
    public static IReadOnlyList<Message[]> Conversations { get; } =
    [
        [new("user", "Name three colours."), new("assistant", "Red, blue and green.")],
        [new("user", "Name three colours.")],
        [new("system", "Be brief."), new("user", "Why?"), new("assistant", "Because.")],
        [new("user", "One."), new("assistant", "Two."), new("user", "Three."), new("assistant", "Four.")],
        [new("system", "S."), .. Turns(9)],
        [new("user", " \n blanks before"), new("assistant", "blanks after\t \n")],
        [new("system", "  both  "), new("user", "\n\n\nlines\n\n\n"), new("assistant", " \u00a0 x \u001c")],
        [new("user", ""), new("assistant", "An answer to nothing.")],
        [new("user", "<tool_response>1</tool_response>"), new("assistant", "<think>\nFirst.\n</think>\n\nThen <tool_call>x</tool_call>.")],
        [new("user", "{{ braces }} {% and %} {# comments #}"), new("assistant", "[INST] <<SYS>> </s> é 日本 🙂 ' \" \\ & <b>")],
        Turns(40),
    ];

    private static Message[] Turns(int count) =>
        [.. Enumerable.Range(0, count).Select(i => new Message(i % 2 == 0 ? "user" : "assistant", $"Turn {i}."))];
}

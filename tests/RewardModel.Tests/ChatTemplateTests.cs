using ArmoFlow.RewardModel.Text;
using Shouldly;
using Xunit;

namespace ArmoFlow.RewardModel.Tests;

/// <summary>What trainers send is what they decode: the template's text, often with padding around it.</summary>
public class ChatTemplateTests
{
    private static readonly Message[] Turns =
        [new("system", "Be brief."), new("user", "Say <|this|> twice.\n\nPlease."), new("assistant", "No.")];

    [Theory]
    [InlineData("", "")]
    [InlineData("<|eot_id|><|eot_id|>", "<|eot_id|><|eot_id|>")]
    [InlineData("<|finetune_right_pad_id|>", "<|end_of_text|>\n<|end_of_text|>")]
    [InlineData("[PAD][PAD]", "<pad>")]
    public void A_rendered_conversation_is_read_back_padding_or_not(string before, string after) =>
        ChatTemplate.Parse(before + ChatTemplate.Render(Turns, first: true) + after, "here").ShouldBe(Turns);

    [Fact]
    public void The_last_turn_may_be_unfinished() =>
        ChatTemplate.Parse(ChatTemplate.Render(Turns, first: false)[..^ChatTemplate.EndOfTurn.Length], "here").ShouldBe(Turns);

    [Fact]
    public async Task Forty_thousand_turns_are_refused_in_time()
    {
        string text =
            ChatTemplate.Render(Enumerable.Range(0, 40_000).Select(i => new Message(i % 2 == 0 ? "user" : "assistant", "x")), first: true);
        InvalidInputException refused = await Should.ThrowAsync<InvalidInputException>(() => Task.Run(() => ChatTemplate.Parse(text,
            "item 3")).WaitAsync(TimeSpan.FromSeconds(60)));
        refused.Message.ShouldStartWith("item 3: more than 1,000 turns");
    }

    [Theory]
    [InlineData("plain text")]
    [InlineData("<|start_header_id|>user")]
    [InlineData("<|im_start|>user\nHi<|im_end|>")]
    public void Another_text_is_refused(string text) =>
        Should.Throw<InvalidInputException>(() => ChatTemplate.Parse(text, "item 3")).Message.ShouldStartWith("item 3");
}

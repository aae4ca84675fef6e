using ArmoFlow.RewardModel.Text;
using ArmoFlow.RewardModel.Text.Templates;
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
        Llama3Template.Turns(before + Llama3Template.Render(Turns, first: true) + after, "here").ShouldBe(Turns);

    [Fact]
    public void The_last_turn_may_be_unfinished() =>
        Llama3Template.Turns(Llama3Template.Render(Turns, first: false)[..^Llama3Template.EndOfTurn.Length], "here").ShouldBe(Turns);

    [Fact]
    public async Task Forty_thousand_turns_are_refused_in_time()
    {
        IEnumerable<Message> turns = Enumerable.Range(0, 40_000).Select(i => new Message(i % 2 == 0 ? "user" : "assistant", "x"));
        string text = Llama3Template.Render(turns, first: true);
        InvalidInputException refused = await Should.ThrowAsync<InvalidInputException>(() => Task.Run(() => Llama3Template.Turns(text,
            "item 3")).WaitAsync(TimeSpan.FromSeconds(60)));
        refused.Message.ShouldStartWith("item 3: more than 1,000 turns");
    }

    [Theory]
    [InlineData("plain text")]
    [InlineData("<|start_header_id|>user")]
    [InlineData("<|im_start|>user\nHi<|im_end|>")]
    public void Another_text_is_refused(string text) =>
        Should.Throw<InvalidInputException>(() => Llama3Template.Turns(text, "item 3")).Message.ShouldStartWith("item 3");
}

using ArmoFlow.Workers.Features;
using Shouldly;
using Xunit;

namespace ArmoFlow.Workers.Tests;

/// <summary>Which responses are extracted together.</summary>
public class PendingResponsesTests
{
    private sealed record Response(string Prompt, int Number, long Tokens);

    private static PendingResponses<Response> Pending(params Response[] responses)
    {
        PendingResponses<Response> pending = new(r => r.Prompt, r => r.Tokens);
        foreach (Response response in responses) pending.Add(response);
        return pending;
    }

    [Fact]
    public void Responses_to_a_prompt_are_taken_together_though_others_came_between()
    {
        PendingResponses<Response> pending =
            Pending(new("a", 1, 10), new("b", 2, 10), new("c", 3, 10), new("a", 4, 10), new("b", 5, 10), new("c", 6, 10));
        pending.Tokens.ShouldBe(60);
        pending.Take(45).Select(r => r.Number).ShouldBe([1, 4, 2, 5]);
        pending.Tokens.ShouldBe(20);
        pending.Add(new Response("a", 7, 10)); // its prompt was taken: it waits as a new one
        pending.Take(100).Select(r => r.Number).ShouldBe([3, 6, 7]);
        pending.IsEmpty.ShouldBeTrue();
        pending.Take(100).ShouldBeEmpty();
    }

    [Fact]
    public void One_that_is_longer_than_a_shard_is_taken_alone_and_a_prompt_with_many_is_divided()
    {
        PendingResponses<Response> pending = Pending(new("a", 1, 500), new("b", 2, 30), new("b", 3, 30), new("b", 4, 30));
        pending.Take(70).Select(r => r.Number).ShouldBe([1]);
        pending.Take(70).Select(r => r.Number).ShouldBe([2, 3]);
        pending.Take(70).Select(r => r.Number).ShouldBe([4]);
        pending.Tokens.ShouldBe(0);
    }
}

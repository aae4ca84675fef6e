using ArmoFlow.Persistence.Faults;
using Shouldly;
using Xunit;

namespace ArmoFlow.Persistence.Tests;

/// <summary>What the books keep of a message that was set aside.</summary>
public sealed class SetAsideTests
{
    [Fact]
    public void A_NUL_is_replaced_wherever_it_stands()
    {
        FaultRow row = FaultRow.Of("regression", null, "ty\0pe", "text/\0plain", "be\0fore", "a\0b", "at\0line");
        (row.MessageType, row.ContentType, row.Body, row.Reason, row.StackTrace).ShouldBe(("ty\uFFFDpe", "text/\uFFFDplain", "be\uFFFDfore", "a\uFFFDb", "at\uFFFDline"));
        row.IsCutShort.ShouldBeFalse();
    }

    [Fact]
    public void A_reason_is_kept_up_to_its_bound()
    {
        Reason(10_000).ShouldBe(new string('r', 10_000));
        Reason(10_001).ShouldBe(new string('r', 10_000) + "…");

        static string Reason(int length) => FaultRow.Of("regression", null, "type", "text/plain", "{}", new string('r', length), null).Reason;
    }

    [Theory]
    [InlineData(1 << 20, false)]
    [InlineData((1 << 20) + 1, true)]
    public void A_body_is_whole_or_says_that_it_was_cut_short(int length, bool isCut)
    {
        FaultRow row = FaultRow.Of("regression", null, "type", "text/plain", new string('b', length), "reason", null);
        row.IsCutShort.ShouldBe(isCut);
        row.Body.Contains("cut short", StringComparison.Ordinal).ShouldBe(isCut);
        row.Body.Length.ShouldBeLessThanOrEqualTo(1 << 20);
    }
}

using ArmoFlow.Persistence.Faults;
using ArmoFlow.Persistence.Outbox;
using Shouldly;
using Xunit;

namespace ArmoFlow.Persistence.Tests;

/// <summary>What the database keeps of a message that was set aside.</summary>
public sealed class SetAsideTests
{
    private static readonly DateTimeOffset Now = new(2026, 11, 27, 12, 0, 0, TimeSpan.Zero);

    [Fact]
    public void A_NUL_is_replaced_wherever_it_stands()
    {
        FaultRow row = FaultRow.Of("regression", null, "ty\0pe", "text/\0plain", "be\0fore", "a\0b", "at\0line", Now);
        (row.MessageType, row.ContentType, row.Body, row.Reason, row.StackTrace).ShouldBe(("ty\uFFFDpe", "text/\uFFFDplain",
            "be\uFFFDfore", "a\uFFFDb", "at\uFFFDline"));
        row.IsCutShort.ShouldBeFalse();
    }

    [Fact]
    public void A_reason_is_kept_up_to_its_bound()
    {
        Reason(10_000).ShouldBe(new string('r', 10_000));
        Reason(10_001).ShouldBe(new string('r', 10_000) + "…");

        static string Reason(int length) =>
            FaultRow.Of("regression", null, "type", "text/plain", "{}", new string('r', length), null, Now).Reason;
    }

    [Fact]
    public void A_cut_between_the_halves_of_a_pair_leaves_what_the_database_can_keep()
    {
        string reason = new string('r', 9_999) + "\U0001F600 and more";
        FaultRow.Of("regression", null, "type", "text/plain", "{}", reason, null, Now).Reason.ShouldBe(
            new string('r', 9_999) + "\uFFFD…");
        FaultRow.Of("regression", null, "type", "text/plain", "half \uDE00", "r", "half \uD83D", Now)
            .ShouldSatisfyAllConditions(f => f.Body.ShouldBe("half \uFFFD"), f => f.StackTrace.ShouldBe("half \uFFFD"));
    }

    [Fact]
    public void Who_set_it_aside_and_when_is_kept_unless_a_clock_was_ahead()
    {
        DateTimeOffset at = new(2026, 1, 2, 3, 4, 5, TimeSpan.FromHours(2));
        FaultRow row = Of(new FaultOrigin("worker-7", at));
        (row.Machine, row.FaultedAt, row.FaultedAt.Offset).ShouldBe(("worker-7", at, TimeSpan.Zero));
        Of(new FaultOrigin(null, Now.AddYears(3))).ShouldSatisfyAllConditions(
            f => f.Machine.ShouldBe(Environment.MachineName), f => f.FaultedAt.ShouldBe(Now));

        static FaultRow Of(FaultOrigin origin) => FaultRow.Of("regression", null, "type", "text/plain", "{}", "r", null, Now, origin);
    }

    [Theory]
    [InlineData("broadcast-progress-0123456789abcdef0123456789abcdef", "broadcast-progress_error", "broadcast-progress_skipped")]
    [InlineData("broadcast-stop-work-0123456789abcdef0123456789abcdef", "broadcast-stop-work_error", "broadcast-stop-work_skipped")]
    [InlineData("regression", "regression_error", "regression_skipped")]
    public void What_every_process_has_a_queue_of_is_set_aside_under_one_name(string queue, string error, string skipped) =>
        (new Broadcasts().FormatErrorQueueName(queue), new Broadcasts().FormatDeadLetterQueueName(queue)).ShouldBe((error, skipped));

    [Theory]
    [InlineData(1 << 20, false)]
    [InlineData((1 << 20) + 1, true)]
    public void A_body_is_whole_or_says_that_it_was_cut_short(int length, bool isCut)
    {
        FaultRow row = FaultRow.Of("regression", null, "type", "text/plain", new string('b', length), "reason", null, Now);
        row.IsCutShort.ShouldBe(isCut);
        row.Body.Contains("cut short", StringComparison.Ordinal).ShouldBe(isCut);
        row.Body.Length.ShouldBeLessThanOrEqualTo(1 << 20);
    }
}

using System.Data;
using ArmoFlow.Persistence.Outbox;
using MassTransit;
using Microsoft.EntityFrameworkCore;
using Npgsql;
using Shouldly;
using Xunit;

namespace ArmoFlow.Persistence.Tests;

/// <summary>What servers say that restart or fail over is waited for; what a later try meets again is not.</summary>
public sealed class DatabaseFaultTests
{
    [Theory]
    [InlineData("25006")] // a standby
    [InlineData("57P01")]
    [InlineData("57P02")]
    [InlineData("57P03")]
    [InlineData("40001")]
    [InlineData("40P01")]
    [InlineData("53300")]
    [InlineData("55P03")]
    [InlineData("08000")]
    [InlineData("08006")]
    [InlineData("08P01")]
    public void A_server_that_is_not_ready_is_waited_for(string state)
    {
        DatabaseFault.IsTransient(Said(state)).ShouldBeTrue();
        DatabaseFault.IsTransient(new DbUpdateException("an error", Said(state))).ShouldBeTrue();
        DatabaseFault.IsTransient(new AggregateException(new InvalidOperationException(), new DbUpdateException("an error", Said(state))))
            .ShouldBeTrue();
    }

    [Theory]
    [InlineData("23505")] // a key twice
    [InlineData("42P01")] // no such table
    [InlineData("42501")] // not allowed
    [InlineData("22001")] // too long
    [InlineData("28P01")] // a wrong password
    public void A_fault_of_what_was_asked_is_not(string state) =>
        DatabaseFault.IsTransient(new DbUpdateException("an error", Said(state))).ShouldBeFalse();

    [Fact]
    public void Others_than_servers_say_nothing_of_them()
    {
        DatabaseFault.IsTransient(new ConnectionException("the broker is away")).ShouldBeTrue();
        DatabaseFault.IsTransient(new DataException("a defect")).ShouldBeFalse();
        DatabaseFault.IsTransient(new IOException("the disk")).ShouldBeFalse();
    }

    private static PostgresException Said(string state) => new("an error", "ERROR", "ERROR", state);
}

using System.Data.Common;
using System.Globalization;
using ArmoFlow.Cli;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Tests;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Shouldly;
using Xunit;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>
/// On Postgres as on SQLite: each column of each audited table is vouched for, to the last digit that the database keeps.
/// </summary>
public sealed class AuditedRowsTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Whatever_column_of_whatever_table_is_changed_in_Postgres_is_found_and_named()
    {
        string folder = Directory.CreateTempSubdirectory("armoflow-rows-").FullName;
        File.SetUnixFileMode(folder, (UnixFileMode)0b111_101_101); // the servers have users of their own
        DevServers servers = new(Path.Combine(folder, "dev"));
        try
        {
            await servers.Up(Cancel);
            await using ServiceProvider services = new ServiceCollection().AddLogging()
                .AddServerPersistence(servers.PostgresConnection, Path.Combine(folder, "artifacts"), CacheOptions.Default)
                .BuildServiceProvider();
            IDbContextFactory<ArmoFlowDbContext> contexts = services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>();
            AuditStore audit = services.GetRequiredService<AuditStore>();
            await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(Cancel);
            await db.Database.MigrateAsync(Cancel);
            await audit.Adopt(Cancel);
            await AuditedScenario.Fill(contexts, Cancel);
            await AuditedScenario.ChangeAtOnce(contexts, Cancel);
            (await audit.Verify(Cancel)).What.ShouldBeNull("changes at the same time are no contradiction");
            foreach (AuditedTable table in AuditedTables.Of(db).All)
            {
                await AuditedScenario.Write(db, $"create table kept_{table.Name} as select * from {table.Name}", Cancel);
            }
            int tampered = 0;
            foreach ((AuditedTable table, string column, bool isBound) in AuditedScenario.Columns(db).ToList())
            {
                string type = await TypeOf(db, table.Name, column);
                string quoted = $"\"{column}\"";
                await AuditedScenario.Write(db,
                    $"update {table.Name} set {quoted} = {AuditedScenario.Other(db, type, quoted)} where ctid = (select min(ctid) "
                    + $"from {table.Name})", Cancel);
                AuditVerdict verdict = await audit.Verify(Cancel);
                string where = $"{table.Name}.{column}";
                verdict.IsWhole.ShouldBe(!isBound, where);
                bool isKey = table.Key.Any(k => k.Name == column);
                if (isBound)
                {
                    verdict.Findings.ShouldContain(f => f.Table == table.Name
                    && (isKey || f.Columns.SequenceEqual(new[] { column })), where);
                }
                await AuditedScenario.Write(db, $"delete from {table.Name}; insert into {table.Name} select * from kept_{table.Name}",
                    Cancel);
                tampered++;
            }
            tampered.ShouldBeGreaterThan(100);
            (await audit.Verify(Cancel)).What.ShouldBeNull("all was put back as it was");
        }
        finally
        {
            await servers.Down(default);
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task<string> TypeOf(ArmoFlowDbContext db, string table, string column)
    {
        await using DbCommand command = db.Database.GetDbConnection().CreateCommand();
        command.CommandText =
            $"select data_type from information_schema.columns where table_name = '{table}' and column_name = '{column}'";
        return Convert.ToString(await command.ExecuteScalarAsync(Cancel), CultureInfo.InvariantCulture)!;
    }
}

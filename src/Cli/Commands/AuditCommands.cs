using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.RewardModel.Tensors;
using Microsoft.Extensions.DependencyInjection;
using Spectre.Console;

namespace ArmoFlow.Cli.Commands;

/// <summary>Who did what and when, and that nobody has changed it since.</summary>
internal static class AuditCommands
{
    public static Command Audit() => new("audit", "Asks the trail of all changes, follows its chain of hashes, writes it out.") { Query(), Verify(), Export(), Head(), EvidenceCommand.Evidence() };

    private static Command Query()
    {
        Option<string?> where = new("--where") { Description = "Such as: action = 'run.state' AND at > '2026-11-01' AND NOT actor IN ('armoflow'). Fields: action, actor, at, request, sequence, subject." };
        Option<string?> cursor = new("--cursor") { Description = "Where the page before ended." };
        Option<int> limit = new("--limit") { Description = "How many at most.", DefaultValueFactory = _ => 50 };
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Option<bool> json = Options.Json();
        Command command = new("query", "Lists events, newest first.") { where, cursor, limit, workspace, server, json };
        command.SetAction(async (parsed, cancel) =>
        {
            await using IAuditSource source = IAuditSource.Open(parsed.GetValue(server), parsed.GetRequiredValue(workspace));
            AuditPage page = await source.Query(parsed.GetValue(where), parsed.GetValue(cursor), parsed.GetValue(limit), cancel);
            if (parsed.GetValue(json)) Terminal.PrintJson(page);
            else
            {
                Table table = RunTables.New("event", "at", "actor", "action", "subject", "before", "after");
                foreach (AuditEvent e in page.Events)
                    table.AddRow($"{e.Sequence}", e.At.ToString("u", CultureInfo.InvariantCulture), Markup.Escape(e.Actor), Markup.Escape(e.Action), Markup.Escape(e.Subject), Markup.Escape(e.Before ?? ""), Markup.Escape(e.After ?? ""));
                Terminal.Out.Write(table);
                if (page.Cursor is { } next) Console.Error.WriteLine($"older ones: --cursor {next}");
            }
            return ExitCodes.Done;
        });
        return command;
    }

    private static Command Verify()
    {
        Option<string?> export = new("--export") { Description = "An export's file: verified without server and database." };
        Option<string?> head = new("--head") { Description = "A head that was kept elsewhere: the trail must still hold it (default with --export: FILE.head.json, if there is one)." };
        Option<string?> key = new("--public-key") { Description = "PEM of who must have signed the head." };
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Option<bool> json = Options.Json();
        Command command = new("verify", "Follows the chain of hashes and finds the first event that was altered, removed, added or moved; exit code 1 if there is one.") { export, head, key, workspace, server, json };
        command.SetAction(async (parsed, cancel) =>
        {
            string? file = parsed.GetValue(export), kept = parsed.GetValue(head) ?? (file is not null && File.Exists(HeadOf(file)) ? HeadOf(file) : null);
            SignedHead? known = kept is null ? null : await ReadHead(kept, cancel);
            if (parsed.GetValue(key) is { } pem && (known is null || !known.IsSignedBy(await File.ReadAllTextAsync(pem, cancel))))
                throw new UsageException($"{kept ?? "--public-key"}: {(known is null ? "no head to check" : "the head is not signed by that key")}; expected a head signed by {pem}. Give --head.");
            AuditVerdict verdict;
            if (file is not null)
            {
                try { verdict = await AuditVerification.Verify(AuditBooks.ReadExport(file), known is null ? null : new AuditHead { Sequence = known.Sequence, Hash = known.Hash }, cancel); }
                catch (JsonException e) { throw new UsageException($"{file} line {e.LineNumber + 1}: not an audit event ({e.Message}). Expected a file of: armoflow audit export."); }
            }
            else
            {
                await using IAuditSource source = IAuditSource.Open(parsed.GetValue(server), parsed.GetRequiredValue(workspace));
                verdict = await source.Verify(cancel);
                if (known is not null && verdict.IsWhole && !await source.Holds(known, cancel))
                    verdict = verdict with { IsWhole = false, BrokenAt = known.Sequence, What = $"the trail does not hold the head that was kept of {known.At:u}: it was written anew" };
            }
            if (parsed.GetValue(json)) Terminal.PrintJson(verdict);
            else if (verdict.IsWhole) Console.Out.WriteLine($"{verdict.Events:N0} events, whole; head {verdict.HeadHash}");
            else Console.Error.WriteLine($"armoflow: audit trail broken at event {verdict.BrokenAt}: {verdict.What}. The {verdict.Events:N0} events before it are whole.");
            return verdict.IsWhole ? ExitCodes.Done : ExitCodes.Failed;
        });
        return command;
    }

    private static Command Export()
    {
        Option<string> output = new("--out", "-o") { Description = "The file to write (JSONL, or Parquet where it ends in .parquet); FILE.head.json is written beside it.", Required = true };
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Command command = new("export", $"Writes all events to a file, with the head that they end with, signed where {AuditSigning.KeyVariable} names a private key (PEM, ECDSA P-256).") { output, workspace, server };
        command.SetAction(async (parsed, cancel) =>
        {
            string path = parsed.GetRequiredValue(output);
            bool asParquet = AuditParquet.IsParquet(path);
            SignedHead head;
            if (parsed.GetValue(server) is { } url)
            {
                await using ServerClient client = new(url);
                await client.Save(HttpMethod.Get, $"api/v1/audit/export?format={(asParquet ? "parquet" : "jsonl")}", null, path, cancel);
                head = await EndOf(path);
            }
            else
            {
                await using ServiceProvider books = EmbeddedHost.OpenBooks(parsed.GetRequiredValue(workspace));
                SignedHead? written = null;
                AtomicFile.Write(path, stream => written = books.GetRequiredService<AuditBooks>().Export(stream, asParquet, cancel).GetAwaiter().GetResult());
                head = written!;
            }
            await WriteHead(head, HeadOf(path), cancel);
            Console.Error.WriteLine($"{head.Sequence:N0} events in {path}; verify with: armoflow audit verify --export {path}");
            return ExitCodes.Done;
        });
        return command;
    }

    /// <summary>The head that an export ends with: its last event's.</summary>
    private static async Task<SignedHead> EndOf(string export)
    {
        SignedHead head = new(0, AuditHead.Start, DateTimeOffset.UtcNow);
        await foreach (AuditEvent e in AuditBooks.ReadExport(export)) head = head with { Sequence = e.Sequence, Hash = e.Hash };
        return head;
    }

    private static Command Head()
    {
        Option<string?> output = new("--out", "-o") { Description = "The file to write; printed if left out. Keep it where nobody who owns the database can reach it." };
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Command command = new("head", $"Takes down the trail's end as it is now, signed where {AuditSigning.KeyVariable} names a private key.") { output, workspace, server };
        command.SetAction(async (parsed, cancel) =>
        {
            await using IAuditSource source = IAuditSource.Open(parsed.GetValue(server), parsed.GetRequiredValue(workspace));
            SignedHead head = await source.Head(cancel);
            if (parsed.GetValue(output) is { } path) await WriteHead(head, path, cancel);
            else Terminal.PrintJson(AuditSigning.Signed(head));
            return ExitCodes.Done;
        });
        return command;
    }

    private static string HeadOf(string export) => export + ".head.json";

    private static async Task WriteHead(SignedHead head, string path, CancellationToken cancel)
    {
        await File.WriteAllTextAsync(path + ".partial", JsonSerializer.Serialize(AuditSigning.Signed(head), Terminal.Json) + "\n", cancel);
        File.Move(path + ".partial", path, overwrite: true);
    }

    private static async Task<SignedHead> ReadHead(string path, CancellationToken cancel)
    {
        try { return JsonSerializer.Deserialize<SignedHead>(await File.ReadAllTextAsync(path, cancel), Terminal.Json)!; }
        catch (JsonException) { throw new UsageException($"{path}: not a head; expected a file of: armoflow audit head --out."); }
    }
}

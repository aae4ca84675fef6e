using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Client;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.RewardModel.Tensors;
using Spectre.Console;

namespace ArmoFlow.Cli.Commands;

/// <summary>Who did what and when, and that nobody has changed it since.</summary>
internal static class AuditCommands
{
    public static Command Audit() =>
        new("audit", "Asks the trail of all changes, follows its chain of hashes, writes it out.")
        {
            Query(),
            Verify(),
            Export(),
            Head(),
            EvidenceCommand.Evidence()
        };

    private static Command Query()
    {
        Option<string?> where = new("--where")
        {
            Description =
            "Such as: action = 'run.state' AND at > '2026-11-01' AND NOT actor IN ('armoflow'). Fields: action, actor, at, request, "
                + "sequence, subject."
        };
        Option<string?> cursor = new("--cursor") { Description = "Where the page before ended." };
        Option<int> limit = Options.Limit(50);
        Command command = new("query", "Lists events, newest first.") { where, cursor, limit };
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            AuditPage page = await client.QueryAudit(parsed.GetValue(where), parsed.GetValue(cursor), parsed.GetValue(limit), cancel);
            if (parsed.WantsJson()) Terminal.PrintJson(page);
            else
            {
                Table table = RunTables.New("event", "at", "actor", "action", "subject", "before", "after");
                foreach (AuditEventDocument e in page.Events)
                {
                    table.AddRow($"{e.Sequence}", e.At.ToString("u", CultureInfo.InvariantCulture), Markup.Escape(e.Actor),
                        Markup.Escape(e.Action), Markup.Escape(e.Subject), Markup.Escape(e.Before ?? ""), Markup.Escape(e.After ?? ""));
                }
                Terminal.Out.Write(table);
                if (page.Cursor is { } next) Console.Error.WriteLine($"older ones: --cursor {next}");
            }
            return ExitCodes.Done;
        });
    }

    private static Command Verify()
    {
        Option<string?> export = new("--export") { Description = "An export's file: verified without server and database." };
        Option<string?> rows = new("--rows")
        {
            Description = "With --export, the file of rows that was written with it or before it: "
            + "each is held against the events."
        };
        Option<string?> head = new("--head")
        {
            Description = "A head that was kept elsewhere, of whatever age: the trail must still "
            + "hold it. (An export must also end with its own FILE.head.json, if there is one.)"
        };
        Option<string?> key = new("--public-key") { Description = "PEM of who must have signed the head." };
        Command command = new("verify",
            "Follows the chain of hashes and finds the first event that was altered, removed, added or moved, and every row that is "
            + "not as the events say; exit code 1 if there is one.") { export, rows, head, key };
        return command.WithClient(async (parsed, cancel) =>
        {
            string? file = parsed.GetValue(export), rowsFile = parsed.GetValue(rows), kept = parsed.GetValue(head);
            if (rowsFile is not null && file is null)
            {
                throw new UsageException("--rows: expected with --export FILE. Without it, the "
                + "rows of the workspace or server are verified anyway.");
            }
            string? own = file is not null && File.Exists(HeadOf(file)) ? HeadOf(file) : null;
            SignedHead? known = kept is null ? null : await ReadHead(kept, cancel), end = own is null ? null : await ReadHead(own, cancel);
            if (parsed.GetValue(key) is { } pem) await RequireSignature(kept ?? own, known ?? end, pem, cancel);
            AuditVerdict verdict = file is null
                ? await VerifyRecords(parsed, known, cancel)
                : await VerifyExport(file, rowsFile, end, known, cancel);
            if (parsed.WantsJson()) Terminal.PrintJson(verdict);
            else Report(verdict);
            return verdict.IsWhole ? ExitCodes.Done : ExitCodes.Failed;
        });
    }

    private static async Task<AuditVerdict> VerifyRecords(ParseResult parsed, SignedHead? known, CancellationToken cancel)
    {
        await using IArmoFlowClient client = await parsed.OpenClient();
        AuditVerdict verdict = await client.VerifyAudit(new Told(), cancel);
        bool isHeld = known is null || verdict.BrokenAt is not null || await client.HoldsHead(known, cancel);
        if (isHeld) return verdict;
        return verdict with
        {
            IsWhole = false,
            BrokenAt = known!.Sequence,
            What = $"the trail does not hold the head that was kept of {known.At:u}: it was written anew"
        };
    }

    private static async Task RequireSignature(string? path, SignedHead? head, string pem, CancellationToken cancel)
    {
        bool isSigned = head is not null && head.IsSignedBy(await File.ReadAllTextAsync(pem, cancel));
        if (!isSigned)
        {
            throw new UsageException($"{path ?? "--public-key"}: "
            + $"{(head is null ? "no head to check" : "the head is not signed by that key")}; expected a head signed by {pem}. Give "
            + "--head.");
        }
    }

    private static async Task<AuditVerdict> VerifyExport(string export, string? rows, SignedHead? end, SignedHead? kept,
        CancellationToken cancel)
    {
        AuditHead? head = end is null ? null : new AuditHead { Sequence = end.Sequence, Hash = end.Hash };
        try { return await AuditVerification.VerifyExport(export, rows, head, kept is null ? [] : [kept], new Told(), cancel); }
        catch (JsonException e)
        {
            throw new UsageException($"{export}{(rows is null ? "" : $" or {rows}")}, line {e.LineNumber + 1}: "
            + $"not what an export writes ({e.Message}). Expected files of: armoflow audit export --out FILE --rows FILE.");
        }
        catch (FileNotFoundException e)
        {
            throw new UsageException($"{e.FileName}: no such file. Expected a file of: armoflow audit "
            + "export.");
        }
    }

    private static void Report(AuditVerdict verdict)
    {
        if (verdict.IsWhole)
        {
            string rows = verdict.Rows is { } checkedRows ? $"; {checkedRows:N0} rows agree with them" : "";
            Console.Out.WriteLine($"{verdict.Events:N0} events, whole; head {verdict.HeadHash}{rows}");
        }
        else if (verdict.BrokenAt is { } at)
        {
            Console.Error.WriteLine($"armoflow: audit trail broken at event {at}: {verdict.What}. "
            + $"The {verdict.Events:N0} events before it are whole.");
        }
        else
        {
            Console.Error.WriteLine($"armoflow: {verdict.FindingCount:N0} rows do not agree with the audit trail; its "
                + $"{verdict.Events:N0} events are whole.");
            foreach (RowFinding finding in verdict.Findings) Console.Error.WriteLine($"  {finding}");
        }
        if (verdict.AdoptedRows > 0)
        {
            Console.Error.WriteLine($"{verdict.AdoptedRows:N0} rows were there before events vouched for "
            + $"rows: taken in as they were at event {verdict.AdoptedAt}, not vouched for before.");
        }
        if (verdict.Unrecorded > 0)
        {
            Console.Error.WriteLine($"{verdict.Unrecorded:N0} rows are of finished steps that no run has "
            + "recorded: no event vouches for them.");
        }
    }

    /// <summary>Says on stderr now and then how far a verification has come.</summary>
    private sealed class Told : IProgress<AuditProgress>
    {
        private static readonly TimeSpan Interval = TimeSpan.FromSeconds(2);
        private long _last = System.Diagnostics.Stopwatch.GetTimestamp();

        public void Report(AuditProgress value)
        {
            if (System.Diagnostics.Stopwatch.GetElapsedTime(_last) < Interval) return;
            _last = System.Diagnostics.Stopwatch.GetTimestamp();
            Console.Error.WriteLine($"  {value.Events:N0} events{(value.Rows > 0 ? $", {value.Rows:N0} rows" : "")}");
        }
    }

    private static Command Export()
    {
        Option<string> output = new("--out", "-o")
        {
            Description = "The file to write (JSONL, or Parquet where it ends in .parquet); FILE.head.json is written beside it.",
            Required = true
        };
        Option<string?> rows = new("--rows")
        {
            Description = "A file for the rows that the events vouch for, as of the same moment "
            + "(JSONL, or Parquet where it ends in .parquet)."
        };
        Command command = new("export",
            $"Writes all events to a file, with the head that they end with, signed where {AuditSigning.KeyVariable} names a private "
            + $"key (PEM, ECDSA P-256).") { output, rows };
        return command.WithClient(async (parsed, cancel) =>
        {
            string path = parsed.GetRequiredValue(output);
            string? rowsPath = parsed.GetValue(rows);
            bool isOneFile = rowsPath is not null && Path.GetFullPath(rowsPath) == Path.GetFullPath(path);
            if (isOneFile) throw new UsageException($"--rows {rowsPath}: expected another file than --out.");
            await using IArmoFlowClient client = await parsed.OpenClient();
            await ExportTo(client, path, rowsPath, cancel);
            SignedHead head = await EndOf(path);
            await WriteHead(head, HeadOf(path), cancel);
            Console.Error.WriteLine($"{head.Sequence:N0} events in {path}; verify with: armoflow audit verify --export "
                + $"{path}{(rowsPath is null ? "" : $" --rows {rowsPath}")}");
            return ExitCodes.Done;
        });
    }

    /// <summary>The events, and the rows as of the same moment, which come in one answer.</summary>
    private static async Task ExportTo(IArmoFlowClient client, string path, string? rowsPath, CancellationToken cancel)
    {
        if (rowsPath is null)
        {
            AuditFormat format = AuditParquet.IsParquet(path) ? AuditFormat.Parquet : AuditFormat.JsonLines;
            await AtomicFile.Write(path, events => client.ExportAudit(format, withRows: false, events, cancel));
            return;
        }
        string both = $"{path}.{Environment.ProcessId}.partial";
        try
        {
            await AtomicFile.Write(both, stream => client.ExportAudit(AuditFormat.JsonLines, withRows: true, stream, cancel));
            await AtomicFile.Write(path, events => AtomicFile.Write(rowsPath, rows =>
                AuditRows.Split(both, events, AuditParquet.IsParquet(path), rows, AuditParquet.IsParquet(rowsPath), cancel)));
        }
        finally { File.Delete(both); }
    }

    /// <summary>The head that an export ends with: its last event's.</summary>
    private static async Task<SignedHead> EndOf(string export)
    {
        SignedHead head = new(0, AuditHead.Start, TimeProvider.System.GetUtcNow());
        await foreach (AuditEvent e in AuditStore.ReadExport(export)) head = head with { Sequence = e.Sequence, Hash = e.Hash };
        return head;
    }

    private static Command Head()
    {
        Option<string?> output = new("--out", "-o")
        {
            Description = "The file to write; printed if left out. Keep it where nobody who owns the database can reach it."
        };
        Command command = new("head",
            $"Takes down the trail's end as it is now, signed where {AuditSigning.KeyVariable} names a private key.")
        {
            output
        };
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            SignedHead head = await client.AuditHead(cancel);
            if (parsed.GetValue(output) is { } path) await WriteHead(head, path, cancel);
            else Terminal.PrintJson(AuditSigning.Signed(head));
            return ExitCodes.Done;
        }, printsJson: false);
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

using System.Text;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Datasets;
using ArmoFlow.Orchestrator.Runs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Datasets;
using ArmoFlow.Persistence.Runs;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Parquet.Serialization;
using Shouldly;
using Xunit;

namespace ArmoFlow.Orchestrator.Tests;

/// <summary>Data sets by their bytes, and policies that run specs when they grow, by a clock that the tests turn.</summary>
public sealed class DatasetTests : ClockedDatabase
{
    private int _file;

    private DatasetStore Datasets => Services.GetRequiredService<DatasetStore>();
    private PolicyService Policies => Services.GetRequiredService<PolicyService>();
    private PolicyRunner Runner => Services.GetRequiredService<PolicyRunner>();

    [Fact]
    public async Task The_same_bytes_are_one_file_and_a_version_holds_those_before_it()
    {
        (await Add("judge", "a.jsonl", "{}\n{}\n\n")).ShouldBe(("a.jsonl", 1, 2, true));
        (await Add("judge", "renamed.jsonl", "{}\n{}\n\n")).ShouldBe(("a.jsonl", 1, 2, false));
        (await Add("judge", "../../b.jsonl", "{}\n")).ShouldBe(("b.jsonl", 2, 1, true));
        (await Add("judge", "c.json", "\n[{}, {},\n{}]")).ShouldBe(("c.json", 3, 3, true));
        (await Datasets.Files("judge", 2, default)).Select(f => f.FileName).ShouldBe(["a.jsonl", "b.jsonl"]);
        (await Datasets.Files("judge", null, default)).Count.ShouldBe(3);
        DatasetDocument listed = (await Datasets.List(default)).Single();
        (listed.Version, listed.Files, listed.Rows).ShouldBe((3, 3, 6));
    }

    [Fact]
    public async Task The_rows_of_a_table_are_counted()
    {
        using MemoryStream table = new();
        await ParquetSerializer.SerializeAsync(Enumerable.Range(0, 70).Select(i => new Rating(i)), table,
            cancellationToken: TestContext.Current.CancellationToken);
        table.Position = 0;
        (await Datasets.Add("judge", "a.parquet", table, default)).Rows.ShouldBe(70);
    }

    private sealed record Rating(double Value);

    [Fact]
    public async Task What_is_withdrawn_is_in_the_versions_before_and_in_none_after()
    {
        await Add("judge", "a.jsonl", "{}");
        await Add("judge", "b.jsonl", "{\"bad\":1}");
        (await Should.ThrowAsync<DatasetException>(
            () => Datasets.Withdraw("judge", "c.jsonl", "why", default))).Message.ShouldContain("no file 'c.jsonl'");
        (await Should.ThrowAsync<DatasetException>(
            () => Datasets.Withdraw("judge", "b.jsonl", " ", default))).Message.ShouldContain("needs a reason");
        DatasetFile withdrawn = await Datasets.Withdraw("judge", "b.jsonl", "wrong judge", default);
        withdrawn.WithdrawnIn.ShouldBe(3);
        (await Datasets.Files("judge", 2, default)).Select(f => f.FileName).ShouldBe(["a.jsonl", "b.jsonl"]);
        (await Datasets.Files("judge", 3, default)).Select(f => f.FileName).ShouldBe(["a.jsonl"]);
        DatasetDocument listed = (await Datasets.List(default)).Single();
        (listed.Version, listed.Files, listed.Rows).ShouldBe((3, 1, 1));
        (await Should.ThrowAsync<DatasetException>(
            () => Add("judge", "b.jsonl", "{\"bad\":1}"))).Message.ShouldContain("withdrawn from 'judge' in version 3");
        (await Add("judge", "b.jsonl", "{\"good\":1}")).ShouldBe(("b.jsonl", 4, 1, true));
        (await Should.ThrowAsync<DatasetException>(
            () => Datasets.Withdraw("judge", withdrawn.Sha256, "again", default))).Message.ShouldContain("no file");
        await Add("judge", "a.jsonl", "{\"other\":1}");
        (await Should.ThrowAsync<DatasetException>(
            () => Datasets.Withdraw("judge", "a.jsonl", "which?", default))).Message.ShouldContain("2 files 'a.jsonl'");
        AuditEventDocument told =
            (await Services.GetRequiredService<AuditStore>().Query("action = 'dataset.withdrawn'", null, 10, default)).Events.Single();
        told.After!.ShouldContain("wrong judge");
    }

    [Fact]
    public async Task A_run_on_a_data_set_whose_files_were_all_withdrawn_is_refused()
    {
        await Add("judge", "a.jsonl", "{}");
        await Datasets.Withdraw("judge", "a.jsonl", "wrong judge", default);
        RunService runs = Services.GetRequiredService<RunService>();
        (await Should.ThrowAsync<DatasetException>(
            () => runs.Submit(Spec(), default))).Message.ShouldContain("all files of version 2 of the data set were withdrawn");
        await Add("judge", "b.jsonl", "{\"a\":1}");
        (await Files(await runs.Submit(Spec(), default))).ShouldBe(["dataset:judge@3"]);
    }

    [Fact]
    public async Task A_policy_reads_no_file_that_was_withdrawn_while_it_waited()
    {
        await Arrive(100);
        await Policies.Put("retrain", Spec(new RetrainSpec { NewRows = 30, DebounceSeconds = 60 }), default);
        await Arrive(25);
        await Arrive(30);
        await Datasets.Withdraw("judge", (await Datasets.Files("judge", null, default))[1].Sha256, "wrong judge", default);
        await Later(TimeSpan.FromMinutes(2));
        RunState run = (await Runs()).Single();
        run.Trigger.ShouldBe("policy retrain: 30 new rows in judge@3");
        (await Files(run.CorrelationId)).ShouldBe(["dataset:judge@4"]);
        (await Datasets.Files("judge", 4, default)).Select(f => f.Rows).ShouldBe([100, 30]);
        await End();
        await Arrive(30);
        await Later(TimeSpan.FromMinutes(2));
        (await Files((await Runs()).Single(r => r.CorrelationId != run.CorrelationId).CorrelationId)).ShouldBe(["dataset:judge@5"]);
    }

    [Theory]
    [InlineData("judge", "a.exe", "x", "expected .json")]
    [InlineData("judge", "a.jsonl", "", "empty")]
    [InlineData("judge", "a.jsonl.gz", "no gzip", "damaged")]
    [InlineData("judge", "a.parquet", "PAR1", "damaged")]
    [InlineData("judge", "a.jsonl", "{}\n\n{\"a\":", "line 3: '{\"a\":' is no JSON object")]
    [InlineData("judge", "a.jsonl", "{}\n7", "line 2: '7' is no JSON object")]
    [InlineData("judge", "a.json", "[{}, 7]", "item 2: a JSON Number")]
    [InlineData("judge", "a.json", "[{},", "damaged")]
    [InlineData("../judge", "a.jsonl", "{}", "expected a name")]
    [InlineData("..", "a.jsonl", "{}", "expected a name")]
    public async Task What_is_no_data_set_is_refused_and_nothing_is_entered(string name, string file, string content, string words)
    {
        (await Should.ThrowAsync<DatasetException>(() => Add(name, file, content))).Message.ShouldContain(words);
        await using ArmoFlowDbContext db = await Context();
        (await db.DatasetFiles.CountAsync(TestContext.Current.CancellationToken)).ShouldBe(0);
        string store = Services.GetRequiredService<ArmoFlow.Persistence.Artifacts.ArtifactStore>().Folder;
        (Directory.Exists(store)
            ? Directory.GetFiles(store, "*", SearchOption.AllDirectories)
            : []).ShouldBeEmpty("nor are its bytes kept");
    }

    [Fact]
    public async Task A_run_settles_on_the_versions_that_are_there_when_it_is_submitted()
    {
        RunService runs = Services.GetRequiredService<RunService>();
        (await Should.ThrowAsync<DatasetException>(() => runs.Submit(Spec(), default))).Message.ShouldContain("no data set 'judge'");
        await Datasets.Create("judge", default);
        (await Should.ThrowAsync<DatasetException>(() => runs.Submit(Spec(), default))).Message.ShouldContain("no file yet");
        await Arrive(10);
        Guid first = await runs.Submit(Spec(), default);
        await Arrive(10);
        Guid second = await runs.Submit(Spec(), default);
        (await Files(first)).ShouldBe(["dataset:judge@1"]);
        (await Files(second)).ShouldBe(["dataset:judge@2"]);
        (await Services.GetRequiredService<RunQueries>().FindUnfinished(Spec(), default)).ShouldBe(second,
            "the one on the data that is there now");
    }

    [Fact]
    public async Task A_policy_waits_for_enough_rows_and_for_quiet_and_has_one_turn()
    {
        await Arrive(100);
        await Policies.Put("retrain", Spec(new RetrainSpec { NewRows = 50, DebounceSeconds = 60 }), default);
        await Look();
        (await Runs()).ShouldBeEmpty("what was there counts as read");
        await Arrive(30);
        await Later(TimeSpan.FromMinutes(5));
        (await Runs()).ShouldBeEmpty("30 of 50 rows");
        await Arrive(30);
        await Later(TimeSpan.FromSeconds(30));
        (await Runs()).ShouldBeEmpty("more may come at once");
        Time.Advance(TimeSpan.FromSeconds(40));
        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(() => Runner.Look(default))));
        RunState run = (await Runs()).Single();
        run.Trigger.ShouldBe("policy retrain: 60 new rows in judge@3");
        (await Files(run.CorrelationId)).ShouldBe(["dataset:judge@3"]);
    }

    [Fact]
    public async Task What_arrives_while_a_run_is_in_progress_is_one_later_run_s()
    {
        await Arrive(100);
        await Policies.Put("retrain", Spec(new RetrainSpec { DebounceSeconds = 0 }), default);
        await Arrive(1);
        await Look();
        for (int i = 0; i < 3; i++)
        {
            await Arrive(1);
            await Later(TimeSpan.FromMinutes(1));
        }
        (await Runs()).Count.ShouldBe(1);
        await End();
        await Look();
        await Look();
        (await Runs()).Select(r => r.Trigger).ShouldBe(["policy retrain: 1 new rows in judge@2", "policy retrain: 3 new rows in judge@5"]);
    }

    [Fact]
    public async Task By_the_clock_a_policy_takes_what_has_arrived_before()
    {
        await Arrive(1);
        await Policies.Put("retrain", Spec(new RetrainSpec { Cron = "0 4 * * *", DebounceSeconds = 0 }), default);
        await Arrive(1);
        await Later(TimeSpan.FromHours(2.5));
        (await Runs()).ShouldBeEmpty("it is half past three");
        Time.Advance(TimeSpan.FromHours(1));
        await Arrive(1); // half past four: for tomorrow
        await Look();
        (await Runs()).Select(r => r.Trigger).ShouldBe(["policy retrain: 1 new rows in judge@2"]);
        await End();
        await Later(TimeSpan.FromHours(20));
        (await Runs()).Count.ShouldBe(1);
        await Later(TimeSpan.FromHours(4));
        (await Runs()).Select(r => r.Trigger).ShouldContain("policy retrain: 1 new rows in judge@3");
        (await Should.ThrowAsync<ArmoFlow.Persistence.Schedules.ScheduleException>(() => Policies.Put("other",
            Spec(new RetrainSpec { Cron = "at four" }), default))).Message.ShouldContain("five fields");
    }

    [Theory]
    [InlineData(0.1, 9, 0)]
    [InlineData(0.1, 10, 1)]
    public async Task A_share_of_new_rows_is_a_share_of_those_read_before(double share, int rows, int runs)
    {
        await Arrive(100);
        await Policies.Put("retrain", Spec(new RetrainSpec { NewShare = share, DebounceSeconds = 0 }), default);
        await Arrive(rows);
        await Look();
        (await Runs()).Count.ShouldBe(runs);
    }

    [Fact]
    public async Task At_most_so_often_and_never_while_paused()
    {
        await Arrive(1);
        await Policies.Put("retrain", Spec(new RetrainSpec { AtMostEveryHours = 6, DebounceSeconds = 0 }), default);
        await Arrive(1);
        await Look();
        await End();
        await Arrive(1);
        await Later(TimeSpan.FromHours(5));
        (await Runs()).Count.ShouldBe(1);
        await Policies.Pause("retrain", true, default);
        await Later(TimeSpan.FromHours(5));
        (await Runs()).Count.ShouldBe(1);
        await Policies.Pause("retrain", false, default);
        await Look();
        (await Runs()).Count.ShouldBe(2);
    }

    [Fact]
    public async Task A_policy_whose_spec_reads_no_data_set_is_refused() =>
        (await Should.ThrowAsync<DatasetException>(() =>
            Policies.Put("retrain", DatasetReference.Replace(Spec(), _ => "a.jsonl"), default))).Message.ShouldContain("reads no data set");

    private async Task<(string FileName, int Version, long? Rows, bool IsNew)> Add(string name, string file, string content)
    {
        using MemoryStream stream = new(Encoding.UTF8.GetBytes(content));
        DatasetAddition added = await Datasets.Add(name, file, stream, default);
        return (added.FileName, added.Version, added.Rows, added.IsNew);
    }

    private async Task Arrive(int rows) =>
        await Add("judge", $"file-{++_file}.jsonl", string.Concat(Enumerable.Repeat($"{{\"file\":{_file}}}\n", rows)));

    [Fact]
    public async Task What_arrives_in_a_watched_folder_is_added_once_it_is_whole_and_once()
    {
        DatasetWatcher watcher = Services.GetRequiredService<DatasetWatcher>();
        string folder = Directory.CreateDirectory(Path.Combine(Folder, "arrivals")).FullName;
        (await watcher.Watch("judge", folder, default)).Address.ShouldBe(folder);
        (await Should.ThrowAsync<DatasetException>(
            () => watcher.Watch("judge", "arrivals", default))).Message.ShouldContain("absolute path");
        (await Should.ThrowAsync<DatasetException>(
            () => watcher.Watch("judge", folder + "/none", default))).Message.ShouldContain("no such folder");
        Arrive("a.jsonl", "{}\n", age: 60);
        Arrive("b.jsonl", "{}\n{}\n", age: 1); // still being written, for all that one knows
        Arrive("notes.txt", "not for us", age: 60);
        Arrive(".hidden.jsonl", "{}\n", age: 60);
        Arrive("empty.jsonl", "", age: 60);
        await watcher.Look(default);
        (await Files()).ShouldBe(["a.jsonl"]);
        (await watcher.List(default)).Single().Refused.ShouldHaveSingleItem().ShouldContain("file 'empty.jsonl': it is empty");
        Time.Advance(TimeSpan.FromSeconds(10));
        await Task.WhenAll(Enumerable.Range(0, 3).Select(_ => Task.Run(() => watcher.Look(default)))); // as several orchestrators would
        (await Files()).ShouldBe(["a.jsonl", "b.jsonl"]);
        Arrive("a.jsonl", "{\"changed\":1}\n", age: 30);
        Arrive("empty.jsonl", "{\"mended\":1}\n", age: 30);
        Arrive("copy-of-b.jsonl", "{}\n{}\n", age: 30);
        await watcher.Look(default);
        (await Files()).ShouldBe(["a.jsonl", "b.jsonl", "a.jsonl", "empty.jsonl"], ignoreOrder: true);
        (await watcher.List(default)).Single().Refused.ShouldBeEmpty();
        Directory.Delete(folder, recursive: true);
        await watcher.Look(default);
        (await watcher.List(default)).Single().Error!.ShouldContain("arrivals");
        await watcher.Unwatch("judge", folder, default);
        (await watcher.List(default)).ShouldBeEmpty();
        (await Should.ThrowAsync<DatasetException>(() => watcher.Unwatch("judge", folder, default))).Message.ShouldContain("no watch");

        void Arrive(string name, string text, double age)
        {
            File.WriteAllText(Path.Combine(folder, name), text);
            File.SetLastWriteTimeUtc(Path.Combine(folder, name), Time.GetUtcNow().UtcDateTime.AddSeconds(-age));
        }

        async Task<IEnumerable<string>> Files() => (await Datasets.Files("judge", null, default)).Select(f => f.FileName);
    }

    [Fact]
    public async Task A_link_that_leads_out_of_a_watched_folder_is_not_followed_and_its_text_is_not_shown()
    {
        DatasetWatcher watcher = Services.GetRequiredService<DatasetWatcher>();
        string folder = Directory.CreateDirectory(Path.Combine(Folder, "arrivals")).FullName;
        await watcher.Watch("judge", folder, default);
        File.CreateSymbolicLink(Path.Combine(folder, "leak.jsonl"), "/etc/passwd");
        File.WriteAllText(Path.Combine(folder, "none.jsonl"), "root:S3cret\n");
        File.SetLastWriteTimeUtc(Path.Combine(folder, "none.jsonl"), Time.GetUtcNow().UtcDateTime.AddMinutes(-1));
        for (int look = 0; look < 2; look++) await watcher.Look(default); // the link's own time may be ahead of the test's
        string[] refused = [.. (await watcher.List(default)).Single().Refused];
        refused.ShouldContain(r => r.Contains("file 'leak.jsonl': a link that leads out of the folder"));
        refused.ShouldContain(r => r.Contains("file 'none.jsonl' line 1: the first line is no JSON object"));
        string.Concat(refused).ShouldNotContain("root:");
        (await Datasets.Files("judge", null, default)).ShouldBeEmpty();
    }

    [Fact]
    public async Task A_file_that_a_message_tells_of_is_added_and_one_that_is_not_there_is_said_to_be()
    {
        DatasetWatcher watcher = Services.GetRequiredService<DatasetWatcher>();
        string path = Path.Combine(Folder, "told.jsonl");
        File.WriteAllText(path, "{}\n");
        (await watcher.Take("judge", path, default)).IsNew.ShouldBeTrue();
        (await watcher.Take("judge", path, default)).IsNew.ShouldBeFalse();
        (await Should.ThrowAsync<DatasetException>(() => watcher.Take("judge", path + "x", default))).Message.ShouldContain("no such file");
        (await Should.ThrowAsync<DatasetException>(
            () => watcher.Take("judge", "told.jsonl", default))).Message.ShouldContain("expected the path");
    }

    private Task Look() => Runner.Look(default);

    private async Task Later(TimeSpan time)
    {
        Time.Advance(time);
        await Look();
    }

    private static RunSpec Spec(RetrainSpec? retrain = null) => new()
    {
        Name = "name",
        Folder = "/",
        Backbone = new BackboneSpec("b"),
        Ratings = [new SourceSpec { Name = "judge", Files = ["dataset:judge"], Format = "armorm-ratings", MaxDroppedShare = 0 }],
        Preferences = [],
        Retrain = retrain,
    };

    private async Task<IReadOnlyList<string>> Files(Guid run)
    {
        await using ArmoFlowDbContext db = await Context();
        return (await db.Runs.AsNoTracking().SingleAsync(r => r.CorrelationId == run)).Spec.Ratings[0].Files;
    }

    private async Task<List<RunState>> Runs()
    {
        await using ArmoFlowDbContext db = await Context();
        return await db.Runs.AsNoTracking().OrderBy(r => r.SubmittedAt).ThenBy(r => r.Trigger).ToListAsync();
    }
}

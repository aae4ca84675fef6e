using System.Net;
using System.Text.Json.Nodes;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Alerts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Alerts;
using ArmoFlow.Orchestrator.Models;
using ArmoFlow.Orchestrator.Runs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Alerts;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Models;
using ArmoFlow.Persistence.Runs;
using MassTransit;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Shouldly;
using Xunit;

namespace ArmoFlow.Orchestrator.Tests;

/// <summary>Evaluations of stored models: what they are made of, how they are judged, and that who is to know is told.</summary>
public sealed class AlertTests : ClockedDatabase
{
    private const string Secret = "a secret between the two";

    private AlertStore Store => Services.GetRequiredService<AlertStore>();
    private RunService Runs => Services.GetRequiredService<RunService>();

    [Fact]
    public async Task An_evaluation_has_the_model_s_parts_and_asks_only_for_what_it_needs()
    {
        Guid trained = await Train(score: 0.9);
        RunState run = await Find(await Runs.Submit(Evaluation(), default));
        run.Spec.Model.ShouldBe("m@1", "settled on a version");
        run.Spec.Objectives.ShouldBe(["a", "v"]);
        run.Spec.Backbone.ShouldBe(new BackboneSpec(Path.Combine(Folder, "backbone"), "bf16"),
            "the model's, with the type that its features had");
        run.Steps.Where(s => s.Status == StepStatus.Completed)
            .Select(s => s.Name)
            .ShouldBe([StepNames.Regression, StepNames.Decorrelation, StepNames.Gating]);
        run.Steps.Where(s => s.Reused).ShouldAllBe(s => s.Detail!.Contains(trained.ToString()));
        run.Artifacts[ArtifactNames.Gating].ShouldBe((await Find(trained)).Artifacts[ArtifactNames.Gating]);
        run.Artifacts[ArtifactNames.ModelFeaturesReport].ShouldBe((await Find(trained)).Artifacts[ArtifactNames.FeaturesReport]);
        (run.MayRemake(StepNames.Features), run.MayRemake(StepNames.Gating)).ShouldBe((true, false));
        (await Should.ThrowAsync<RegistryException>(() => Runs.Submit(Evaluation() with
        {
            Model = "m@7"
        }, default))).Message.ShouldContain("newest is 1");
    }

    [Fact]
    public async Task What_falls_below_its_gates_raises_one_alert_and_what_does_not_none()
    {
        await Train(score: 0.9);
        Guid good = await Evaluate(0.85, new PromotionSpec { MinimumScore = 0.8 }),
            bad = await Evaluate(0.7, new PromotionSpec { MinimumScore = 0.8 }), own = await Evaluate(0.4, null);
        await Task.WhenAll(Enumerable.Range(0, 4)
            .Select(_ => Task.Run(() => Services.GetRequiredService<EvaluationJudge>().JudgePending(default))));
        IReadOnlyList<ModelEvaluation> evaluations = await Store.Evaluations("m", 10, default);
        evaluations.ToDictionary(e => e.RunId, e => e.Holds)
            .ShouldBe(new Dictionary<Guid, bool?> { [good] = true, [bad] = false, [own] = false }, ignoreOrder: true);
        evaluations.Single(e => e.RunId == bad).Score.ShouldBe(0.7);
        IReadOnlyList<Alert> alerts = await Store.Alerts("m", 10, default);
        alerts.Select(a => a.RunId).ShouldBe([own, bad], ignoreOrder: true, "one for each, though four judged at once");
        alerts.Single(a => a.RunId == bad).Text.ShouldBe("m@1 is below its gates: benchmark score 0.7, at least 0.8");
        alerts.Single(a => a.RunId == own).Text
            .ShouldContain("at least 0.5", Case.Sensitive, "without gates of its own, those of the model's spec");
        (await Services.GetRequiredService<AuditStore>().Query("action = 'alert.raised'", null, 10, default)).Events.Count.ShouldBe(2);
    }

    [Fact]
    public async Task An_evaluation_that_cannot_be_judged_yet_keeps_nobody_else_waiting()
    {
        await Train(score: 0.9);
        Guid stuck = await Evaluate(0.7, new PromotionSpec { MinimumScore = 0.8 }),
            other = await Evaluate(0.7, new PromotionSpec { MinimumScore = 0.8 });
        await using (ArmoFlowDbContext db = await Context())
        {
            RunState run = await db.Runs.SingleAsync(r => r.CorrelationId == stuck, TestContext.Current.CancellationToken);
            run.Artifacts[ArtifactNames.BenchmarkOutcomes] = new ArtifactRef(new string('0', 64), 1);
            await db.SaveChangesAsync(TestContext.Current.CancellationToken);
        }
        await Services.GetRequiredService<EvaluationJudge>().JudgePending(default);
        (await Store.Alerts("m", 10, default)).Select(a => a.RunId).ShouldBe([other]);
        (await Store.Pending(default)).ShouldBe([stuck], "it is tried again");
    }

    [Fact]
    public async Task A_webhook_that_is_away_is_told_when_it_is_back_and_can_tell_who_told_it()
    {
        List<(string Body, string Signature, string Timestamp, string Delivery)> received = [];
        bool isDown = true;
        await using WebApplication receiver = await Receiver(async context =>
        {
            using StreamReader reader = new(context.Request.Body);
            string body = await reader.ReadToEndAsync();
            if (!isDown)
            {
                lock (received)
                {
                    received.Add((body, context.Request.Headers["X-ArmoFlow-Signature"]!,
                        context.Request.Headers["X-ArmoFlow-Timestamp"]!, context.Request.Headers["X-ArmoFlow-Delivery"]!));
                }
            }
            context.Response.StatusCode = isDown ? StatusCodes.Status503ServiceUnavailable : StatusCodes.Status204NoContent;
        });
        await Train(score: 0.9);
        await Evaluate(0.7, new PromotionSpec { MinimumScore = 0.8 }, receiver.Urls.Single() + "/hook");
        using AlertDelivery delivery = Delivery(allowsLocal: true);
        await Judge();
        for (int i = 0; i < 3; i++)
        {
            await delivery.Round(default);
            Alert waiting = (await Store.Alerts("m", 1, default)).Single();
            (waiting.Attempts, waiting.LastError, waiting.DeliveredAt).ShouldBe((i + 1, "answered 503", null));
            await delivery.Round(default); // not before its time
            (await Store.Alerts("m", 1, default)).Single().Attempts.ShouldBe(i + 1);
            Time.SetUtcNow(waiting.NextAttemptAt!.Value);
        }
        isDown = false;
        await delivery.Round(default);
        await delivery.Round(default);
        (string body, string signature, string timestamp, string id) = received.ShouldHaveSingleItem();
        signature.ShouldBe(AlertDelivery.Sign(Secret, timestamp, body));
        signature.ShouldNotBe(AlertDelivery.Sign("another", timestamp, body));
        id.ShouldBe("1");
        JsonNode.Parse(body)!["text"]!.GetValue<string>().ShouldContain("benchmark score 0.7");
        Alert told = (await Store.Alerts("m", 1, default)).Single();
        (told.Attempts, told.NextAttemptAt, told.LastError).ShouldBe((4, null, null));
        told.DeliveredAt.ShouldBe(Time.GetUtcNow());
    }

    [Fact]
    public async Task A_webhook_that_never_answers_is_given_up_in_the_end()
    {
        await Train(score: 0.9);
        await Evaluate(0.7, new PromotionSpec { MinimumScore = 0.8 }, "http://127.0.0.1:9/hook");
        using AlertDelivery delivery = Delivery(allowsLocal: false);
        await Judge();
        await delivery.Round(default);
        (await Store.Alerts("m", 1, default)).Single().LastError!.ShouldContain("loopback or link-local");
        Time.Advance(AlertStore.Patience + TimeSpan.FromMinutes(1));
        await delivery.Round(default);
        (await Store.Alerts("m", 1, default)).Single().NextAttemptAt.ShouldBeNull();
        (await Services.GetRequiredService<AuditStore>().Query("action = 'alert.given-up'", null, 10, default)).Events.Count.ShouldBe(1);
    }

    [Fact]
    public async Task A_receiver_that_hangs_or_trickles_holds_up_neither_the_others_nor_the_judging()
    {
        TaskCompletionSource isTold = new(), mayEnd = new();
        await using WebApplication hangs = await Receiver(context => mayEnd.Task.WaitAsync(context.RequestAborted));
        await using WebApplication trickles = await Receiver(async context =>
        {
            context.Response.ContentLength = 1000;
            while (!mayEnd.Task.IsCompleted)
            {
                await context.Response.Body.WriteAsync("."u8.ToArray(), context.RequestAborted);
                await context.Response.Body.FlushAsync(context.RequestAborted);
                await Task.WhenAny(mayEnd.Task, Task.Delay(50, context.RequestAborted));
            }
        });
        await using WebApplication breaks = await Receiver(context =>
        {
            context.Response.StatusCode = StatusCodes.Status500InternalServerError;
            return Task.CompletedTask;
        });
        await using WebApplication works = await Receiver(context =>
        {
            isTold.TrySetResult();
            return Task.CompletedTask;
        });
        PromotionSpec gates = new() { MinimumScore = 0.8 };
        await Train(score: 0.9);
        Guid toHanging = await Evaluate(0.1, gates, hangs.Urls.Single());
        Guid toTrickling = await Evaluate(0.2, gates, trickles.Urls.Single()), toBroken = await Evaluate(0.3, gates, breaks.Urls.Single());
        Guid toWorking = await Evaluate(0.4, gates, works.Urls.Single());
        Guid alsoToHanging = await Evaluate(0.5, gates, hangs.Urls.Single());
        await Judge();
        using AlertDelivery delivery = Delivery(allowsLocal: true, limit: TimeSpan.FromSeconds(2));
        Task round = delivery.Round(TestContext.Current.CancellationToken);
        await isTold.Task.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        round.IsCompleted.ShouldBeFalse("one receiver still hangs");
        Guid later = await Evaluate(0.6, gates);
        await Judge();
        (await Store.Alerts("m", 10, default)).ShouldContain(a => a.RunId == later, "though nobody has answered yet");
        await round.WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken);
        mayEnd.SetResult();

        Dictionary<Guid, Alert> alerts = (await Store.Alerts("m", 10, default)).ToDictionary(a => a.RunId);
        alerts[toHanging].LastError.ShouldBe("no answer within 2 s");
        alerts[alsoToHanging].Attempts.ShouldBe(1, "one after the other");
        alerts[toTrickling].DeliveredAt.ShouldNotBeNull("its status was success, and the rest of its answer is not waited for");
        alerts[toBroken].LastError.ShouldBe("answered 500");
        alerts[toWorking].DeliveredAt.ShouldNotBeNull();
        alerts.Values.ShouldAllBe(a => a.Webhook == null || a.Attempts == 1);
    }

    [Fact]
    public async Task A_webhook_is_tried_a_bounded_number_of_times_whatever_the_clock_says()
    {
        await Train(score: 0.9);
        await Evaluate(0.7, new PromotionSpec { MinimumScore = 0.8 }, "http://127.0.0.1:9/hook");
        await Judge();
        Alert alert = (await Store.Alerts("m", 1, default)).Single();
        for (int i = 0; i < AlertStore.MostAttempts - 1; i++) await Store.Settle(alert, "answered 500", default);
        (await Store.Alerts("m", 1, default)).Single().NextAttemptAt.ShouldNotBeNull();
        await Store.Settle(alert, "answered 500", default);
        (await Store.Alerts("m", 1, default)).Single().NextAttemptAt.ShouldBeNull();
        (await Services.GetRequiredService<AuditStore>().Query("action = 'alert.given-up'", null, 10, default)).Events.Count.ShouldBe(1);
    }

    /// <summary>A post that took longer than its claim: another one was begun, and both arrived.</summary>
    [Fact]
    public async Task An_alert_that_is_posted_twice_has_arrived_once()
    {
        await Train(score: 0.9);
        await Evaluate(0.7, new PromotionSpec { MinimumScore = 0.8 }, "http://127.0.0.1:9/hook");
        await Judge();
        Alert alert = (await Store.Alerts("m", 1, default)).Single();
        await Store.Settle(alert, null, default);
        await Store.Settle(alert, null, default);
        await Store.Settle(alert, "answered 500", default);
        Alert settled = (await Store.Alerts("m", 1, default)).Single();
        (settled.Attempts, settled.LastError, settled.NextAttemptAt).ShouldBe((1, null, null));
        (await Services.GetRequiredService<AuditStore>().Query("action = 'alert.delivered'", null, 10, default)).Events.Count.ShouldBe(1);
    }

    [Theory]
    [InlineData("127.0.0.1", false)]
    [InlineData("127.8.9.1", false)]
    [InlineData("0.0.0.0", false)]
    [InlineData("169.254.169.254", false)]
    [InlineData("224.0.0.1", false)]
    [InlineData("::1", false)]
    [InlineData("::", false)]
    [InlineData("fe80::1", false)]
    [InlineData("::ffff:127.0.0.1", false)]
    [InlineData("::ffff:169.254.169.254", false)]
    [InlineData("10.1.2.3", true)]
    [InlineData("93.184.216.34", true)]
    [InlineData("2606:2800:220:1:248:1893:25c8:1946", true)]
    public void Webhooks_reach_no_address_of_this_machine_or_its_link(string address, bool isPublic) =>
        WebhookGuard.IsPublic(IPAddress.Parse(address)).ShouldBe(isPublic);

    [Fact]
    public async Task A_name_or_a_redirect_that_leads_back_here_leads_nowhere()
    {
        int reached = 0;
        await using WebApplication inside = await Receiver(context =>
        {
            Interlocked.Increment(ref reached);
            return Task.CompletedTask;
        });
        int port = new Uri(inside.Urls.Single()).Port;
        using HttpClient guarded = WebhookGuard.NewClient(allowsLocal: false);
        foreach (string host in new[] { "localhost", "127.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433" })
        {
            await Should.ThrowAsync<HttpRequestException>(() => guarded.PostAsync(new Uri($"http://{host}:{port}/"), null,
                TestContext.Current.CancellationToken), host);
        }
        await using WebApplication redirecting = await Receiver(context =>
        {
            context.Response.Redirect(inside.Urls.Single());
            return Task.CompletedTask;
        });
        using HttpClient open = WebhookGuard.NewClient(allowsLocal: true);
        using HttpResponseMessage response =
            await open.PostAsync(new Uri(redirecting.Urls.Single()), null, TestContext.Current.CancellationToken);
        response.StatusCode.ShouldBe(HttpStatusCode.Found);
        reached.ShouldBe(0);
    }

    [Fact]
    public async Task A_promotion_that_two_must_ask_for_waits_for_the_second()
    {
        await Train(score: 0.9, new PromotionSpec { Approvals = 2, MinimumScore = 0.5 });
        ModelService models = Services.GetRequiredService<ModelService>();
        ModelRegistry registry = Services.GetRequiredService<ModelRegistry>();
        Caller.Current = new Caller("ada");
        (await models.Promote("m@1", "champion", force: false, "looks good", default)).Waiting.ShouldBe(["ada"]);
        (await models.Promote("m@1", "champion", force: false, "still does", default)).Waiting.ShouldBe(["ada"],
            "one and the same is not two");
        (await models.Promote("m@1", "champion", force: true, "in a hurry", default)).Promoted.ShouldBeFalse("nor is force");
        (await registry.At("m", "champion", Time.GetUtcNow(), null, default)).ShouldBeNull();
        Caller.Current = new Caller("grace");
        (await models.Promote("m@1", "champion", force: false, null, default)).Promoted.ShouldBeTrue();
        (await registry.At("m", "champion", Time.GetUtcNow(), null, default))!.DecidedBy.ShouldBe("ada, grace");
        IReadOnlyList<AuditEventDocument> events = (await Services.GetRequiredService<AuditStore>()
            .Query("subject = 'model/m' AND action IN ('model.approved','model.promoted')", null, 10, default)).Events;
        events.Select(e => (e.Actor, e.Action))
            .ShouldBe([("grace", "model.promoted"), ("grace", "model.approved"), ("ada", "model.approved")]);
        events[0].After!.ShouldContain("\"approvedBy\":[\"ada\",\"grace\"]");
    }

    [Fact]
    public async Task A_version_is_promoted_by_the_rule_of_its_spec_or_refused_with_an_alert_and_once()
    {
        PromotionSpec rule = new() { Automatic = "champion", MinimumScore = 0.5 };
        ModelRegistry registry = Services.GetRequiredService<ModelRegistry>();
        Caller.Current = new Caller("ada");
        await Train(score: 0.9, rule);
        await Apply();
        AliasPeriod first = (await registry.At("m", "champion", Time.GetUtcNow(), null, default))!;
        (first.Version, first.DecidedBy, first.Reason).ShouldBe((1, "armoflow", "the rule of its spec (promotion.automatic)"));
        first.Evidence.ShouldContain("benchmark score 0.9, at least 0.5");

        Time.Advance(TimeSpan.FromDays(1));
        Guid worse = await Train(score: 0.4, rule);
        await Apply();
        (await registry.At("m", "champion", Time.GetUtcNow(), null, default))!.Version.ShouldBe(1);
        Alert alert = (await Store.Alerts("m", 10, default)).ShouldHaveSingleItem();
        (alert.Kind, alert.RunId, alert.Text).ShouldBe((AlertKind.PromotionRefused, worse,
            "m@2 was not promoted to champion: benchmark score 0.4, at least 0.5"));

        Time.Advance(TimeSpan.FromDays(1));
        await Train(score: 0.95, rule);
        await Apply();
        (await registry.At("m", "champion", Time.GetUtcNow(), null, default))!.Version.ShouldBe(3);
        await registry.RollBack("m", "champion", "something else is wrong with it", default);
        await Apply();
        (await registry.At("m", "champion", Time.GetUtcNow(), null, default))!.Version.ShouldBe(1, "what somebody decides stays");
        (await Services.GetRequiredService<AuditStore>()
            .Query("subject = 'model/m' AND action IN ('model.promoted','model.refused')", null, 10, default)).Events
            .Select(e => (e.Actor, e.Action))
                .ShouldBe([("armoflow", "model.promoted"), ("armoflow", "model.refused"), ("armoflow", "model.promoted")]);

        Task Apply() =>
            Task.WhenAll(Enumerable.Range(0, 4)
                .Select(_ => Task.Run(() => Services.GetRequiredService<PromotionRules>().ApplyPending(default))));
    }

    [Fact]
    public async Task A_version_whose_promotion_was_cut_short_is_not_promoted_twice()
    {
        PromotionSpec rule = new() { Automatic = "champion" };
        ModelRegistry registry = Services.GetRequiredService<ModelRegistry>();
        await Train(score: 0.9, rule);
        await Train(score: 0.9, rule);
        ModelVersion second = await registry.Resolve("m@2", default);
        await registry.MoveAlias(second, "champion", "by the rule, before its process was killed", Array.Empty<GateVerdict>(),
            "model.promoted", default);
        await registry.MoveAlias(await registry.Resolve("m@1", default), "champion", "rolled back since", Array.Empty<GateVerdict>(),
            "model.rolled-back", default);
        await Services.GetRequiredService<PromotionRules>().ApplyPending(default);
        (await registry.At("m", "champion", Time.GetUtcNow(), null, default))!.Version.ShouldBe(1);
        (await registry.Awaiting(default)).ShouldBeEmpty();
    }

    [Fact]
    public async Task A_submission_asked_for_twice_under_one_key_is_one_run()
    {
        Caller.Current = new Caller("ada");
        Guid[] runs = await Task.WhenAll(Enumerable.Range(0, 6).Select(_ => Task.Run(() => Runs.Submit(Spec(null), "tuesday", default))));
        runs.Distinct().Count().ShouldBe(1);
        (await Should.ThrowAsync<SubmissionKeyException>(() => Runs.Submit(Spec(null) with
        {
            Name = "other"
        }, "tuesday", default))).Message.ShouldContain(runs[0].ToString());
        Caller.Current = new Caller("grace");
        (await Runs.Submit(Spec(null), "tuesday", default)).ShouldNotBe(runs[0], "keys are the caller's own");
        await using ArmoFlowDbContext db = await Context();
        (await db.Runs.CountAsync(TestContext.Current.CancellationToken)).ShouldBe(2);
        (await db.OutboxMessages.CountAsync(TestContext.Current.CancellationToken)).ShouldBe(2);
    }

    private AlertDelivery Delivery(bool allowsLocal, TimeSpan? limit = null)
    {
        WebhookOptions options = new(Secret, allowsLocal);
        if (limit is { } most) options = options with { Limit = most };
        return new AlertDelivery(Store, new AlertSignal(), options, Time, NullLogger<AlertDelivery>.Instance);
    }

    private async Task Judge()
    {
        EvaluationJudge judge = Services.GetRequiredService<EvaluationJudge>();
        PromotionRules rules = Services.GetRequiredService<PromotionRules>();
        using Judging judging = new(judge, rules, new JudgeSignal(), new AlertSignal(), NullLogger<Judging>.Instance);
        await judging.Round(default);
    }

    private RunSpec Spec(PromotionSpec? gates) =>
        new()
        {
            Name = "m",
            Folder = Folder,
            Objectives = ["a", "v"],
            Backbone = new BackboneSpec("backbone"),
            Ratings = [],
            Preferences = [],
            Promotion = gates
        };

    private static RunSpec Evaluation(PromotionSpec? gates = null, string? webhook = null) => new()
    {
        Name = "nightly",
        Folder = "/elsewhere",
        Model = "m",
        Backbone = BackboneSpec.OfModel,
        Ratings = [],
        Preferences = [],
        Benchmark = new BenchmarkSpec { Files = ["b.jsonl"], Format = "rewardbench", MaxDroppedShare = 0 },
        Promotion = gates,
        Alerts = webhook is null ? null : new AlertsSpec(webhook),
    };

    /// <summary>A run that has trained a model, as its saga leaves it.</summary>
    private async Task<Guid> Train(double score, PromotionSpec? gates = null)
    {
        Guid id = await Runs.Submit(Spec(gates ?? new PromotionSpec { MinimumScore = 0.5 }), default);
        ArtifactStore store = Services.GetRequiredService<ArtifactStore>();
        await using ArmoFlowDbContext db = await Context();
        RunState run = await db.Runs.SingleAsync(r => r.CorrelationId == id);
        foreach (string name in ArtifactNames.ModelParts.Append(ArtifactNames.FeaturesReport))
            run.Artifacts[name] = await store.PutText($"{name} of {id}");
        foreach (RunStep step in run.Steps) (step.Status, step.Key) = (StepStatus.Completed, $"key of {step.Name}");
        run.Metrics = new JsonObject { ["features"] = new JsonObject { ["dtype"] = "bf16" }, ["evaluation"] = Figures(score) };
        run.CurrentState = "Completed";
        await ModelRegistry.Enter(db, run, Time.GetUtcNow(), default);
        await db.SaveChangesAsync();
        return id;
    }

    private async Task<Guid> Evaluate(double score, PromotionSpec? gates, string? webhook = null)
    {
        Guid id = await Runs.Submit(Evaluation(gates, webhook), default);
        await using ArmoFlowDbContext db = await Context();
        RunState run = await db.Runs.SingleAsync(r => r.CorrelationId == id);
        run.Metrics["evaluation"] = Figures(score);
        run.CurrentState = "Completed";
        await AlertStore.Open(db, run, Time.GetUtcNow(), default);
        await db.SaveChangesAsync();
        return id;
    }

    private static JsonObject Figures(double score) =>
        new() { ["scorers"] = new JsonObject { ["gate"] = new JsonObject { ["benchmark"] = new JsonObject { ["score"] = score } } } };

    private async Task<RunState> Find(Guid id)
    {
        await using ArmoFlowDbContext db = await Context();
        return await db.Runs.AsNoTracking().SingleAsync(r => r.CorrelationId == id);
    }

    private static async Task<WebApplication> Receiver(RequestDelegate answer)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseUrls("http://127.0.0.1:0");
        WebApplication app = builder.Build();
        app.Run(answer);
        await app.StartAsync();
        return app;
    }
}

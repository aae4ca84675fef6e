using System.CommandLine;
using ArmoFlow.Cli.Workspaces;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Orchestrator;
using ArmoFlow.Orchestrator.Access;
using ArmoFlow.Orchestrator.Api;
using ArmoFlow.Orchestrator.Runs;
using ArmoFlow.Orchestrator.Schedules;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Runs;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;

namespace ArmoFlow.Cli.Commands;

internal static class ServeCommand
{
    public static Command Serve()
    {
        Option<string> urls = new("--urls") { Description = "Where to listen.", DefaultValueFactory = _ => "http://localhost:5080" };
        Option<bool> requireKeys = ServerHost.RequireKeysOption();
        Command command = new("serve", "Orchestrator, workers and HTTP API in one process, on a workspace.") { urls, requireKeys,
            ClientOptions.Workspace };
        command.SetAction(async (parsed, cancel) =>
        {
            using Workspace folder = new(parsed.WorkspaceFolder());
            if (!await folder.TakeLock(cancel))
            {
                throw new UsageException(
                    $"workspace {folder.Folder} is in use by another process. Stop it first, or use another --workspace.");
            }
            WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
            builder.WebHost.UseKestrelCore().UseUrls(parsed.GetRequiredValue(urls).Split(';'));
            EmbeddedHost.Configure(builder.Services, builder.Logging, folder);
            AccessPolicy policy = ServerHost.PolicyOf(parsed.GetRequiredValue(urls), parsed.GetValue(requireKeys));
            builder.Services.AddTelemetry("serve", isScraped: true).AddSchedules(null).AddAccess(policy).AddRunsApi();
            await using WebApplication app = builder.Build();
            app.MapRunsApi();
            await app.Services.GetRequiredService<DatabaseSchema>().PrepareWorkspace(cancel);
            await ServerHost.RequireKey(app.Services, policy, cancel);
            Caller.Current = Caller.System;
            await app.StartAsync(cancel);
            RunService service = app.Services.GetRequiredService<RunService>();
            foreach (Guid id in await app.Services.GetRequiredService<RunQueries>().Interrupted(cancel))
                await service.Control(id, RunAction.Resume, cancel);
            Console.Error.WriteLine($"serving {folder.Folder} on {string.Join(", ", app.Urls)}; API: {app.Urls.First()}/openapi/v1.json");
            try { await Task.Delay(Timeout.Infinite, cancel); }
            catch (OperationCanceledException)
                when (cancel.IsCancellationRequested)
            { Console.Error.WriteLine("stopping; runs in progress go on at the next start"); }
            await app.StopAsync(CancellationToken.None);
            return ExitCodes.Done;
        });
        return command;
    }
}

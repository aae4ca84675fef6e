using Microsoft.Extensions.DependencyInjection;

namespace ArmoFlow.Cli.Runs;

/// <summary>The same question to a workspace's database or to a server.</summary>
internal static class Books
{
    /// <param name="server">The server's address; null for the workspace.</param>
    /// <param name="workspace">The workspace's folder.</param>
    /// <param name="here">Asks the database.</param>
    /// <param name="there">Asks the server.</param>
    public static async Task<T> Ask<T>(string? server, string workspace, Func<ServiceProvider, Task<T>> here,
        Func<ServerClient, Task<T>> there)
    {
        if (server is not null)
        {
            await using ServerClient client = new(server);
            return await there(client);
        }
        await using ServiceProvider books = await EmbeddedHost.OpenDatabase(workspace);
        return await here(books);
    }

    /// <summary>As <see cref="Ask"/>, but a workspace that is not there is made.</summary>
    public static async Task<T> Change<T>(string? server, string workspace, Func<ServiceProvider, Task<T>> here,
        Func<ServerClient, Task<T>> there, CancellationToken cancel)
    {
        if (server is null) await EmbeddedHost.Make(workspace, cancel);
        return await Ask(server, workspace, here, there);
    }
}

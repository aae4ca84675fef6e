using ArmoFlow.Client;
using Microsoft.Extensions.DependencyInjection;

namespace ArmoFlow.Orchestrator.Clients;

/// <summary>
/// Answers from the records themselves: those of the server that this is part of, or of a workspace. Scopes are not asked for: whoever
/// holds the records may read them, and what is changed is entered under the caller's name.
/// </summary>
public partial class RecordsClient(IServiceProvider services) : IArmoFlowClient
{
    /// <summary>What the answers come from.</summary>
    protected virtual IServiceProvider Services => services;

    protected T Get<T>() where T : notnull => Services.GetRequiredService<T>();

    public virtual ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        return ValueTask.CompletedTask;
    }
}

using ArmoFlow.Persistence;

namespace ArmoFlow.Orchestrator.Clients;

/// <summary>There is no run of an id.</summary>
public sealed class UnknownRunException(Guid id) : RefusedException($"no run {id}. See: armoflow runs list.", Refusal.Missing);

/// <summary>An artifact is gone from the store; the message says why.</summary>
public sealed class ArtifactGoneException(string message) : RefusedException(message, Refusal.Missing);

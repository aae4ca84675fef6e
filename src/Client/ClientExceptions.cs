using System.Net;

namespace ArmoFlow.Client;

/// <summary>A server refused what was asked of it; the message says why and what to do.</summary>
/// <param name="status">What it answered.</param>
/// <param name="message">In the server's words.</param>
public sealed class RequestRefusedException(HttpStatusCode status, string message) : Exception(message)
{
    /// <summary>What the server answered.</summary>
    public HttpStatusCode Status { get; } = status;
}

/// <summary>A server failed, or did not answer in time: the same request may do later.</summary>
/// <param name="message">What happened.</param>
public sealed class ServerUnavailableException(string message) : Exception(message);

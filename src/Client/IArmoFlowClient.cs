namespace ArmoFlow.Client;

/// <summary>
/// Everything that can be asked of ArmoFlow, whoever answers: a server over HTTP (<see cref="ArmoFlowClient"/>), or the records of a
/// workspace. Times are UTC, sha256 are lower-case hex, names are those of the HTTP API.
/// </summary>
/// <remarks>
/// What is refused is an exception whose message says what was found, what was expected and what to do. Over HTTP that is
/// <see cref="RequestRefusedException"/>; a server that does not answer is <see cref="ServerUnavailableException"/>.
/// </remarks>
public partial interface IArmoFlowClient : IAsyncDisposable
{
}

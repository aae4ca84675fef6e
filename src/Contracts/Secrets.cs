using System.Text.RegularExpressions;

namespace ArmoFlow.Contracts;

/// <summary>The one place where addresses and connection strings lose their passwords before anybody is shown them.</summary>
public static partial class Secrets
{
    private const string Hidden = "***";
    private const string SecretNames =
        "password|passwd|pwd|passphrase|secret|token|api[_-]?key|access[_-]?key|secret[_-]?key|signature|sig";

    /// <summary>
    /// A text without the secrets in it: passwords of addresses (scheme://user:password@host), values of Password=, Token= and their
    /// like in connection strings and queries, keys of this API.
    /// </summary>
    public static string Mask(string text)
    {
        text = Bearer().Replace(text, $"$1{Hidden}");
        text = ApiKey().Replace(text, $"armoflow_$1_{Hidden}");
        text = Assignment().Replace(text, $"$1{Hidden}");
        text = UserAndPassword().Replace(text, $"$1:{Hidden}@");
        return UserAlone().Replace(text, $"$1{Hidden}@");
    }

    /// <summary>An address whose path and query are the secret, as those of webhooks often are: scheme and host alone.</summary>
    public static string? HostOf(string? address)
    {
        if (address is null) return null;
        if (!Uri.TryCreate(address, UriKind.Absolute, out Uri? uri)) return Hidden;
        string rest = uri.PathAndQuery == "/" ? "" : Hidden;
        return $"{uri.Scheme}://{uri.Authority}/{rest}";
    }

    [GeneratedRegex(@"(\bbearer\s+)[^\s,;'""]+", RegexOptions.IgnoreCase)]
    private static partial Regex Bearer();

    [GeneratedRegex(@"\barmoflow_([0-9a-f]{4,})_[0-9a-f]{16,}\b")]
    private static partial Regex ApiKey();

    // Quoted values may hold separators; unquoted ones end at the next.
    [GeneratedRegex(@"(\b(?:" + SecretNames + @")\s*=\s*)(?:""[^""]*""|'[^']*'|[^;&\s'""]+)", RegexOptions.IgnoreCase)]
    private static partial Regex Assignment();

    // Up to the last '@' of the word: a password may hold one, and a '/' too where somebody forgot to write it as %2F; a port does not.
    [GeneratedRegex(@"(://[^\s:/@'""]*):(?!\d+/)[^\s'""]+@(?=[^\s@])")]
    private static partial Regex UserAndPassword();

    [GeneratedRegex(@"(://)[^\s:/@'""]+@(?=[^\s@])")]
    private static partial Regex UserAlone();
}

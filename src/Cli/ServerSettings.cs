using System.CommandLine;
using System.Globalization;
using ArmoFlow.Persistence;
using Microsoft.Extensions.Configuration;

namespace ArmoFlow.Cli;

/// <summary>
/// Where the servers are: from flags, else ARMOFLOW_RABBITMQ, ARMOFLOW_POSTGRES, ARMOFLOW_ARTIFACTS and ARMOFLOW_CACHE, else
/// the section "ArmoFlow" of appsettings.json in the current folder.
/// </summary>
internal sealed record ServerSettings(string RabbitMq, string Postgres, string Artifacts, TimeSpan Wait)
{
    private static readonly Lazy<IConfiguration> File = new(() =>
    {
        try
        {
            return new ConfigurationBuilder()
                .SetBasePath(Directory.GetCurrentDirectory())
                .AddJsonFile("appsettings.json", optional: true)
                .Build();
        }
        catch (InvalidDataException e)
        {
            throw new UsageException($"appsettings.json: {e.InnerException?.Message ?? e.Message}. Correct its JSON.");
        }
    });

    /// <summary>Where artifacts of a bucket are kept at hand.</summary>
    public CacheOptions Cache { get; } = new(
        Find("ARMOFLOW_CACHE", "Cache") ?? CacheOptions.Default.Folder,
        double.TryParse(Find("ARMOFLOW_CACHE_GB", "CacheGb"), CultureInfo.InvariantCulture, out double gigabytes)
            ? (long)(gigabytes * (1L << 30))
            : CacheOptions.Default.Bytes);

    public static Option<string?> RabbitMqOption() =>
        Configured("--rabbitmq", "ARMOFLOW_RABBITMQ", "RabbitMq", "amqp://user:password@host:port/vhost");
    public static Option<string?> PostgresOption() => Configured("--postgres", "ARMOFLOW_POSTGRES", "Postgres", "Npgsql connection string");
    public static Option<string?> ArtifactsOption() =>
        Configured("--artifacts", "ARMOFLOW_ARTIFACTS", "Artifacts", "a folder that all machines share, or s3://bucket/prefix");
    public static Option<int> WaitOption() =>
        new("--wait") { Description = "Seconds to wait for servers that are still starting.", DefaultValueFactory = _ => 60 };

    public static string Require(ParseResult parsed, Option<string?> option) => parsed.GetValue(option) is { Length: > 0 } value ? value
        : throw new UsageException(
            $"{option.Name} is missing: expected {option.Description}. Give it, or start private servers with: armoflow dev up.");

    private static Option<string?> Configured(string name, string variable, string key, string form) => new(name)
    {
        Description = $"{form} (default: ${variable}, or ArmoFlow:{key} in appsettings.json)",
        DefaultValueFactory = Options.Unshown(() => Find(variable, key)),
    };

    private static string? Find(string variable, string key) =>
        Environment.GetEnvironmentVariable(variable) is { Length: > 0 } value ? value : File.Value[$"ArmoFlow:{key}"];
}

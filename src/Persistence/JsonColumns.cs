using System.Text.Json;
using Microsoft.EntityFrameworkCore.ChangeTracking;
using Microsoft.EntityFrameworkCore.Metadata.Builders;

namespace ArmoFlow.Persistence;

/// <summary>Columns that hold a value as JSON.</summary>
internal static class JsonColumns
{
    private static readonly JsonSerializerOptions Json = JsonSerializerOptions.Web;

    /// <summary>Keeps a property as JSON.</summary>
    /// <param name="property">The property.</param>
    /// <param name="isReplacedWhole">True for a value that is never changed in place: comparing references is enough then.</param>
    public static void AsJson<T>(this PropertyBuilder<T> property, bool isReplacedWhole = false) where T : class? =>
        property.HasConversion(
            value => JsonSerializer.Serialize(value, Json),
            text => JsonSerializer.Deserialize<T>(text, Json)!,
            isReplacedWhole ? ByReference<T>() : ByContents<T>());

    private static ValueComparer<T> ByReference<T>() where T : class? =>
        new((a, b) => ReferenceEquals(a, b), v => v!.GetHashCode(), v => v);

    private static ValueComparer<T> ByContents<T>() where T : class? => new(
        (a, b) => JsonSerializer.Serialize(a, Json) == JsonSerializer.Serialize(b, Json),
        v => JsonSerializer.Serialize(v, Json).GetHashCode(StringComparison.Ordinal),
        v => JsonSerializer.Deserialize<T>(JsonSerializer.Serialize(v, Json), Json)!);
}

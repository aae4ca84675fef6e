using System.Reflection;
using System.Text.Json.Serialization;

namespace ArmoFlow.Contracts;

/// <summary>Members of enumerations as JSON, the database and messages spell them.</summary>
public static class EnumText
{
    /// <summary>The spelling of a member.</summary>
    public static string Text<T>(this T value) where T : struct, Enum => Spellings<T>.Texts[value];

    /// <summary>All spellings, in the order of the members.</summary>
    public static IReadOnlyList<string> All<T>() where T : struct, Enum => [.. Enum.GetValues<T>().Select(Text)];

    /// <summary>The member that is spelled exactly so; null where there is none.</summary>
    public static T? Find<T>(string text) where T : struct, Enum =>
        Spellings<T>.Values.TryGetValue(text, out T value) ? value : null;

    /// <summary>The member that is spelled exactly so.</summary>
    /// <exception cref="FormatException">There is none.</exception>
    public static T Parse<T>(string text) where T : struct, Enum =>
        Find<T>(text) ?? throw new FormatException($"'{text}': expected one of {string.Join(", ", All<T>())}.");

    private static class Spellings<T> where T : struct, Enum
    {
        public static readonly Dictionary<T, string> Texts = Enum.GetValues<T>().ToDictionary(v => v, SpellingOf);
        public static readonly Dictionary<string, T> Values = Texts.ToDictionary(t => t.Value, t => t.Key, StringComparer.Ordinal);

        private static string SpellingOf(T value)
        {
            string name = value.ToString();
            return typeof(T).GetField(name)!.GetCustomAttribute<JsonStringEnumMemberNameAttribute>()?.Name ?? name;
        }
    }
}

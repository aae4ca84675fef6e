using System.Reflection;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization.Metadata;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Tests;
using Xunit;

namespace ArmoFlow.Contracts.Tests;

/// <summary>
/// Messages that wait in queues, specs in the database and documents that scripts read: the names on the wire and their members.
/// A message's full type name is its address.
/// </summary>
public class GoldenTests
{
    [Fact]
    public void Every_type_of_the_contracts_has_the_members_on_the_wire_that_it_had() =>
        Golden.CheckKnown("wire.json", MembersOf(type => !IsDocument(type)));

    [Fact]
    public void Every_document_and_request_of_HTTP_has_the_members_that_it_had() =>
        Golden.Check("documents.json", MembersOf(IsDocument));

    private static bool IsDocument(Type type) => type.Namespace == typeof(RunPage).Namespace;

    private static JsonObject MembersOf(Func<Type, bool> wanted)
    {
        JsonObject types = [];
        IEnumerable<Type> data = typeof(RunSpec).Assembly.GetExportedTypes().Where(IsData).Where(wanted);
        foreach (Type type in data.OrderBy(t => t.FullName, StringComparer.Ordinal))
        {
            JsonTypeInfo wire = JsonSerializerOptions.Web.GetTypeInfo(type);
            if (wire.Kind == JsonTypeInfoKind.Object)
            {
                types.Add(type.FullName!,
                    new JsonObject(wire.Properties.Select(p => KeyValuePair.Create(p.Name,
                        (JsonNode?)((p.IsRequired ? "required " : "") + NameOf(p.PropertyType))))));
            }
            else if (type.IsEnum)
                types.Add(type.FullName!, new JsonArray([.. Enum.GetNames(type).Select(n => (JsonNode?)n)]));
        }
        return types;
    }

    private static bool IsData(Type type) =>
        type.IsEnum
            || (type is { IsAbstract: false, IsGenericTypeDefinition: false }
                && type.GetMethod("<Clone>$", BindingFlags.Public | BindingFlags.Instance) is not null);

    /// <summary>
    /// What stands in the JSON, so that a string may become an enum or a type of its own that is written as the same text.
    /// </summary>
    private static string NameOf(Type type)
    {
        if (type == typeof(JsonElement) || type.IsAssignableTo(typeof(JsonNode))) return "any";
        // an enum that may be left out was a text that may be
        if (Nullable.GetUnderlyingType(type) is { } value) return NameOf(value) + (value.IsEnum ? "" : "?");
        JsonTypeInfo wire = JsonSerializerOptions.Web.GetTypeInfo(type);
        return wire.Kind switch
        {
            JsonTypeInfoKind.Enumerable => NameOf(wire.ElementType!) + "[]",
            JsonTypeInfoKind.Dictionary => $"{{ {NameOf(wire.KeyType!)}: {NameOf(wire.ElementType!)} }}",
            JsonTypeInfoKind.Object => type.Name,
            _ => type.IsValueType ? KindOf(type) : type.Name.ToLowerInvariant(),
        };
    }

    private static string KindOf(Type type)
    {
        JsonElement written = JsonSerializer.SerializeToElement(Activator.CreateInstance(type), type, JsonSerializerOptions.Web);
        return written.ValueKind is JsonValueKind.Number or JsonValueKind.String
            ? written.ValueKind.ToString().ToLowerInvariant()
            : "boolean";
    }
}

using System.Text.Json.Serialization;

namespace ArmoFlow.Contracts;

/// <summary>Reads and writes an enumeration's members by their names alone: a number could be none of them.</summary>
public sealed class NamedEnumConverter<T>() : JsonStringEnumConverter<T>(namingPolicy: null, allowIntegerValues: false)
    where T : struct, Enum;

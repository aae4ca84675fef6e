namespace ArmoFlow.Contracts.Specs;

/// <summary>A spec that cannot be what its author meant: names file, line, what was found, what was expected, and the remedy.</summary>
public sealed class SpecException(string place, string found, string expected, string remedy)
    : Exception($"{place}: {found}; expected {expected}. {remedy}".TrimEnd());

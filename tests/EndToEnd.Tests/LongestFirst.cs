using ArmoFlow.EndToEnd.Tests;
using Xunit;
using Xunit.Sdk;
using Xunit.v3;

[assembly: TestCollectionOrderer(typeof(LongestFirst))]

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>Begins with the classes that take longest, so that none is left alone at the end.</summary>
public sealed class LongestFirst : ITestCollectionOrderer
{
    private static readonly string[] Long =
        [nameof(FaultInjectionTests), nameof(AttackTests), nameof(TourTests), nameof(WorkersTests), nameof(SweepTests), nameof(RunTests)];

    public IReadOnlyCollection<T> OrderTestCollections<T>(IReadOnlyCollection<T> testCollections) where T : ITestCollection =>
        [.. testCollections.OrderBy(Place)];

    private static int Place<T>(T collection) where T : ITestCollection
    {
        int place = Array.FindIndex(Long, name => collection.TestCollectionDisplayName.Contains($".{name}", StringComparison.Ordinal));
        return place < 0 ? Long.Length : place;
    }
}

using System.Reflection;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Orchestrator.Api;
using ArmoFlow.Persistence;
using Microsoft.AspNetCore.Http;
using Shouldly;
using Xunit;

namespace ArmoFlow.Orchestrator.Tests;

/// <summary>What HTTP answers is the contract of the API: a migration must not change it.</summary>
public class EndpointTests
{
    private static readonly Assembly Persistence = typeof(ArmoFlowDbContext).Assembly;

    [Fact]
    public void No_call_answers_with_a_row_of_the_database()
    {
        MethodInfo[] calls =
        [
            .. typeof(RunsApi).Assembly.GetTypes()
                .Where(t => t.Namespace == typeof(RunsApi).Namespace)
                .SelectMany(t => t.GetMethods(BindingFlags.DeclaredOnly | BindingFlags.Static | BindingFlags.Instance
                    | BindingFlags.Public | BindingFlags.NonPublic))
                .Where(m => m.ReturnType.IsAssignableTo(typeof(Task)) || m.ReturnType.IsAssignableTo(typeof(IResult))),
        ];
        calls.SelectMany(c => Within(c.ReturnType)).ShouldContain(typeof(ModelVersionDocument), "the calls' answers are looked at");
        calls.Where(c => Within(c.ReturnType).Any(t => t.Assembly == Persistence))
            .Select(c => $"{c.DeclaringType!.Name}.{c.Name}: {c.ReturnType}")
            .ShouldBeEmpty();
    }

    /// <summary>A type and all that it is made of: Task, Results, lists, elements.</summary>
    private static IEnumerable<Type> Within(Type type) =>
        type.GetGenericArguments()
            .SelectMany(Within)
            .Concat(type.GetElementType() is { } element ? Within(element) : [])
            .Prepend(type);
}

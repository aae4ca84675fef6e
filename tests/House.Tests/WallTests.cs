using System.Runtime.CompilerServices;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Shouldly;
using Xunit;

namespace ArmoFlow.House.Tests;

/// <summary>
/// How the source is laid out, so that a line is a thought. There is no list of exceptions; only EF's migrations, which a
/// generator writes, are not looked at.
/// </summary>
public sealed class WallTests
{
    private const int LongestLine = 140, LongestMethod = 40;

    private static readonly string[] Databases = ["Microsoft.EntityFrameworkCore", "Microsoft.Data.Sqlite", "Npgsql"];
    private static readonly string Root = FindRoot();
    private static readonly SyntaxTree[] Everything = Parse("src", "bench", "tests", "build");
    private static readonly SyntaxTree[] Program = Parse("src", "bench");

    private static string FindRoot([CallerFilePath] string path = "") =>
        Path.GetFullPath(Path.Combine(Path.GetDirectoryName(path)!, "../.."));

    private static SyntaxTree[] Parse(params string[] folders) =>
    [
        .. folders
            .SelectMany(f => Directory.EnumerateFiles(Path.Combine(Root, f), "*.cs", SearchOption.AllDirectories))
            .Where(f => !f.Contains("/Migrations/", StringComparison.Ordinal) && !f.Contains("/obj/", StringComparison.Ordinal))
            .Select(f => CSharpSyntaxTree.ParseText(File.ReadAllText(f), path: Path.GetRelativePath(Root, f))),
    ];

    [Fact]
    public void No_line_is_longer_than_140_columns() =>
        Everything
            .SelectMany(tree => tree.GetText().Lines
                .Where(line => line.Span.Length > LongestLine)
                .Select(line => $"{tree.FilePath}:{line.LineNumber + 1}"))
            .ShouldBeEmpty();

    [Fact]
    public void A_body_of_several_lines_stands_in_braces() =>
        Places(Everything, node => node.Parent switch
        {
            ElseClauseSyntax when node is IfStatementSyntax => false,
            UsingStatementSyntax when node is UsingStatementSyntax => false,
            IfStatementSyntax or ElseClauseSyntax or ForStatementSyntax or CommonForEachStatementSyntax or WhileStatementSyntax
                or DoStatementSyntax or UsingStatementSyntax or LockStatementSyntax or FixedStatementSyntax =>
                node is StatementSyntax and not BlockSyntax && Lines(node) > 1,
            _ => false,
        }).ShouldBeEmpty();

    [Fact]
    public void No_condition_and_no_loop_header_assigns() =>
        Places(Everything, node => node switch
        {
            IfStatementSyntax s => Assigns(s.Condition),
            WhileStatementSyntax s => Assigns(s.Condition),
            DoStatementSyntax s => Assigns(s.Condition),
            ForStatementSyntax { Condition: { } condition } s => Assigns(condition) || Initialisers(s).Any(Assigns),
            _ => false,
        }).ShouldBeEmpty();

    [Fact]
    public void A_ternary_holds_no_other() =>
        Places(Program, node => node is ConditionalExpressionSyntax && Around(node) is ConditionalExpressionSyntax).ShouldBeEmpty();

    [Fact]
    public void A_tuple_assigns_only_to_swap() =>
        Places(Program, node => node is AssignmentExpressionSyntax
        {
            Left: TupleExpressionSyntax targets,
            Right: TupleExpressionSyntax values,
        } && !targets.Arguments.Any(t => t.Expression is DeclarationExpressionSyntax || Mentions(values, t.Expression))).ShouldBeEmpty();

    /// <summary>Tables of data, such as routes, options and the saga, may be as long as they are: they decide nothing.</summary>
    [Fact]
    public void No_method_that_decides_something_has_40_lines() =>
        Places(Program, node => node is BaseMethodDeclarationSyntax or LocalFunctionStatementSyntax or AccessorDeclarationSyntax
            && Lines(node) >= LongestMethod
            && node.DescendantNodes().Any(Decides)).ShouldBeEmpty();

    private static bool Decides(SyntaxNode node) => node is IfStatementSyntax or SwitchStatementSyntax or TryStatementSyntax
        or ForStatementSyntax or CommonForEachStatementSyntax or WhileStatementSyntax or DoStatementSyntax;

    /// <summary>
    /// Every query and every line of SQL is in Persistence; decisions and clocks are in Orchestrator. Without these names nobody else
    /// can ask the database anything.
    /// </summary>
    [Fact]
    public void Only_Persistence_knows_the_database() =>
        Places(Program.Where(t => !t.FilePath.StartsWith("src/Persistence/", StringComparison.Ordinal)
                && !t.FilePath.StartsWith("bench/", StringComparison.Ordinal)),
            node => node switch
            {
                UsingDirectiveSyntax { Name: { } name } => Databases.Any(d => name.ToString().StartsWith(d, StringComparison.Ordinal)),
                QualifiedNameSyntax name => Databases.Contains(name.ToString()),
                IdentifierNameSyntax name => name.Identifier.ValueText is "ArmoFlowDbContext" or "PostgresDbContext",
                _ => false,
            }).ShouldBeEmpty();

    /// <summary>A store does what it is told: it names no queue, waits for no time and reads no setting of the process.</summary>
    [Fact]
    public void A_store_names_no_queue_and_decides_nothing_by_itself() =>
        Places(Program.Where(t => Path.GetFileName(t.FilePath).EndsWith("Store.cs", StringComparison.Ordinal)),
            node => node is MemberAccessExpressionSyntax { Expression: IdentifierNameSyntax type, Name.Identifier.ValueText: { } member }
                && char.IsUpper(type.Identifier.ValueText[0]) // a type's own: a row may have a column of this name
                && member is ("Queue" or "Delay" or "GetEnvironmentVariable")).ShouldBeEmpty();

    private static IEnumerable<string> Places(IEnumerable<SyntaxTree> trees, Func<SyntaxNode, bool> isWrong) =>
        trees.SelectMany(tree => tree.GetRoot()
            .DescendantNodes()
            .Where(isWrong)
            .Select(node => $"{tree.FilePath}:{tree.GetLineSpan(node.Span).StartLinePosition.Line + 1}"));

    private static int Lines(SyntaxNode node)
    {
        FileLinePositionSpan span = node.SyntaxTree.GetLineSpan(node.Span);
        return span.EndLinePosition.Line - span.StartLinePosition.Line + 1;
    }

    private static bool Assigns(ExpressionSyntax expression) =>
        expression.DescendantNodesAndSelf(n => n is not (LambdaExpressionSyntax or InitializerExpressionSyntax))
            .Any(n => n is AssignmentExpressionSyntax);

    private static IEnumerable<ExpressionSyntax> Initialisers(ForStatementSyntax loop) =>
        loop.Declaration?.Variables.Select(v => v.Initializer?.Value).OfType<ExpressionSyntax>() ?? [];

    private static SyntaxNode? Around(SyntaxNode node)
    {
        SyntaxNode? around = node.Parent;
        while (around is ParenthesizedExpressionSyntax) around = around.Parent;
        return around;
    }

    private static bool Mentions(SyntaxNode where, ExpressionSyntax what) =>
        where.DescendantNodes().Any(n => n is ExpressionSyntax && n.IsEquivalentTo(what, topLevel: false));
}

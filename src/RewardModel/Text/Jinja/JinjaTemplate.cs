using static ArmoFlow.RewardModel.Text.Jinja.JinjaValues;

namespace ArmoFlow.RewardModel.Text.Jinja;

/// <summary>What a statement does.</summary>
internal delegate void Statement(JinjaScope scope);

/// <summary>
/// A chat template in Jinja, of the part of that language that chat templates use. Whatever is not of that part is refused by name when
/// the template is read.
/// </summary>
internal sealed class JinjaTemplate : JinjaExpressions
{
    private readonly IReadOnlyList<Token> _tokens;
    private readonly Statement _body;
    private const int DeepestBlocks = 100;
    private int _blocks;

    private JinjaTemplate(IReadOnlyList<Token> tokens) : base(tokens)
    {
        _tokens = tokens;
        _body = Body();
        if (At < tokens.Count) throw new JinjaException($"'{tokens[At + 1].Text}' without its beginning");
    }

    /// <summary>Reads a template.</summary>
    /// <exception cref="JinjaException">It is not valid, or uses what is not known here.</exception>
    public static JinjaTemplate Parse(string template) => new(JinjaLexer.Read(template));

    /// <summary>The text that it makes of names.</summary>
    /// <exception cref="TemplateRefusalException">It refuses what the names stand for.</exception>
    /// <exception cref="JinjaException">It fails on them.</exception>
    public MarkedText Render(Dictionary<string, object?> names)
    {
        JinjaScope scope = new(names);
        scope.Set("namespace", (JinjaFunction)((_, named) => new Namespace(new Dictionary<string, object?>(named))));
        scope.Set("range", (JinjaFunction)((arguments, _) => RangeOf(arguments)));
        scope.Set("raise_exception", (JinjaFunction)((arguments, _) =>
            throw new TemplateRefusalException(arguments.Count > 0 ? TextOf(arguments[0]).Value : "refused")));
        _body(scope);
        return MarkedText.Concat(scope.Output);
    }

    private static IReadOnlyList<object?> RangeOf(IReadOnlyList<object?> bounds)
    {
        long from = bounds.Count > 1 ? RequireWhole(bounds[0], "a range") : 0;
        long to = RequireWhole(bounds[bounds.Count > 1 ? 1 : 0], "a range");
        if (bounds.Count > 2 || to - from > 1_000_000) throw new JinjaException("a range of that kind");
        return [.. Enumerable.Range(0, (int)Math.Max(0, to - from)).Select(i => (object?)(from + i))];
    }

    /// <summary>Statements up to one that ends or continues what they are the body of.</summary>
    private Statement Body(params string[] ends)
    {
        if (++_blocks > DeepestBlocks) throw new JinjaException("blocks within blocks without end");
        List<Statement> statements = [];
        while (At < _tokens.Count)
        {
            Token token = Next;
            if (token.Kind == TokenKind.BlockBegin && ends.Contains(_tokens[At + 1].Text)) break;
            if (token.Kind == TokenKind.BlockBegin && _tokens[At + 1].Text.StartsWith("end", StringComparison.Ordinal)) break;
            At++;
            statements.Add(token.Kind switch
            {
                TokenKind.Text => Print(MarkedText.Template(token.Text)),
                TokenKind.PrintBegin => PrintOf(),
                TokenKind.BlockBegin => Block(),
                _ => throw new JinjaException($"'{token.Text}' outside of a tag"),
            });
        }
        _blocks--;
        Statement[] all = [.. statements];
        return scope => { foreach (Statement statement in all) statement(scope); };
    }

    private static Statement Print(MarkedText text) => scope => scope.Output.Add(text);

    private Statement PrintOf()
    {
        Expression value = Tuple("");
        RequireEnd();
        return scope => scope.Output.Add(TextOf(value(scope)));
    }

    private void RequireEnd()
    {
        if (Next.Kind != TokenKind.End) throw new JinjaException($"'{Next.Text}' where a tag should end");
        At++;
    }

    /// <summary>The end of a body, by its tag's name.</summary>
    private void RequireEndOf(string name)
    {
        if (At >= _tokens.Count || Next.Kind != TokenKind.BlockBegin) throw new JinjaException($"'{name}' without 'end{name}'");
        At++;
        if (!TakeName("end" + name)) throw new JinjaException($"'{Next.Text}' where 'end{name}' is expected");
        RequireEnd();
    }

    private Statement Block()
    {
        string name = RequireName();
        return name switch
        {
            "if" => If(),
            "for" => For(),
            "set" => Set(),
            "generation" => Generation(),
            "break" => Jump(new BreakException()),
            "continue" => Jump(new ContinueException()),
            "macro" => Macro(),
            _ => throw new JinjaException($"the tag '{name}'"),
        };
    }

    private Statement If()
    {
        List<(Expression? Condition, Statement Body)> cases = [];
        Expression? condition = Ternary();
        while (true)
        {
            RequireEnd();
            cases.Add((condition, Body("elif", "else")));
            bool goesOn = At < _tokens.Count && Next.Kind == TokenKind.BlockBegin && _tokens[At + 1].Text is "elif" or "else";
            if (!goesOn) break;
            At++;
            condition = TakeName("elif") ? Ternary() : null;
            if (condition is null) At++;
        }
        RequireEndOf("if");
        return scope => cases.FirstOrDefault(one => one.Condition is null || IsTrue(one.Condition(scope))).Body?.Invoke(scope);
    }

    /// <summary>A part that trainers mark; it is printed like any other.</summary>
    private Statement Generation()
    {
        RequireEnd();
        Statement body = Body();
        RequireEndOf("generation");
        return body;
    }

    private Statement Set()
    {
        string name = RequireName();
        string? member = TakeOperator(".") ? RequireName() : null;
        if (Next.Kind == TokenKind.End)
        {
            RequireEnd();
            Statement body = Body();
            RequireEndOf("set");
            return scope =>
            {
                JinjaScope inner = scope.Capture();
                body(inner);
                scope.Set(name, MarkedText.Concat(inner.Output));
            };
        }
        Require("=");
        Expression value = Tuple("");
        RequireEnd();
        if (member is null) return scope => scope.Set(name, value(scope));
        return scope => (scope.Find(name) as Namespace ?? throw new JinjaException($"'{name}' that is no namespace"))
            .Members[member] = value(scope);
    }

    private Statement For()
    {
        List<string> names = [RequireName()];
        while (TakeOperator(",")) names.Add(RequireName());
        if (!TakeName("in")) throw new JinjaException("a loop without 'in'");
        Expression items = WithoutCondition();
        Expression? condition = TakeName("if") ? Ternary() : null;
        RequireEnd();
        Statement body = Body("else");
        Statement? otherwise = null;
        if (At < _tokens.Count && _tokens[At + 1].Text == "else")
        {
            At += 2;
            RequireEnd();
            otherwise = Body();
        }
        RequireEndOf("for");
        return scope => Loop(scope, names, Items(items(scope)), condition, body, otherwise);
    }

    private static void Loop(JinjaScope scope, List<string> names, IReadOnlyList<object?> all, Expression? condition, Statement body,
        Statement? otherwise)
    {
        List<(JinjaScope Scope, object? Item)> rounds = [];
        foreach (object? item in all)
        {
            scope.Step();
            JinjaScope inner = scope.Inner();
            Bind(inner, names, item);
            if (condition is null || IsTrue(condition(inner))) rounds.Add((inner, item));
        }
        if (rounds.Count == 0) otherwise?.Invoke(scope);
        for (int i = 0; i < rounds.Count; i++)
        {
            rounds[i].Scope.Set("loop", Of(i, rounds.Count, n => rounds[n].Item));
            try { body(rounds[i].Scope); }
            catch (ContinueException) { }
            catch (BreakException) { break; }
        }
    }

    private static void Bind(JinjaScope scope, List<string> names, object? item)
    {
        if (names.Count == 1)
        {
            scope.Set(names[0], item);
            return;
        }
        if (item is not IReadOnlyList<object?> parts || parts.Count != names.Count)
            throw new JinjaException($"{names.Count} names for an item of another number of parts");
        foreach ((string name, object? part) in names.Zip(parts)) scope.Set(name, part);
    }

    private static Dictionary<string, object?> Of(int i, int count, Func<int, object?> item) => new()
    {
        ["index0"] = (long)i,
        ["index"] = (long)i + 1,
        ["first"] = i == 0,
        ["last"] = i == count - 1,
        ["length"] = (long)count,
        ["revindex"] = (long)count - i,
        ["revindex0"] = (long)count - i - 1,
        ["previtem"] = i > 0 ? item(i - 1) : new Undefined("loop.previtem"),
        ["nextitem"] = i < count - 1 ? item(i + 1) : new Undefined("loop.nextitem"),
    };

    /// <summary>A named part with arguments, printed where it is called.</summary>
    private Statement Macro()
    {
        string name = RequireName();
        List<(string Name, Expression? Default)> parameters = [];
        Require("(");
        while (!TakeOperator(")"))
        {
            string parameter = RequireName();
            parameters.Add((parameter, TakeOperator("=") ? Ternary() : null));
            if (!TakeOperator(",") && !Is(TokenKind.Operator, ")")) throw new JinjaException($"'{Next.Text}' in a macro's names");
        }
        RequireEnd();
        Statement body = Body();
        RequireEndOf("macro");
        return scope => scope.Set(name, (JinjaFunction)((given, named) => scope.Call(() =>
        {
            JinjaScope inner = scope.Capture();
            for (int i = 0; i < parameters.Count; i++)
            {
                (string parameter, Expression? byDefault) = parameters[i];
                if (i < given.Count) inner.Set(parameter, given[i]);
                else if (named.TryGetValue(parameter, out object? value)) inner.Set(parameter, value);
                else inner.Set(parameter, byDefault is null ? new Undefined(parameter) : byDefault(inner));
            }
            body(inner);
            return MarkedText.Concat(inner.Output);
        })));
    }

    private Statement Jump(Exception to)
    {
        RequireEnd();
        return _ => throw to;
    }

    private sealed class BreakException : Exception;

    private sealed class ContinueException : Exception;
}

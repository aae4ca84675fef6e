using System.Globalization;
using static ArmoFlow.RewardModel.Text.Jinja.JinjaValues;

namespace ArmoFlow.RewardModel.Text.Jinja;

/// <summary>What an expression computes.</summary>
internal delegate object? Expression(JinjaScope scope);

/// <summary>Reads expressions from tokens, in Jinja's order of precedence.</summary>
internal abstract class JinjaExpressions(IReadOnlyList<Token> tokens)
{
    private const int DeepestNesting = 100, LongestList = 1_000_000;
    private static readonly string[] Comparisons = ["==", "!=", "<", ">", "<=", ">="];
    private int _depth;

    /// <summary>The token that is read next.</summary>
    protected int At { get; set; }

    protected Token Next => At < tokens.Count ? tokens[At] : throw new JinjaException("a template that ends too early");

    protected bool Is(TokenKind kind, string text) => At < tokens.Count && tokens[At] == new Token(kind, text);

    protected bool Take(TokenKind kind, string text)
    {
        if (!Is(kind, text)) return false;
        At++;
        return true;
    }

    protected bool TakeOperator(string text) => Take(TokenKind.Operator, text);

    protected bool TakeName(string text) => Take(TokenKind.Name, text);

    protected void Require(string text)
    {
        if (!TakeOperator(text)) throw new JinjaException($"'{Next.Text}' where '{text}' is expected");
    }

    protected string RequireName()
    {
        Token token = Next;
        if (token.Kind != TokenKind.Name) throw new JinjaException($"'{token.Text}' where a name is expected");
        At++;
        return token.Text;
    }

    /// <summary>a if condition else b.</summary>
    protected Expression Ternary()
    {
        if (++_depth > DeepestNesting) throw new JinjaException("brackets within brackets without end");
        Expression value = Or();
        _depth--;
        if (!TakeName("if")) return value;
        Expression condition = Or();
        Expression other = TakeName("else") ? Ternary() : _ => new Undefined("the other case");
        return scope => IsTrue(condition(scope)) ? value(scope) : other(scope);
    }

    /// <summary>A value that an 'if' may follow which is not its own.</summary>
    protected Expression WithoutCondition() => Or();

    private Expression Or()
    {
        Expression left = And();
        while (TakeName("or"))
        {
            (Expression a, Expression b) = (left, And());
            left = scope => a(scope) is var value && IsTrue(value) ? value : b(scope);
        }
        return left;
    }

    private Expression And()
    {
        Expression left = Not();
        while (TakeName("and"))
        {
            (Expression a, Expression b) = (left, Not());
            left = scope => a(scope) is var value && !IsTrue(value) ? value : b(scope);
        }
        return left;
    }

    private Expression Not()
    {
        if (!TakeName("not")) return Comparison();
        Expression value = Not();
        return scope => !IsTrue(value(scope));
    }

    private Expression Comparison()
    {
        Expression left = Sum();
        while (true)
        {
            Expression a = left;
            if (Comparisons.FirstOrDefault(TakeOperator) is { } sign)
            {
                Expression b = Sum();
                left = scope => Compared(sign, a(scope), b(scope));
            }
            else if (TakeName("in"))
            {
                Expression b = Sum();
                left = scope => IsIn(a(scope), b(scope));
            }
            else if (Is(TokenKind.Name, "not") && tokens[At + 1] == new Token(TokenKind.Name, "in"))
            {
                At += 2;
                Expression b = Sum();
                left = scope => !IsIn(a(scope), b(scope));
            }
            else return left;
        }
    }

    private static bool Compared(string sign, object? a, object? b) => sign switch
    {
        "==" => JinjaValues.Equals(a, b),
        "!=" => !JinjaValues.Equals(a, b),
        "<" => Compare(a, b) < 0,
        ">" => Compare(a, b) > 0,
        "<=" => Compare(a, b) <= 0,
        _ => Compare(a, b) >= 0,
    };

    private Expression Sum()
    {
        Expression left = Product();
        while (true)
        {
            Expression a = left;
            if (TakeOperator("+")) left = Operation(a, Product(), Plus);
            else if (TakeOperator("-")) left = Operation(a, Product(), (x, y) => Arithmetic(x, y, (m, n) => m - n, (m, n) => m - n));
            else if (TakeOperator("~")) left = Operation(a, Product(), (x, y) => MarkedText.Concat([TextOf(x), TextOf(y)]));
            else return left;
        }
    }

    private Expression Product()
    {
        Expression left = Unary();
        while (true)
        {
            Expression a = left;
            if (TakeOperator("*")) left = Operation(a, Unary(), (x, y) => Arithmetic(x, y, (m, n) => m * n, (m, n) => m * n));
            else if (TakeOperator("//")) left = Operation(a, Unary(), (x, y) => Arithmetic(x, y, Floored, (m, n) => Math.Floor(m / n)));
            else if (TakeOperator("%")) left = Operation(a, Unary(), (x, y) => Arithmetic(x, y, Modulo, Modulo));
            else if (TakeOperator("/")) left = Operation(a, Unary(), (x, y) => Number(x) / Number(y));
            else return left;
        }
    }

    private static Expression Operation(Expression a, Expression b, Func<object?, object?, object?> of) => scope => of(a(scope), b(scope));

    private static object? Plus(object? a, object? b) => (a, b) switch
    {
        (MarkedText x, MarkedText y) => MarkedText.Concat([x, y]),
        (Undefined undefined, _) => throw undefined.Error,
        (_, Undefined undefined) => throw undefined.Error,
        (IReadOnlyList<object?> x, IReadOnlyList<object?> y) =>
            x.Count + y.Count <= LongestList ? (IReadOnlyList<object?>)[.. x, .. y] : throw new JinjaException("a list without end"),
        _ => Arithmetic(a, b, (m, n) => m + n, (m, n) => m + n),
    };

    private static object Arithmetic(object? a, object? b, Func<long, long, long> whole, Func<double, double, double> real) =>
        a is long x && b is long y ? (object)whole(x, y) : real(Number(a), Number(b));

    private static long Floored(long a, long b) => b == 0 ? throw new JinjaException("a division by 0") : (a - Modulo(a, b)) / b;

    private static long Modulo(long a, long b) => b == 0 ? throw new JinjaException("a division by 0") : ((a % b) + b) % b;

    private static double Modulo(double a, double b) => a - b * Math.Floor(a / b);

    private Expression Unary()
    {
        if (!TakeOperator("-")) return Tested(Postfix(Primary()));
        Expression value = Unary();
        return scope => Arithmetic(0L, value(scope), (m, n) => m - n, (m, n) => m - n);
    }

    /// <summary>Filters and tests, after a value with its members.</summary>
    private Expression Tested(Expression value)
    {
        while (true)
        {
            Expression of = value;
            if (TakeOperator("|"))
            {
                string name = RequireName();
                if (!JinjaFilters.Filters.TryGetValue(name, out var filter)) throw new JinjaException($"the filter '{name}'");
                (Expression[] arguments, Dictionary<string, Expression> named) = Is(TokenKind.Operator, "(") ? Arguments() : ([], []);
                value = scope => filter(of(scope), Values(arguments, scope), Values(named, scope));
            }
            else if (TakeName("is"))
            {
                bool isNegated = TakeName("not");
                string name = RequireName();
                if (!JinjaFilters.Tests.TryGetValue(name, out var test)) throw new JinjaException($"the test '{name}'");
                Expression[] arguments = TestArguments(name);
                value = scope => test(of(scope), Values(arguments, scope)) != isNegated;
            }
            else return value;
        }
    }

    private Expression[] TestArguments(string name)
    {
        if (Is(TokenKind.Operator, "(")) return Arguments().Given;
        return name is "equalto" or "eq" or "ne" or "in" ? [Postfix(Primary())] : [];
    }

    private static object?[] Values(Expression[] given, JinjaScope scope) => [.. given.Select(value => value(scope))];

    private static Dictionary<string, object?> Values(Dictionary<string, Expression> named, JinjaScope scope) =>
        named.ToDictionary(member => member.Key, member => member.Value(scope));

    /// <summary>Members, items, slices and calls.</summary>
    private Expression Postfix(Expression value)
    {
        while (true)
        {
            Expression of = value;
            if (TakeOperator(".")) value = Attribute(of);
            else if (TakeOperator("[")) value = Subscript(of);
            else if (Is(TokenKind.Operator, "("))
            {
                (Expression[] arguments, Dictionary<string, Expression> named) = Arguments();
                value = scope => of(scope) is JinjaFunction function
                    ? function(Values(arguments, scope), Values(named, scope))
                    : throw new JinjaException("a call of what is no function that is known");
            }
            else return value;
        }
    }

    private Expression Attribute(Expression of)
    {
        string name = RequireName();
        if (Is(TokenKind.Operator, "(") && JinjaFilters.IsMethod(name))
        {
            Expression[] arguments = Arguments().Given;
            return scope => JinjaFilters.Call(of(scope), name, Values(arguments, scope));
        }
        MarkedText key = MarkedText.Template(name);
        return scope => Member(of(scope), key);
    }

    private Expression Subscript(Expression of)
    {
        Expression? from = Is(TokenKind.Operator, ":") ? null : Ternary();
        if (from is not null && TakeOperator("]")) return scope => Member(of(scope), from(scope));
        Require(":");
        Expression? to = Is(TokenKind.Operator, ":") || Is(TokenKind.Operator, "]") ? null : Ternary();
        Expression? step = TakeOperator(":") && !Is(TokenKind.Operator, "]") ? Ternary() : null;
        Require("]");
        return scope => Slice(of(scope), Whole(from, scope), Whole(to, scope), Whole(step, scope) ?? 1);

        static long? Whole(Expression? bound, JinjaScope scope) =>
            bound?.Invoke(scope) is { } value ? RequireWhole(value, "a bound of a slice") : null;
    }

    private (Expression[] Given, Dictionary<string, Expression> Named) Arguments()
    {
        Require("(");
        List<Expression> given = [];
        Dictionary<string, Expression> named = [];
        while (!TakeOperator(")"))
        {
            bool hasName = Next.Kind == TokenKind.Name && At + 1 < tokens.Count && tokens[At + 1] == new Token(TokenKind.Operator, "=");
            if (hasName)
            {
                string name = RequireName();
                Require("=");
                named[name] = Ternary();
            }
            else given.Add(Ternary());
            if (!TakeOperator(",") && !Is(TokenKind.Operator, ")")) throw new JinjaException($"'{Next.Text}' between arguments");
        }
        return ([.. given], named);
    }

    private Expression Primary()
    {
        Token token = Next;
        At++;
        switch (token.Kind)
        {
            case TokenKind.String:
                MarkedText text = MarkedText.Template(token.Text);
                while (Next.Kind == TokenKind.String) // strings side by side are one
                {
                    text = MarkedText.Concat([text, MarkedText.Template(Next.Text)]);
                    At++;
                }
                return _ => text;
            case TokenKind.Number:
                object number = token.Text.Contains('.', StringComparison.Ordinal)
                    ? (object)double.Parse(token.Text, CultureInfo.InvariantCulture)
                    : long.Parse(token.Text, CultureInfo.InvariantCulture);
                return _ => number;
            case TokenKind.Name:
                return Named(token.Text);
            case TokenKind.Operator when token.Text == "(":
                Expression inner = Tuple(")");
                Require(")");
                return inner;
            case TokenKind.Operator when token.Text == "[":
                return List();
            case TokenKind.Operator when token.Text == "{":
                return Map();
            default:
                throw new JinjaException($"'{token.Text}' where a value is expected");
        }
    }

    private static Expression Named(string name) => name switch
    {
        "true" or "True" => _ => true,
        "false" or "False" => _ => false,
        "none" or "None" => _ => null,
        _ => scope => scope.Find(name),
    };

    /// <summary>One value, or several with commas between them.</summary>
    protected Expression Tuple(string end)
    {
        Expression first = Ternary();
        if (!Is(TokenKind.Operator, ",")) return first;
        List<Expression> items = [first];
        while (TakeOperator(",") && !Is(TokenKind.Operator, end)) items.Add(Ternary());
        return scope => (IReadOnlyList<object?>)Values([.. items], scope);
    }

    private Expression List()
    {
        List<Expression> items = [];
        while (!TakeOperator("]"))
        {
            items.Add(Ternary());
            if (!TakeOperator(",") && !Is(TokenKind.Operator, "]")) throw new JinjaException($"'{Next.Text}' in a list");
        }
        return scope => (IReadOnlyList<object?>)Values([.. items], scope);
    }

    private Expression Map()
    {
        List<(Expression Key, Expression Value)> members = [];
        while (!TakeOperator("}"))
        {
            Expression key = Ternary();
            Require(":");
            members.Add((key, Ternary()));
            if (!TakeOperator(",") && !Is(TokenKind.Operator, "}")) throw new JinjaException($"'{Next.Text}' in a dictionary");
        }
        return scope => members.ToDictionary(m => RequireText(m.Key(scope), "a key").Value, m => m.Value(scope));
    }
}

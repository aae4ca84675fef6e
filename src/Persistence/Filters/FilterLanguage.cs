using System.Globalization;
using System.Linq.Expressions;
using ArmoFlow.Contracts;

namespace ArmoFlow.Persistence.Filters;

/// <summary>
/// One small language for lists: comparisons (= != &lt; &lt;= &gt; &gt;=) of fields with 'text', numbers or times in quotes, IN
/// (…), joined by AND, OR, NOT and parentheses; field names may stand in double quotes. It becomes an expression whose values are
/// parameters of the query, never text of it.
/// </summary>
/// <typeparam name="T">What is filtered.</typeparam>
/// <param name="fields">What can be asked for: name and expression; of text, whole number, number, time or id; or, for what an item
/// has several of, (item, value) → whether it has it.</param>
public sealed class FilterLanguage<T>(IReadOnlyDictionary<string, LambdaExpression> fields)
{
    private const int LongestText = 4000, DeepestNesting = 50, MostComparisons = 200;
    private readonly ParameterExpression _item = Expression.Parameter(typeof(T), "item");

    /// <exception cref="FilterException">It is not of this language, or asks for an unknown field; the message says where.</exception>
    public Expression<Func<T, bool>> Parse(string text)
    {
        if (text.Length > LongestText)
            throw new FilterException($"the filter has {text.Length} characters; expected at most {LongestText}.");
        FilterTokens tokens = new(text);
        Expression body = Or(tokens, 0);
        if (tokens.Next is not null) throw tokens.Unexpected("AND, OR or the end");
        return Expression.Lambda<Func<T, bool>>(body, _item);
    }

    private Expression Or(FilterTokens tokens, int depth)
    {
        if (depth > DeepestNesting) throw new FilterException($"the filter nests deeper than {DeepestNesting} levels.");
        List<Expression> any = [And(tokens, depth)];
        while (tokens.TakeWord("OR")) any.Add(And(tokens, depth));
        return Join(any, Expression.OrElse);
    }

    private Expression And(FilterTokens tokens, int depth)
    {
        List<Expression> all = [Not(tokens, depth)];
        while (tokens.TakeWord("AND")) all.Add(Not(tokens, depth));
        return Join(all, Expression.AndAlso);
    }

    private Expression Not(FilterTokens tokens, int depth)
    {
        bool isNegated = false;
        while (tokens.TakeWord("NOT")) isNegated = !isNegated;
        Expression inner;
        if (tokens.Take("("))
        {
            inner = Or(tokens, depth + 1);
            if (!tokens.Take(")")) throw tokens.Unexpected("')'");
        }
        else inner = Comparison(tokens);
        return isNegated ? Expression.Not(inner) : inner;
    }

    private Expression Comparison(FilterTokens tokens)
    {
        LambdaExpression field = Field(tokens);
        bool isNegated = tokens.TakeWord("NOT");
        if (tokens.TakeWord("IN"))
        {
            if (!tokens.Take("(")) throw tokens.Unexpected("'('");
            List<Expression> any = [Compare(field, "=", tokens)];
            while (tokens.Take(",")) any.Add(Compare(field, "=", tokens));
            if (!tokens.Take(")")) throw tokens.Unexpected("',' or ')'");
            Expression isIn = Join(any, Expression.OrElse);
            return isNegated ? Expression.Not(isIn) : isIn;
        }
        if (isNegated) throw tokens.Unexpected("IN");
        string operation = tokens.TakeOperator() ?? throw tokens.Unexpected("a comparison (= != < <= > >=) or IN");
        return Compare(field, operation, tokens);
    }

    private LambdaExpression Field(FilterTokens tokens)
    {
        string name = tokens.TakeName() ?? throw tokens.Unexpected("a field");
        return fields.TryGetValue(name, out LambdaExpression? field) ? field
            : throw new FilterException(
                $"filter: no field '{name}'; there are: {string.Join(", ", fields.Keys.Order(StringComparer.Ordinal))}.");
    }

    private Expression Compare(LambdaExpression field, string operation, FilterTokens tokens)
    {
        string value = tokens.TakeValue() ?? throw tokens.Unexpected("a value ('text' or a number)");
        if (tokens.Values > MostComparisons) throw new FilterException($"the filter compares with more than {MostComparisons} values.");
        Expression body = new Replace(field.Parameters[0], _item).Visit(field.Body);
        if (field.Parameters.Count == 2) // membership: (item, value) => does it have it
        {
            Expression has = new Replace(field.Parameters[1], Parameter(value)).Visit(body);
            return operation switch
            {
                "=" => has,
                "!=" => Expression.Not(has),
                _ => throw new FilterException($"filter: '{operation}' does not fit a field that has several values; expected = or !=.")
            };
        }
        Type type = Nullable.GetUnderlyingType(body.Type) ?? body.Type;
        if (type == typeof(string))
        {
            if (operation is "=" or "!=")
                return operation == "=" ? Expression.Equal(body, Parameter(value)) : Expression.NotEqual(body, Parameter(value));
            Expression order = Expression.Call(typeof(string), nameof(string.Compare), null, body, Parameter(value));
            return Binary(operation, order, Expression.Constant(0));
        }
        Expression constant = type switch
        {
            _ when type == typeof(DateTimeOffset) => Parameter(Time(value)),
            _ when type == typeof(long) => Parameter(Whole(value)),
            _ when type == typeof(double) => Parameter(Number(value)),
            _ when type == typeof(Guid) => Parameter(Identifier(value)),
            _ => throw new InvalidOperationException($"a field of type {type}"),
        };
        return Binary(operation, body, body.Type == type ? constant : Expression.Convert(constant, body.Type));
    }

    /// <summary>As a balanced tree: what visits it calls itself once for each level.</summary>
    private static Expression Join(List<Expression> parts, Func<Expression, Expression, Expression> join)
    {
        if (parts.Count == 1) return parts[0];
        int half = parts.Count / 2;
        return join(Join(parts[..half], join), Join(parts[half..], join));
    }

    private static BinaryExpression Binary(string operation, Expression left, Expression right) => operation switch
    {
        "=" => Expression.Equal(left, right),
        "!=" => Expression.NotEqual(left, right),
        "<" => Expression.LessThan(left, right),
        "<=" => Expression.LessThanOrEqual(left, right),
        ">" => Expression.GreaterThan(left, right),
        _ => Expression.GreaterThanOrEqual(left, right),
    };

    private static DateTimeOffset Time(string value) =>
        IsoTime.TryParse(value, out DateTimeOffset time)
            ? time
            : throw new FilterException(
                $"filter: '{value}' is not a time; expected one such as '2026-11-25' or '2026-11-25T16:00:00Z'.");

    private static long Whole(string value) =>
        long.TryParse(value, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long number)
            ? number
            : throw new FilterException($"filter: '{value}' is not a whole number.");

    private static double Number(string value) =>
        double.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out double number) ? number
            : throw new FilterException($"filter: '{value}' is not a number; expected one such as 0.5.");

    private static Guid Identifier(string value) =>
        Guid.TryParse(value, out Guid id) ? id : throw new FilterException($"filter: '{value}' is not an id.");

    /// <summary>As a captured variable, which the query makes a parameter of.</summary>
    private static MemberExpression Parameter<TValue>(TValue value) =>
        Expression.Property(Expression.Constant(new Box<TValue>(value)), nameof(Box<>.Value));

    private sealed record Box<TValue>(TValue Value);

    private sealed class Replace(ParameterExpression from, Expression to) : ExpressionVisitor
    {
        protected override Expression VisitParameter(ParameterExpression node) => node == from ? to : base.VisitParameter(node);
    }
}

/// <summary>A filter that a user wrote is not of the language.</summary>
public sealed class FilterException(string message) : RefusedException(message, Refusal.Unusable);

namespace ArmoFlow.RewardModel.Text.Jinja;

/// <summary>The value of a name that is not set.</summary>
internal sealed class Undefined(string name)
{
    public JinjaException Error => new($"'{name}' is undefined");
}

/// <summary>What namespace() makes: its members are set from inside of loops.</summary>
internal sealed class Namespace(Dictionary<string, object?> members)
{
    public Dictionary<string, object?> Members { get; } = members;
}

/// <summary>A function that a template may call.</summary>
internal delegate object? JinjaFunction(IReadOnlyList<object?> arguments, IReadOnlyDictionary<string, object?> named);

/// <summary>The names that are set, here and further out; and what a rendering may cost.</summary>
internal sealed class JinjaScope
{
    private const int MostSteps = 1_000_000, DeepestCall = 50;
    private readonly JinjaScope? _outer;
    private readonly JinjaScope _root;
    private readonly Dictionary<string, object?> _names;
    private int _steps, _calls;

    public JinjaScope(Dictionary<string, object?> names, JinjaScope? outer = null)
    {
        _names = names;
        _outer = outer;
        _root = outer?._root ?? this;
    }

    /// <summary>What is printed.</summary>
    public List<MarkedText> Output { get; private init; } = [];

    /// <summary>A scope within this one.</summary>
    public JinjaScope Inner() => new([], this) { Output = Output };

    /// <summary>A scope within this one that prints elsewhere.</summary>
    public JinjaScope Capture() => new([], this);

    public object? Find(string name)
    {
        for (JinjaScope? scope = this; scope is not null; scope = scope._outer)
        {
            if (scope._names.TryGetValue(name, out object? value)) return value;
        }
        return new Undefined(name);
    }

    public void Set(string name, object? value) => _names[name] = value;

    /// <summary>Calls a macro; one that calls itself without end is given up.</summary>
    public MarkedText Call(Func<MarkedText> macro)
    {
        Step();
        if (++_root._calls > DeepestCall) throw new JinjaException("macros that call each other without end");
        MarkedText text = macro();
        _root._calls--;
        return text;
    }

    /// <summary>Counts a step of a loop; a template that does not end is given up.</summary>
    public void Step()
    {
        if (++_root._steps > MostSteps) throw new JinjaException($"more than {MostSteps:N0} steps");
    }
}

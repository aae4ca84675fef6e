using System.Globalization;

namespace ArmoFlow.RewardModel.Scoring;

/// <summary>
/// Changes to the gate's coefficients at scoring time: <c>OBJ=0.5</c> fixes a coefficient, <c>OBJ=*2</c> scales it; the others
/// are rescaled so that all still sum to 1.
/// </summary>
public sealed class Steering
{
    private const double SumTolerance = 1e-9; // decimals such as 0.1 are not exact
    private readonly Dictionary<int, double> _fixed = [], _scaled = [];

    /// <summary>Reads settings of the form OBJ=W or OBJ=*F.</summary>
    /// <exception cref="InvalidInputException">An unknown objective, a value out of range, or fixed coefficients of more than 1 in
    /// all.</exception>
    public static Steering? Parse(IEnumerable<string> settings, IReadOnlyList<string> objectives)
    {
        Steering steering = new();
        foreach (string setting in settings)
        {
            int equals = setting.LastIndexOf('=');
            string name = equals < 0 ? setting : setting[..equals], value = equals < 0 ? "" : setting[(equals + 1)..];
            int objective = objectives.ToList().IndexOf(name);
            if (objective < 0)
            {
                throw new InvalidInputException($"--steer {setting}", $"objective '{name}'", "an objective of this model",
                    DidYouMean.Suggest(name, objectives));
            }
            bool scales = value.StartsWith('*');
            if (!double.TryParse(scales ? value[1..] : value, NumberStyles.Float, CultureInfo.InvariantCulture, out double number)
                || !double.IsFinite(number)
                || number < 0
                || (!scales && number > 1))
            {
                throw new InvalidInputException($"--steer {setting}", $"'{value}'", "a coefficient from 0 to 1, or a factor such as *2",
                    "Correct the value.");
            }
            if (steering._scaled.ContainsKey(objective) || steering._fixed.ContainsKey(objective))
            {
                throw new InvalidInputException($"--steer {setting}", $"objective '{name}' a second time", "each objective once",
                    "Leave one of the two out.");
            }
            (scales ? steering._scaled : steering._fixed)[objective] = number;
        }
        steering.RequireSum(objectives.Count);
        return steering._fixed.Count + steering._scaled.Count > 0 ? steering : null;
    }

    private void RequireSum(int objectives)
    {
        double total = _fixed.Values.Sum();
        if (total > 1)
        {
            throw new InvalidInputException("--steer", $"fixed coefficients of {total} in all", "at most 1",
                "Coefficients sum to 1: lower some of them.");
        }
        if (_fixed.Count == objectives && Math.Abs(total - 1) > SumTolerance)
        {
            throw new InvalidInputException("--steer", $"fixed coefficients of {total} in all, of every objective", "1",
                "Coefficients sum to 1: leave one of them to the gate.");
        }
    }

    internal void Apply(double[] coefficients)
    {
        foreach ((int objective, double factor) in _scaled) coefficients[objective] *= factor;
        double left = 1 - _fixed.Values.Sum(), free = coefficients.Where((_, o) => !_fixed.ContainsKey(o)).Sum();
        for (int o = 0; o < coefficients.Length; o++)
        {
            double shared = free > 0 ? coefficients[o] * left / free : 0;
            coefficients[o] = _fixed.TryGetValue(o, out double value) ? value : shared;
        }
    }
}

using TorchSharp;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Tensors;

/// <summary>
/// Arithmetic of tensors with numbers. TorchSharp turns a number into a native object that the garbage collector may free while
/// libtorch still reads it (docs/decisions/0079-numbers-that-live.md); here it lives until the call returns. TorchSharp's own
/// conversions and operators are banned (BannedSymbols.txt).
/// </summary>
internal static class TensorNumbers
{
    /// <summary>x + n.</summary>
    public static Tensor Plus(this Tensor x, double n) => With(n.ToScalar(), number => x.add(number));

    /// <summary>x + n, of whole numbers.</summary>
    public static Tensor Plus(this Tensor x, long n) => With(n.ToScalar(), number => x.add(number));

    /// <summary>x · n.</summary>
    public static Tensor Times(this Tensor x, double n) => With(n.ToScalar(), number => x.mul(number));

    /// <summary>x · x, as TorchSharp's power of 2 is computed.</summary>
    public static Tensor Squared(this Tensor x) => x * x;

    /// <summary>x / n.</summary>
    public static Tensor Over(this Tensor x, double n) => With(n.ToScalar(), number => x.div(number));

    /// <summary>max(x, n).</summary>
    public static Tensor AtLeast(this Tensor x, double n) => With(n.ToScalar(), number => x.clamp_min(number));

    /// <summary>x, and n where the mask is true.</summary>
    public static Tensor Filled(this Tensor x, Tensor mask, double n) => With(n.ToScalar(), number => x.masked_fill(mask, number));

    /// <summary>x ← n where the mask is true.</summary>
    public static Tensor Fill(this Tensor x, Tensor mask, double n) => With(n.ToScalar(), number => x.masked_fill_(mask, number));

    /// <summary>x ← x + n.</summary>
    public static Tensor Add(this Tensor x, double n) => With(n.ToScalar(), number => x.add_(number));

    /// <summary>x ← x · n.</summary>
    public static Tensor Multiply(this Tensor x, double n) => With(n.ToScalar(), number => x.mul_(number));

    /// <summary>x ← x / n.</summary>
    public static Tensor Divide(this Tensor x, double n) => With(n.ToScalar(), number => x.div_(number));

    /// <summary>x ← x + n · a.</summary>
    public static Tensor AddScaled(this Tensor x, Tensor a, double n) => With(n.ToScalar(), number => x.add_(a, number));

    /// <summary>x ← x + n · a · b.</summary>
    public static Tensor AddProduct(this Tensor x, Tensor a, Tensor b, double n) => With(n.ToScalar(), number => x.addcmul_(a, b, number));

    /// <summary>x ← x + n · a / b.</summary>
    public static Tensor AddQuotient(this Tensor x, Tensor a, Tensor b, double n) => With(n.ToScalar(), number => x.addcdiv_(a, b, number));

    /// <summary>x ← x + y; TorchSharp's own multiplies y with a number, 1.</summary>
    public static Tensor Add(this Tensor x, Tensor y) => With(1.0.ToScalar(), one => x.add_(y, one));

    /// <summary>The whole numbers from one to before another.</summary>
    public static Tensor Range(long from, long end, ScalarType type, Device? device = null) =>
        With(from.ToScalar(), first => With(end.ToScalar(), last => arange(first, last, type, device)));

    /// <summary>What is done with a number, which is freed afterwards and not before.</summary>
    private static Tensor With(Scalar number, Func<Scalar, Tensor> operate)
    {
        using (number) return operate(number);
    }
}

using System.IO.Compression;
using System.Text;
using ArmoFlow.RewardModel.Features;
using TorchSharp;
using static TorchSharp.torch;

namespace ArmoFlow.Bench;

/// <summary>
/// Products with weights in 8 bits, one scale an output, and inputs rounded to 8 bits as they come: what libtorch has of it, beside
/// its products in float32 and, where there is arithmetic for it, bfloat16.
/// </summary>
internal static class Int8Bench
{
    private const int Rows = 1024, Repetitions = 9;

    // libtorch's quantized operators are reached by TorchScript, from an archive as torch.jit.save writes it. Each product's result is
    // used, or its compiler leaves the product out.
    private const string Code = """
        class Q(Module):
          __parameters__ = []
          __buffers__ = []
          training : bool
          def rounded(self: __torch__.Q, w: Tensor) -> Tensor:
            s = torch.div(torch.amax(torch.abs(w), [1]), 127.)
            return torch.quantize_per_channel(w, s, torch.zeros_like(s, dtype=4), 0, 12)
          def times(self: __torch__.Q, x: Tensor, q: Tensor, n: int) -> Tensor:
            p = ops.quantized.linear_prepack(q, None)
            y = ops.quantized.linear_dynamic(x, p, True)
            for i in range(n):
              y = torch.add(y, ops.quantized.linear_dynamic(torch.add(x, i), p, True), alpha=0)
            return y

        """;

    // An object of the class above, pickled, that is not in training.
    private static readonly byte[] Module =
    [
        0x80, 2, .. "c__torch__\nQ\n)"u8, 0x81, .. "}X"u8, 8, 0, 0, 0, .. "training"u8, 0x89, .. "sb."u8,
    ];

    public static void Run()
    {
        string folder = Directory.CreateTempSubdirectory("armoflow-int8-").FullName;
        try
        {
            string archive = Path.Combine(folder, "q.pt");
            Write(archive);
            ScalarType[] types = FeaturesBench.Types();
            ComputeThread.Run(() =>
            {
                Compare(archive, types);
                return 0;
            });
        }
        finally { Directory.Delete(folder, recursive: true); }
    }

    private static void Compare(string archive, ScalarType[] types)
    {
        using DisposeScope scope = NewDisposeScope();
        using var noGradient = no_grad();
        jit.ScriptModule module = jit.load(archive);
        Console.WriteLine($"{Rows} rows; operations a second in 10⁹, and the norm of the error to that of the result");
        foreach ((int from, int to) in BenchCheckpoint.Products)
        {
            Tensor x = randn([Rows, from]), w = randn([to, from]), exact = nn.functional.linear(x, w);
            double flops = 2.0 * Rows * from * to / 1e9;
            string plain = string.Join(", ", types.Select(type =>
            {
                Tensor inputs = x.to(type), weights = w.to(type);
                return $"{type} {flops / Measure.Seconds(() => nn.functional.linear(inputs, weights).Dispose(), Repetitions),5:f0}";
            }));
            Tensor q = module.invoke<Tensor>("rounded", w), found = module.invoke<Tensor>("times", x, q, 0L);
            double seconds = (Seconds(8) - Seconds(0)) / 8;
            Console.WriteLine($"  [{to}, {from}]: {plain}, int8 {flops / seconds,5:f0}; "
                + $"error {((found - exact).norm() / exact.norm()).item<float>():p1}");

            double Seconds(long more) =>
                Measure.Seconds(() => module.invoke<Tensor>("times", x, q, more).Dispose(), Repetitions);
        }
    }

    private static void Write(string path)
    {
        using ZipArchive archive = ZipFile.Open(path, ZipArchiveMode.Create);
        (string Name, byte[] Bytes)[] files =
        [
            ("data.pkl", Module), ("code/__torch__.py", Encoding.ASCII.GetBytes(Code)), ("constants.pkl", [0x80, 2, (byte)')', (byte)'.']),
            ("version", "3\n"u8.ToArray()),
        ];
        foreach ((string name, byte[] bytes) in files)
        {
            using Stream entry = archive.CreateEntry("q/" + name, CompressionLevel.NoCompression).Open();
            entry.Write(bytes);
        }
    }
}

using ArmoFlow.Bench;

string what = args.Length > 0 ? args[0] : "";
switch (what)
{
    case "regression":
        RegressionBench.Run(rows: 20_000, dimension: 512);
        return 0;
    case "gating":
        GatingBench.Run(prompts: 700, dimension: 96, batch: 1024);
        return 0;
    case "features" when args.Length == 3:
        FeaturesBench.Run(backbone: args[1], pairs: args[2]);
        return 0;
    default:
        Console.Error.WriteLine("usage: bench regression | gating | features BACKBONE PAIRS.jsonl");
        return 2;
}

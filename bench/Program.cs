using ArmoFlow.Bench;

const string Profile = "--profile";
bool profiles = args.Contains(Profile);
args = [.. args.Where(arg => arg != Profile)];
string what = args.Length > 0 ? args[0] : "";
switch (what)
{
    case "regression":
        await RegressionBench.Run(rows: 20_000, dimension: 512);
        return 0;
    case "gating":
        GatingBench.Run(prompts: 700, dimension: 96, batch: 1024);
        return 0;
    case "prompts":
        PromptBench.Run();
        return 0;
    case "features" when args.Length is >= 3 and <= 5:
        await FeaturesBench.Run(tokenizer: args[1], pairs: args[2], mostTokens: args.Length > 3
            ? int.Parse(args[3], System.Globalization.CultureInfo.InvariantCulture)
            : 8_000, peer: args.Length > 4 ? args[4] : null, profiles);
        return 0;
    case "index":
        await IndexBench.Run(conversations: args.Length > 1
            ? int.Parse(args[1], System.Globalization.CultureInfo.InvariantCulture)
            : 1_000_000);
        return 0;
    case "int8":
        Int8Bench.Run();
        return 0;
    case "memory" when args.Length is 3 or 4:
        await MemoryBench.Run(backbone: args[1], pairs: args[2], tokens: args.Length > 3
            ? int.Parse(args[3], System.Globalization.CultureInfo.InvariantCulture)
            : 4_000);
        return 0;
    case MemoryBench.Once:
        await MemoryBench.RunOnce(args[1], args[2], long.Parse(args[3], System.Globalization.CultureInfo.InvariantCulture), args[4]);
        return 0;
    case "workflow":
        return await WorkflowBench.Run(runs: args.Length > 1
            ? int.Parse(args[1], System.Globalization.CultureInfo.InvariantCulture)
            : 10_000);
    case "queries":
        return await QueryBench.Run(runs: args.Length > 1
            ? int.Parse(args[1], System.Globalization.CultureInfo.InvariantCulture)
            : 1_000_000);
    case "idle":
        return await IdleBench.Run(seconds: args.Length > 1 ? int.Parse(args[1], System.Globalization.CultureInfo.InvariantCulture) : 60);
    case "cancel" when args.Length >= 2:
        return await CancelBench.Run(spec: args[1],
            times: args.Length > 2 ? int.Parse(args[2], System.Globalization.CultureInfo.InvariantCulture) : 3);
    case "audit":
        return await AuditBench.Run(events: args.Length > 1
            ? int.Parse(args[1], System.Globalization.CultureInfo.InvariantCulture)
            : 1_000_000);
    case "serving":
        return await ServingBench.Run(seconds: args.Length > 1
            ? int.Parse(args[1], System.Globalization.CultureInfo.InvariantCulture)
            : 10);
    case "keys":
        return await KeysBench.Run(seconds: args.Length > 1 ? int.Parse(args[1], System.Globalization.CultureInfo.InvariantCulture) : 10);
    default:
        Console.Error.WriteLine("usage: bench regression | gating | prompts | features TOKENIZER.json PAIRS.jsonl [TOKENS [PEER]] "
            + "[--profile] | memory BACKBONE|TOKENIZER.json PAIRS.jsonl [TOKENS] | int8 | index [CONVERSATIONS] | "
            + "workflow [RUNS] | queries [RUNS] | idle [SECONDS] | "
            + "cancel SPEC.yaml [TIMES] | audit [EVENTS] | serving [SECONDS] | keys [SECONDS]");
        return 2;
}

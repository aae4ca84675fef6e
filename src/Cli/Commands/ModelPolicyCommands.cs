using System.CommandLine;
using System.Globalization;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Client;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Specs;
using Spectre.Console;

namespace ArmoFlow.Cli.Commands;

/// <summary>What a model asks of each of its versions, whatever their specs say.</summary>
internal static class ModelPolicyCommands
{
    public static Command Policy() =>
        new("policy", "What a model asks of each of its versions, whatever their specs say: gates, approvals, who may promote.") { Show(),
        Set(), Remove() };

    private static Command Show()
    {
        Argument<string> model = Model();
        Option<bool> history = new("--history") { Description = "All that it ever was, newest first." };
        Command command = new("show", "Shows the policy.") { model, history };
        return command.WithClient(async (parsed, cancel) =>
        {
            string name = parsed.GetRequiredValue(model);
            await using IArmoFlowClient client = await parsed.OpenClient();
            if (parsed.GetValue(history))
            {
                IReadOnlyList<ModelPolicyDocument> all = await client.ModelPolicyHistory(name, cancel);
                if (parsed.WantsJson()) Terminal.PrintJson(all);
                else if (all.Count == 0) Console.Error.WriteLine($"model '{name}' never had a policy");
                else Write(all);
                return ExitCodes.Done;
            }
            ModelPolicyDocument? policy = await client.ModelPolicy(name, cancel);
            if (parsed.WantsJson()) Terminal.PrintJson(new { model = name, policy });
            else if (policy is null)
                Console.Error.WriteLine($"model '{name}' has no policy: the specs of its versions say what is asked of them");
            else Write([policy]);
            return ExitCodes.Done;
        });
    }

    private static Command Set()
    {
        Argument<string> model = Model();
        Argument<string> file =
            new("file") { Description = "YAML: the keys of a spec's 'promotion', and promoters: [names of keys or users]." };
        Option<string> reason = Reason();
        Command command = new("set", "Sets the policy; on a server with a key of scope Admin.")
        {
            model, file, reason,
        };
        return command.WithClient(async (parsed, cancel) =>
        {
            string path = parsed.GetRequiredValue(file);
            if (!File.Exists(path)) throw new UsageException($"{path}: no such file; expected a policy (YAML). Check the path.");
            await using IArmoFlowClient client = await parsed.OpenClient();
            PolicySpec policy = SpecReader.ParsePolicy(await File.ReadAllTextAsync(path, cancel), Path.GetFileName(path));
            Report(await client.SetModelPolicy(parsed.GetRequiredValue(model), policy, parsed.GetRequiredValue(reason), cancel),
                parsed.WantsJson());
            return ExitCodes.Done;
        });
    }

    private static Command Remove()
    {
        Argument<string> model = Model();
        Option<string> reason = Reason();
        Command command = new("remove", "Removes the policy: specs alone say what is asked of the model from now on.")
        {
            model, reason,
        };
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            Report(await client.RemoveModelPolicy(parsed.GetRequiredValue(model), parsed.GetRequiredValue(reason), cancel),
                parsed.WantsJson());
            return ExitCodes.Done;
        });
    }

    private static void Report(ModelPolicyDocument policy, bool asJson)
    {
        if (asJson) Terminal.PrintJson(policy);
        else
        {
            Console.Error.WriteLine(
                $"policy of {policy.Model}, version {policy.Version}: {(policy.Policy is { } asked ? Words(asked) : "none")}");
        }
    }

    private static void Write(IReadOnlyList<ModelPolicyDocument> policies)
    {
        Table table = RunTables.New("version", "since", "by", "asks for", "reason");
        foreach (ModelPolicyDocument p in policies)
        {
            table.AddRow($"{p.Version}", Format.Time(p.At), Markup.Escape(p.SetBy),
                Markup.Escape(p.Policy is { } asked ? Words(asked) : "nothing: removed"), Markup.Escape(p.Reason));
        }
        Terminal.Out.Write(table);
    }

    private static string Words(PolicySpec policy)
    {
        List<string> words = [];
        foreach (Gate gate in Gate.All) Add(gate.Key, gate.Limit(policy));
        foreach ((string objective, double floor) in policy.Objectives) Add($"objectives.{objective}", floor);
        Add("approvals", policy.Approvals);
        if (policy.Automatic is { } alias) words.Add($"automatic {alias}");
        if (policy.Promoters.Count > 0) words.Add($"promoters {string.Join(", ", policy.Promoters)}");
        return string.Join("; ", words);

        void Add(string name, double? value)
        {
            if (value is { } number) words.Add($"{name} {number.ToString("0.####", CultureInfo.InvariantCulture)}");
        }
    }

    private static Argument<string> Model() => new("model") { Description = "The model's name." };

    private static Option<string> Reason() => new("--reason") { Description = "Why; the audit trail keeps it.", Required = true };
}

using System.CommandLine;
using ArmoFlow.Cli.Commands.Steps;

namespace ArmoFlow.Cli.Commands;

/// <summary>One step on files, without a bus or a database: the layouts are those of the reference's scripts.</summary>
internal static class StepCommands
{
    public static Command Step()
    {
        Command step = new("step", "Runs one step on files: what the reference's scripts do.")
        {
            FeaturesStep.Command(), RegressionStep.Command(), DecorrelationStep.Command(), GatingStep.Command(), EvaluationStep.Command(),
        };
        foreach (Command command in step.Subcommands) command.Validators.Add(StepFiles.KeepInputs);
        return step;
    }
}

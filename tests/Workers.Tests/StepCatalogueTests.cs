using ArmoFlow.Contracts;
using Shouldly;
using Xunit;

namespace ArmoFlow.Workers.Tests;

/// <summary>A step that is added to the catalogue and nowhere else is found here, by name.</summary>
public class StepCatalogueTests
{
    [Fact]
    public void Every_step_has_one_consumer() =>
        StepCatalogue.All.ShouldAllBe(step => WorkersRegistration.ConsumerOf(step).Name.EndsWith("Consumer", StringComparison.Ordinal));

    [Fact]
    public void Every_name_of_an_artifact_is_the_output_of_one_step() =>
        typeof(ArtifactNames).GetFields()
            .Where(f => f.IsLiteral)
            .Select(f => (string)f.GetRawConstantValue()!)
            .Where(name => name != ArtifactNames.ModelFeaturesReport)
            .ShouldAllBe(name => StepCatalogue.All.Count(s => s.Outputs.Contains(name)) == 1);

    [Fact]
    public void What_no_step_makes_has_no_maker() =>
        Should.Throw<ArgumentOutOfRangeException>(() => StepCatalogue.MakerOf("unheard-of"));
}

using ArmoFlow.Contracts.Features;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.RewardModel.Text;

namespace ArmoFlow.Workers.Features;

/// <summary>How conversations become tokens, as a spec asks for it and as a report keeps it.</summary>
public static class EncodingChoices
{
    /// <summary>As a spec asks for it.</summary>
    public static EncodingOptions Encoding(this BackboneSpec spec) => new()
    {
        AllowsSpecials = spec.AllowsSpecials,
        TemplateDate = spec.TemplateDate,
        PoolsAsClassifier = spec.PoolsAsClassifier,
    };

    /// <summary>As it was when the features were extracted.</summary>
    public static EncodingOptions Encoding(this FeaturesReport report) => new()
    {
        AllowsSpecials = report.AllowsSpecials,
        TemplateDate = report.TemplateDate,
        PoolsAsClassifier = report.PoolsAsClassifier,
    };
}

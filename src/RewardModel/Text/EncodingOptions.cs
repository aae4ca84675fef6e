namespace ArmoFlow.RewardModel.Text;

/// <summary>How conversations become tokens, and which of these are read, beyond what a backbone's own files say.</summary>
public sealed record EncodingOptions
{
    /// <summary>
    /// The day that templates with a date in them write if none is asked for: the one that Llama 3.1's and 3.2's own templates fall
    /// back on, 26 July 2024.
    /// </summary>
    public static readonly DateOnly UsualDate = new(2024, 7, 26);

    /// <summary>What is done where nothing is asked for.</summary>
    public static EncodingOptions Usual { get; } = new();

    /// <summary>
    /// False, unless asked for otherwise: a conversation's text that spells a control token, such as &lt;|eot_id|&gt;, is text, and
    /// cannot forge a turn. True for what Hugging Face's tokenizers do.
    /// </summary>
    public bool AllowsSpecials { get; init; }

    /// <summary>The day that a template with a date in it writes; null for <see cref="UsualDate"/>.</summary>
    public DateOnly? TemplateDate { get; init; }

    /// <summary>
    /// False, unless asked for otherwise: f(x⊕y) is the last token's. True for the token that a sequence-classification head of
    /// transformers pools: the last one that is not the configuration's padding token.
    /// </summary>
    public bool PoolsAsClassifier { get; init; }
}

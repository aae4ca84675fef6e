namespace ArmoFlow.RewardModel.Text.Jinja;

/// <summary>A template uses what is not known here, or fails as its own language would have it fail.</summary>
internal class JinjaException(string message) : Exception(message);

/// <summary>A template refuses a conversation, by raise_exception.</summary>
internal sealed class TemplateRefusalException(string message) : JinjaException(message);

using ArmoFlow.RewardModel.Text.Jinja;

namespace ArmoFlow.RewardModel.Text.Templates;

/// <summary>How a conversation is written as one text before it becomes tokens.</summary>
public abstract class ChatTemplate
{
    /// <summary>What reports and feature keys call it: equal names, equal texts.</summary>
    public abstract string Name { get; }

    /// <summary>What was found and what it does, in a few words.</summary>
    public abstract string Description { get; }

    /// <summary>False where it trims contents, so that conversations which differ in blanks around them have the same tokens.</summary>
    public abstract bool KeepsBlanks { get; }

    /// <summary>Tokens that are control tokens, whatever a tokenizer.json says of them.</summary>
    internal virtual IReadOnlyCollection<string> Controls => [];

    /// <summary>Writes turns, with what a message says apart from what the template writes.</summary>
    /// <exception cref="JinjaException">It refuses them.</exception>
    internal abstract IReadOnlyList<TextRun> Render(IReadOnlyList<Message> turns);

    /// <summary>Refuses a tokenizer that lacks a token which the template needs.</summary>
    /// <exception cref="InvalidInputException">It lacks one.</exception>
    internal abstract void RequireTokens(BpeTokenizer tokens, string path);

    /// <summary>The turns of a text that this template wrote.</summary>
    /// <param name="text">The text, as trainers decode it.</param>
    /// <param name="place">Where it stands, for the error.</param>
    /// <exception cref="InvalidInputException">It is not a text of this template, or cannot be taken apart.</exception>
    public abstract IReadOnlyList<Message> Parse(string text, string place);

    /// <summary>The template of a backbone's folder.</summary>
    /// <param name="folder">The backbone's.</param>
    /// <param name="date">The day that it writes where it has a date in it.</param>
    /// <exception cref="InvalidInputException">There is none, or it is damaged, or goes beyond what is known of Jinja.</exception>
    public static ChatTemplate Open(string folder, DateOnly? date = null)
    {
        if (TemplateFiles.Find(folder) is not { } file) return new Llama3Template("no chat template: Llama-3's is used");
        DateOnly day = date ?? EncodingOptions.UsualDate;
        Llama3Template llama3 = new("Llama-3 template");
        CheckpointTemplate own = CheckpointTemplate.Read(file.WithDefaults(Llama3Template.TokenNames), day);
        if (own.RendersAs(llama3)) return llama3;
        file.RequireTokens();
        return own;
    }
}

using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace ArmoFlow.RewardModel.Text;

/// <summary>A turn of a conversation.</summary>
/// <param name="Role">system, user or assistant.</param>
/// <param name="Content">Its text.</param>
public sealed record Message(string Role, string Content);

/// <summary>
/// A prompt (one or more turns) and the assistant's response to it. Contents are kept as they are; those of two conversations that
/// differ in blanks at the ends of contents alone have the same id, as most chat templates trim them.
/// </summary>
public sealed class Conversation
{
    private readonly bool _isTrimmed;

    /// <summary>All turns, in order; the last is the response.</summary>
    public IReadOnlyList<Message> Messages { get; }

    /// <summary>sha256, in hex, of the normalised messages.</summary>
    public string Id { get; }

    /// <summary>sha256, in hex, of the normalised messages before the response; equal for all responses to one prompt.</summary>
    public string PromptId { get; }

    /// <summary>
    /// Of the messages as they are: <see cref="Id"/>, and where there are blanks at the ends of contents a digest after it.
    /// </summary>
    public string TextId => _isTrimmed ? Id : $"{Id}-{Digest(Messages)[..16]}";

    /// <summary>The same of the messages before the response.</summary>
    public string PromptTextId => Prompt.All(m => Trimmed(m) == m) ? PromptId : $"{PromptId}-{Digest(Prompt)[..16]}";

    /// <summary>The turns before the response.</summary>
    public IEnumerable<Message> Prompt => Messages.Take(Messages.Count - 1);

    /// <summary>The assistant's last turn.</summary>
    public Message Response => Messages[^1];

    private Conversation(IReadOnlyList<Message> messages)
    {
        Messages = messages;
        List<Message> trimmed = [.. messages.Select(Trimmed)];
        _isTrimmed = trimmed.SequenceEqual(messages);
        Id = Digest(trimmed);
        PromptId = Digest(trimmed.Take(trimmed.Count - 1));
    }

    /// <summary>
    /// Checks: at least one turn before the response, a known role for each, the last one the assistant's and not
    /// empty.
    /// </summary>
    /// <param name="messages">The turns in order.</param>
    /// <param name="place">Where they stand, for the error.</param>
    /// <exception cref="InvalidInputException">One of these does not hold.</exception>
    public static Conversation Create(IEnumerable<Message> messages, string place)
    {
        List<Message> all = [.. messages];
        foreach (Message message in all)
        {
            if (message.Role is not ("system" or "user" or "assistant"))
            {
                throw new InvalidInputException(place, $"a turn of role '{message.Role}'", "system, user or assistant", "Correct the "
                    + "role.");
            }
        }
        if (all.Count == 0 || all[^1].Role != "assistant")
        {
            throw new InvalidInputException(place,
                all.Count == 0 ? "no turns" : $"a conversation that ends with a {all[^1].Role} turn",
                    "a last turn by the assistant", "A reward is given to a response: add it, or leave the row out.");
        }
        if (all.Count == 1)
        {
            throw new InvalidInputException(place, "a response without a prompt", "at least one turn before the response",
                "Add the prompt, or leave the row out.");
        }
        if (PythonText.Strip(all[^1].Content).Length == 0)
        {
            throw new InvalidInputException(place, "an empty response", "text in the last turn", "Leave the row out, or give the "
                + "response.")
            {
                StrayRow = "empty response"
            };
        }
        return new Conversation(all);
    }

    /// <summary>A conversation of one turn and its response.</summary>
    /// <param name="prompt">The user's turn.</param>
    /// <param name="response">The assistant's.</param>
    /// <param name="place">Where they stand, for the error.</param>
    /// <exception cref="InvalidInputException">The response is empty.</exception>
    public static Conversation Create(string prompt, string response, string place) =>
        Create([new Message("user", prompt), new Message("assistant", response)], place);

    /// <summary>The messages as JSON, for the canonical data set.</summary>
    public string ToJson() => JsonSerializer.Serialize(Messages.Select(m => new { role = m.Role, content = m.Content }), PlainJson);

    /// <summary>Reads what <see cref="ToJson"/> wrote.</summary>
    /// <param name="json">The messages.</param>
    public static Conversation FromJson(string json) =>
        new([.. JsonSerializer.Deserialize<List<Message>>(json, PlainJson)!]);

    private static readonly JsonSerializerOptions PlainJson =
        new(JsonSerializerDefaults.Web) { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private static Message Trimmed(Message message)
    {
        string content = PythonText.Strip(message.Content);
        return content.Length == message.Content.Length ? message : message with { Content = content };
    }

    private static string Digest(IEnumerable<Message> messages)
    {
        // Lengths before contents: no two lists of messages share a byte string.
        StringBuilder text = new();
        foreach (Message m in messages)
            text.Append(m.Role.Length).Append(':').Append(m.Role).Append(m.Content.Length).Append(':').Append(m.Content);
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text.ToString())));
    }
}

/// <summary>
/// Python's idea of white space, which the chat templates' <c>trim</c> uses: .NET's, and the four separators U+001C to U+001F.
/// </summary>
public static class PythonText
{
    /// <summary>The text without white space at its ends.</summary>
    /// <param name="text">Any text.</param>
    public static string Strip(string text)
    {
        int begin = 0, end = text.Length;
        while (begin < end && IsSpace(text[begin])) begin++;
        while (end > begin && IsSpace(text[end - 1])) end--;
        return text[begin..end];
    }

    /// <summary>What Python takes for white space.</summary>
    public static bool IsSpace(char c) => char.IsWhiteSpace(c) || c is >= '\u001c' and <= '\u001f';
}

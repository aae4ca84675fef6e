using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace ArmoFlow.Contracts.Specs;

/// <summary>
/// Reads a text's events before anything is built of them. The library calls itself for what is nested, and hashes a mapping's keys, into
/// themselves if it must: what is deep, a list or mapping as a key, and a value within itself would end the process with its stack.
/// </summary>
internal sealed class YamlShape(string file, int mostLevels)
{
    private const int DocumentLevels = 2; // the stream and the document stand around the first value
    private readonly Stack<Collection> _open = new();
    private int _depth;

    private sealed class Collection(bool isMapping, AnchorName anchor)
    {
        private int _taken;

        public AnchorName Anchor => anchor;

        /// <summary>Whether the value that begins is a key of this mapping: every second one.</summary>
        public bool TakesKey() => isMapping && _taken++ % 2 == 0;
    }

    /// <exception cref="SpecException">It is nothing that can be built. What is no YAML at all is not said here.</exception>
    public void Require(string yaml)
    {
        try
        {
            Parser parser = new(new Scanner(new StringReader(yaml)));
            while (parser.MoveNext()) Read(parser.Current!);
        }
        // said as it is loaded, with the place
        catch (Exception e) when (e is YamlException or InvalidOperationException or ArgumentException) { }
    }

    private void Read(ParsingEvent read)
    {
        _depth += read.NestingIncrease;
        if (_depth > mostLevels + DocumentLevels)
            throw Wrong(read, $"lists or mappings nested more than {mostLevels} levels deep", "Correct the brackets or the indentation.");
        if (read is MappingEnd or SequenceEnd) _open.Pop();
        if (read is not (NodeEvent or AnchorAlias)) return;
        bool isKey = _open.TryPeek(out Collection? around) && around.TakesKey();
        if (isKey && read is not Scalar)
            throw Wrong(read, read is AnchorAlias ? "an alias as a key" : "a list or a mapping as a key", "Write the key's name.");
        if (read is AnchorAlias alias && _open.Any(c => c.Anchor == alias.Value))
            throw Wrong(read, $"'*{alias.Value}', a value within itself", "Write it out.");
        if (read is MappingStart or SequenceStart) _open.Push(new Collection(read is MappingStart, ((NodeEvent)read).Anchor));
    }

    private SpecException Wrong(ParsingEvent read, string found, string remedy) =>
        new($"{file} line {read.Start.Line}", found, "the keys of a spec", remedy);
}

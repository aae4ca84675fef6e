using System.IO.Compression;

namespace ArmoFlow;

/// <summary>Decompresses gzip data, and gives up where a small file becomes an endless text.</summary>
internal sealed class BoundedInflate(Stream compressed, long compressedBytes) : Stream
{
    /// <summary>
    /// How many times larger than the file its text may be. Real tables of text stay below 100; deflate itself ends at 1,032.
    /// </summary>
    public const long LargestRatio = 400;

    /// <summary>Bytes of text that any file may have, whatever the ratio.</summary>
    public const long AlwaysAllowed = 100L << 20;

    private readonly GZipStream _text = new(compressed, CompressionMode.Decompress, leaveOpen: true);
    private readonly long _limit = Math.Max(AlwaysAllowed, compressedBytes * LargestRatio);
    private long _read;

    public override bool CanRead => true;
    public override bool CanSeek => false;
    public override bool CanWrite => false;
    public override long Length => throw new NotSupportedException();
    public override long Position { get => _read; set => throw new NotSupportedException(); }

    /// <exception cref="InvalidDataException">The data is damaged, or becomes too large.</exception>
    public override int Read(Span<byte> buffer) => Count(_text.Read(buffer));

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
        Count(await _text.ReadAsync(buffer, cancellationToken));

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override void Flush() { }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing) _text.Dispose();
        base.Dispose(disposing);
    }

    private int Count(int bytes)
    {
        _read += bytes;
        return _read <= _limit
            ? bytes
            : throw new InvalidDataException($"compressed data that becomes more than {_limit:N0} bytes, {LargestRatio} times its size");
    }
}

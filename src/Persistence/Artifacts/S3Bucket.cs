using System.Net;
using System.Security.Cryptography;
using Amazon.Runtime;
using Amazon.S3;
using Amazon.S3.Model;

namespace ArmoFlow.Persistence.Artifacts;

/// <summary>
/// A bucket of S3 or of a server that speaks its protocol (AWS_ENDPOINT_URL). Credentials and region come from the usual AWS
/// variables and files. Large objects go up in parts. Small ones carry their sha256 for the server to check; whoever fetches an
/// artifact checks it again (<see cref="ArtifactStore"/>).
/// </summary>
public sealed class S3Bucket : IBucket, IDisposable
{
    private const long SmallestInParts = 16 << 20, PartBytes = 8 << 20;
    private const string Scheme = "s3://", DefaultRegion = "us-east-1";
    private readonly AmazonS3Client _client;
    private readonly string _bucket, _prefix;

    public S3Bucket(string address)
    {
        string[] parts = address[Scheme.Length..].TrimEnd('/').Split('/', 2);
        _bucket = parts[0];
        _prefix = parts.Length > 1 ? parts[1] + "/" : "";
        Address = address.TrimEnd('/');
        AmazonS3Config config = new() { Timeout = TimeSpan.FromMinutes(5), MaxErrorRetry = 4 };
        if (Environment.GetEnvironmentVariable("AWS_ENDPOINT_URL") is { Length: > 0 } endpoint)
        {
            config.ServiceURL = endpoint;
            config.ForcePathStyle = true;
            config.AuthenticationRegion = Environment.GetEnvironmentVariable("AWS_REGION") ?? DefaultRegion;
            // Other servers may take a checksum behind the body for a part of it.
            config.RequestChecksumCalculation = RequestChecksumCalculation.WHEN_REQUIRED;
            config.ResponseChecksumValidation = ResponseChecksumValidation.WHEN_REQUIRED;
        }
        _client = new AmazonS3Client(config);
    }

    public string Address { get; }

    public static bool IsAddress(string text) => text.StartsWith(Scheme, StringComparison.Ordinal);

    public async Task<bool> Has(string name, CancellationToken cancel) => await SizeOf(name, cancel) is not null;

    public async Task<long?> SizeOf(string name, CancellationToken cancel)
    {
        try { return (await _client.GetObjectMetadataAsync(_bucket, _prefix + name, cancel)).ContentLength; }
        catch (AmazonS3Exception e) when (e.StatusCode == HttpStatusCode.NotFound) { return null; }
    }

    public async Task Put(string name, string path, CancellationToken cancel)
    {
        if (new FileInfo(path).Length >= SmallestInParts)
        {
            await PutInParts(name, path, cancel);
            return;
        }
        byte[] sha256;
        await using (FileStream stream = File.OpenRead(path)) sha256 = await SHA256.HashDataAsync(stream, cancel);
        await _client.PutObjectAsync(new PutObjectRequest
        {
            BucketName = _bucket,
            Key = _prefix + name,
            FilePath = path,
            ChecksumSHA256 = Convert.ToBase64String(sha256),
            UseChunkEncoding = false
        }, cancel);
    }

    /// <summary>By hand: the library's transfer utility always sends signed chunks, which not every server takes apart.</summary>
    private async Task PutInParts(string name, string path, CancellationToken cancel)
    {
        string key = _prefix + name, upload = (await _client.InitiateMultipartUploadAsync(_bucket, key, cancel)).UploadId;
        try
        {
            List<PartETag> parts = [];
            long length = new FileInfo(path).Length;
            for (long at = 0; at < length; at += PartBytes)
            {
                UploadPartRequest request = new()
                {
                    BucketName = _bucket,
                    Key = key,
                    UploadId = upload,
                    PartNumber = parts.Count + 1,
                    FilePath = path,
                    FilePosition = at,
                    PartSize = Math.Min(PartBytes, length - at),
                    UseChunkEncoding = false
                };
                parts.Add(new PartETag(parts.Count + 1, (await _client.UploadPartAsync(request, cancel)).ETag));
            }
            await _client.CompleteMultipartUploadAsync(new CompleteMultipartUploadRequest
            {
                BucketName = _bucket,
                Key = key,
                UploadId = upload,
                PartETags = parts
            }, cancel);
        }
        catch
        {
            await _client.AbortMultipartUploadAsync(_bucket, key, upload, CancellationToken.None);
            throw;
        }
    }

    public async Task<bool> Get(string name, string path, CancellationToken cancel)
    {
        try
        {
            using GetObjectResponse response = await _client.GetObjectAsync(_bucket, _prefix + name, cancel);
            await response.WriteResponseStreamToFileAsync(path, append: false, cancel);
            return true;
        }
        catch (AmazonS3Exception e) when (e.StatusCode == HttpStatusCode.NotFound) { return false; }
    }

    public Task Delete(string name, CancellationToken cancel) => _client.DeleteObjectAsync(_bucket, _prefix + name, cancel);

    public async Task<IReadOnlyList<string>> List(string prefix, CancellationToken cancel) =>
        [.. (await ListMarked(prefix, cancel)).Select(o => o.Name)];

    /// <summary>Names with the tags that change with an object's content.</summary>
    public async Task<IReadOnlyList<(string Name, string Mark)>> ListMarked(string prefix, CancellationToken cancel)
    {
        List<(string, string)> names = [];
        ListObjectsV2Request request = new() { BucketName = _bucket, Prefix = _prefix + prefix };
        while (true)
        {
            ListObjectsV2Response page = await _client.ListObjectsV2Async(request, cancel);
            names.AddRange((page.S3Objects ?? []).Select(o => (o.Key[_prefix.Length..], o.ETag)));
            if (page.IsTruncated != true) return names;
            request.ContinuationToken = page.NextContinuationToken;
        }
    }

    /// <summary>What is wrong with the bucket, for a reader; null if it can be written and read.</summary>
    public async Task<string?> Check(CancellationToken cancel)
    {
        string name = $"check/{Guid.NewGuid():N}", file = Path.GetTempFileName();
        try
        {
            await File.WriteAllTextAsync(file, name, cancel);
            await Put(name, file, cancel);
            await Delete(name, cancel);
            return null;
        }
        catch (Exception e) when (e is AmazonServiceException or AmazonClientException or HttpRequestException)
        {
            string said = (e.InnerException as AmazonS3Exception ?? e).Message.TrimEnd('.');
            return $"{Address}: {said}; expected a bucket that can be written. Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, "
                + "AWS_ENDPOINT_URL and that the bucket exists.";
        }
        finally
        {
            File.Delete(file);
        }
    }

    public void Dispose() => _client.Dispose();
}

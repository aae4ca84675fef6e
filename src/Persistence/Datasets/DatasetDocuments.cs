using ArmoFlow.Contracts.Documents;

namespace ArmoFlow.Persistence.Datasets;

/// <summary>Rows as HTTP and <c>--json</c> show them.</summary>
public static class DatasetDocuments
{
    public static DatasetFileDocument ToDocument(this DatasetFile file) => new()
    {
        Dataset = file.Dataset,
        Sha256 = file.Sha256,
        Version = file.Version,
        FileName = file.FileName,
        Bytes = file.Bytes,
        Rows = file.Rows,
        AddedAt = file.AddedAt,
        AddedBy = file.AddedBy,
        WithdrawnIn = file.WithdrawnIn,
    };
}

using ArmoFlow.Contracts.Documents;

namespace ArmoFlow.Client;

/// <summary>Named data sets, and the policies that wait for them.</summary>
public partial interface IArmoFlowClient
{
    /// <summary>Named data sets.</summary>
    Task<IReadOnlyList<DatasetDocument>> ListDatasets(CancellationToken cancel);

    /// <summary>A data set's files, oldest first.</summary>
    /// <param name="dataset">The data set.</param>
    /// <param name="version">As of this version; null for the newest.</param>
    /// <param name="cancel">Gives up.</param>
    Task<IReadOnlyList<DatasetFileDocument>> DatasetFiles(string dataset, int? version, CancellationToken cancel);

    /// <summary>Adds a file; the same bytes twice are one.</summary>
    /// <param name="dataset">The data set; made where there is none of the name.</param>
    /// <param name="fileName">What the file is called; its ending says its kind.</param>
    /// <param name="content">Its bytes.</param>
    /// <param name="cancel">Gives up.</param>
    Task<DatasetAddition> AddFile(string dataset, string fileName, Stream content, CancellationToken cancel);

    /// <summary>Makes a version without a file; earlier versions keep it.</summary>
    /// <param name="dataset">The data set.</param>
    /// <param name="file">The file's sha256, or its name where one file alone has it.</param>
    /// <param name="reason">Why.</param>
    /// <param name="cancel">Gives up.</param>
    Task<DatasetFileDocument> WithdrawFile(string dataset, string file, string reason, CancellationToken cancel);

    /// <summary>Watched places, with what could not be taken from them.</summary>
    Task<IReadOnlyList<WatchDocument>> Watches(CancellationToken cancel);

    /// <summary>Has files added as they arrive.</summary>
    /// <param name="dataset">The data set.</param>
    /// <param name="address">A folder where the server runs, or s3://bucket/prefix.</param>
    /// <param name="cancel">Gives up.</param>
    Task<WatchDocument> WatchPlace(string dataset, string address, CancellationToken cancel);

    /// <summary>Watches a place no more; what was added stays.</summary>
    Task UnwatchPlace(string dataset, string address, CancellationToken cancel);

    /// <summary>Retrain policies.</summary>
    Task<IReadOnlyList<PolicyDocument>> ListPolicies(CancellationToken cancel);

    /// <summary>Adds a retrain policy, or puts it in place of the one of its name.</summary>
    /// <param name="request">The policy.</param>
    /// <param name="folder">What its spec's paths are relative to.</param>
    /// <param name="cancel">Gives up.</param>
    Task<PolicyDocument> PutPolicy(PolicyRequest request, string folder, CancellationToken cancel);

    /// <summary>Pauses a retrain policy.</summary>
    Task<PolicyDocument> PausePolicy(string name, CancellationToken cancel);

    /// <summary>Goes on with a retrain policy; what has arrived in between counts.</summary>
    Task<PolicyDocument> ResumePolicy(string name, CancellationToken cancel);

    /// <summary>Removes a retrain policy.</summary>
    Task RemovePolicy(string name, CancellationToken cancel);
}

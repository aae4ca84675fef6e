using Microsoft.Data.Sqlite;

namespace ArmoFlow.Persistence;

/// <summary>
/// Ways to open a workspace's database. To read one, SQLite writes: an index of the write-ahead log beside the database. On a full disk,
/// or where the folder may only be read, there are ways without.
/// </summary>
public static class WorkspaceDatabase
{
    private const int ReadOnly = 8, IoError = 10, Full = 13, CannotOpen = 14;
    private const int BusySeconds = 60;

    /// <summary>For reading and writing.</summary>
    public static string Connection(Workspace workspace) =>
        new SqliteConnectionStringBuilder { DataSource = workspace.Database, DefaultTimeout = BusySeconds }.ToString();

    /// <summary>
    /// For whoever mostly reads: as <see cref="Connection"/> where that works, else read-only, else a copy that goes with the
    /// process.
    /// </summary>
    /// <exception cref="SqliteException">None of the ways works; the error is that of the first.</exception>
    public static string ReadingConnection(Workspace workspace)
    {
        string usual = Connection(workspace);
        if (WhyNot(usual) is not { } refused) return usual;
        string log = workspace.Database + "-wal";
        bool isWhole = !File.Exists(log) || new FileInfo(log).Length == 0; // all that was committed is in the database itself
        string readOnly = new SqliteConnectionStringBuilder { DataSource = workspace.Database, Mode = SqliteOpenMode.ReadOnly }.ToString();
        if (WhyNot(readOnly) is null) return readOnly;
        string immutable = Immutable(workspace.Database);
        if (isWhole && WhyNot(immutable) is null) return immutable;
        string copy = ReadOnlyCopy(workspace);
        return WhyNot(copy) is null ? copy : throw refused;
    }

    /// <summary>
    /// Closes the connections that this process keeps open for their next use; with the last one the write-ahead log is taken into the
    /// database, which is one file then.
    /// </summary>
    public static void CloseAll() => SqliteConnection.ClearAllPools();

    /// <summary>True for what SQLite says where the file system cannot be written.</summary>
    public static bool IsUnwritable(SqliteException e) => e.SqliteErrorCode is ReadOnly or IoError or Full or CannotOpen;

    private static SqliteException? WhyNot(string connection)
    {
        try
        {
            // Not pooled: a connection that was opened before another way was found would be used again.
            using SqliteConnection database = new(new SqliteConnectionStringBuilder(connection) { Pooling = false }.ToString());
            database.Open();
            using SqliteCommand command = database.CreateCommand();
            command.CommandText = "select count(*) from sqlite_master";
            command.ExecuteScalar();
            return null;
        }
        catch (SqliteException e) when (IsUnwritable(e)) { return e; }
    }

    private static string Immutable(string database)
    {
        string path = string.Join('/', database.Split('/').Select(Uri.EscapeDataString));
        return new SqliteConnectionStringBuilder { DataSource = $"file:{path}?immutable=1", Mode = SqliteOpenMode.ReadOnly }.ToString();
    }

    /// <summary>Database and log together, in a folder for temporary files; nobody can take it for the workspace and write to it.</summary>
    private static string ReadOnlyCopy(Workspace workspace)
    {
        Workspace copy = new(Copy(workspace));
        using (SqliteConnection database = new(new SqliteConnectionStringBuilder(Connection(copy)) { Pooling = false }.ToString()))
        {
            database.Open();
            using SqliteCommand command = database.CreateCommand();
            command.CommandText = "pragma journal_mode = delete"; // takes the log in
            command.ExecuteScalar();
        }
        return new SqliteConnectionStringBuilder { DataSource = copy.Database, Mode = SqliteOpenMode.ReadOnly }.ToString();
    }

    private static string Copy(Workspace workspace)
    {
        string folder = Directory.CreateTempSubdirectory("armoflow-books-").FullName;
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(folder, recursive: true);
        foreach (string suffix in new[] { "", "-wal" })
        {
            string source = workspace.Database + suffix;
            if (File.Exists(source)) File.Copy(source, new Workspace(folder).Database + suffix);
        }
        return folder;
    }
}

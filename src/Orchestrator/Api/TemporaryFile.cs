using Microsoft.AspNetCore.Http;

namespace ArmoFlow.Orchestrator.Api;

/// <summary>A file that an answer is written to before it is sent; gone with the request, also where that fails.</summary>
internal static class TemporaryFile
{
    public static FileStream For(HttpContext context)
    {
        FileStream file =
            new(Path.GetTempFileName(), FileMode.Open, FileAccess.ReadWrite, FileShare.None, 1 << 16, FileOptions.DeleteOnClose);
        context.Response.RegisterForDispose(file);
        return file;
    }
}

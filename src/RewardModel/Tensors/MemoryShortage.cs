using System.Runtime.InteropServices;

namespace ArmoFlow.RewardModel.Tensors;

/// <summary>How a lack of memory shows: libtorch reports it as any other failure, with a text.</summary>
internal static class MemoryShortage
{
    // c10's allocators: "DefaultCPUAllocator: can't allocate memory", "CUDA out of memory"; the standard library's: std::bad_alloc
    private static readonly string[] Texts = ["can't allocate memory", "not enough memory", "out of memory", "bad_alloc"];

    /// <summary>Whether a failure is one.</summary>
    public static bool Is(Exception failure) => failure is OutOfMemoryException
        || (failure is ExternalException && Texts.Any(text => failure.Message.Contains(text, StringComparison.OrdinalIgnoreCase)));
}

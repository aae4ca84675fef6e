using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace ArmoFlow.RewardModel.Features;

/// <summary>A split by the hash of an id: it never moves when data is added, and equal ids are never on both sides.</summary>
public static class HashSplit
{
    /// <summary>The share of ids that are held out.</summary>
    public const double HeldOutShare = 0.2;

    /// <summary>Whether this id belongs to the held-out 20 %.</summary>
    /// <param name="id">A conversation's or a prompt's id.</param>
    /// <param name="salt">Tells apart independent splits of the same ids.</param>
    public static bool IsHeldOut(string id, string salt)
    {
        byte[] hash = SHA256.HashData(Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{salt}:{id}")));
        return BitConverter.ToUInt32(hash, 0) < HeldOutShare * uint.MaxValue;
    }
}

using System.Security.Cryptography;
using ArmoFlow.Contracts.Documents;

namespace ArmoFlow.Persistence.Audit;

/// <summary>Signs heads where ARMOFLOW_AUDIT_KEY names a private key (PEM, ECDSA on P-256).</summary>
public static class AuditSigning
{
    public const string KeyVariable = "ARMOFLOW_AUDIT_KEY";

    /// <exception cref="SettingException">The file holds no private key.</exception>
    public static SignedHead Signed(SignedHead head)
    {
        if (Environment.GetEnvironmentVariable(KeyVariable) is not { Length: > 0 } path) return head;
        using ECDsa key = ECDsa.Create();
        try { key.ImportFromPem(File.ReadAllText(path)); }
        catch (Exception e)
            when (e is ArgumentException or IOException)
        {
            throw new SettingException($"{KeyVariable}: {path} holds no private key; expected PEM such as 'openssl ecparam -name "
                + "prime256v1 -genkey -noout' writes.");
        }
        return head.Sign(key);
    }
}

using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence.Audit;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Persistence.Models;

/// <summary>What models ask of their versions: set by administrators, in versions of their own, applied whatever a spec says.</summary>
public sealed class PolicyStore(IDbContextFactory<ArmoFlowDbContext> contexts, TimeProvider time)
{
    /// <summary>The policy that counts now; null where there is none.</summary>
    public static async Task<ModelPolicy?> Current(ArmoFlowDbContext db, string model, CancellationToken cancel)
    {
        ModelPolicy? newest = await db.ModelPolicies.AsNoTracking().Where(p => p.Model == model)
            .OrderByDescending(p => p.Version).FirstOrDefaultAsync(cancel);
        return newest?.Policy is null ? null : newest;
    }

    /// <summary>The policy that counts now; null where there is none.</summary>
    public async Task<ModelPolicy?> Current(string model, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await Current(db, model, cancel);
    }

    /// <summary>All that a model's policy ever was, newest first.</summary>
    public async Task<IReadOnlyList<ModelPolicy>> History(string model, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.ModelPolicies.AsNoTracking().Where(p => p.Model == model).OrderByDescending(p => p.Version).ToListAsync(cancel);
    }

    /// <summary>Sets a model's policy; the model need not be there yet.</summary>
    /// <exception cref="RegistryException">There is no reason, or no such name.</exception>
    public Task<ModelPolicy> Set(string model, PolicySpec policy, string? reason, CancellationToken cancel) =>
        Enter(model, policy, reason, cancel);

    /// <summary>From now on specs alone say what is asked of the model.</summary>
    /// <exception cref="RegistryException">It has no policy, or there is no reason.</exception>
    public async Task<ModelPolicy> Remove(string model, string? reason, CancellationToken cancel)
    {
        if (await Current(model, cancel) is null) throw new RegistryException($"model '{model}' has no policy.", Refusal.Missing);
        return await Enter(model, null, reason, cancel);
    }

    /// <summary>Refuses a spec whose rule would promote without the people that the model's policy wants.</summary>
    /// <exception cref="RegistryException">It has such a rule.</exception>
    public static async Task RequireRoomForRule(ArmoFlowDbContext db, RunSpec spec, CancellationToken cancel)
    {
        if (spec.Promotion?.Automatic is not { } alias || await Current(db, spec.Name, cancel) is not { Policy: { } policy }) return;
        if (PolicySpec.RuleOf(policy, spec.Promotion) is not null) return;
        string wants = policy.Approvals > 1 ? $"{policy.Approvals} people to ask for a promotion (approvals)"
            : $"{string.Join(", ", policy.Promoters)} to promote (promoters)";
        throw new RegistryException($"promotion.automatic: '{alias}': the policy of model '{spec.Name}' wants {wants}, which a spec's "
            + $"rule would go past. Remove 'automatic' from the spec. See: armoflow models policy show {spec.Name}.",
            Refusal.Unusable);
    }

    private async Task<ModelPolicy> Enter(string model, PolicySpec? policy, string? reason, CancellationToken cancel)
    {
        if (string.IsNullOrWhiteSpace(reason))
        {
            throw new RegistryException("a policy is changed for a reason: --reason TEXT.", Refusal.Unusable);
        }
        if (string.IsNullOrWhiteSpace(model)
            || model.Contains('@', StringComparison.Ordinal))
        {
            throw new RegistryException($"model '{model}': expected a model's name without a version.", Refusal.Unusable);
        }
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        ModelPolicy? before = await db.ModelPolicies.AsNoTracking().Where(p => p.Model == model)
            .OrderByDescending(p => p.Version).FirstOrDefaultAsync(cancel);
        ModelPolicy row = new()
        {
            Model = model,
            Version = (before?.Version ?? 0) + 1,
            Policy = policy,
            SetBy = Caller.Current.Name,
            At = time.GetUtcNow(),
            Reason = reason
        };
        db.ModelPolicies.Add(row);
        db.Note(policy is null ? "model.policy-removed" : "model.policy-set", $"model/{model}", before is null ? null
            : new { version = before.Version, policy = before.Policy }, new { version = row.Version, policy, reason });
        try { await db.SaveChangesAsync(cancel); }
        catch (DbUpdateException)
        {
            throw new RegistryException($"the policy of '{model}' was changed by somebody else at the same moment. See: armoflow models "
                + $"policy show {model}; then ask again.");
        }
        return row;
    }
}

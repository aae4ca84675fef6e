using System.Data;
using System.Runtime.CompilerServices;
using MassTransit;
using MassTransit.Context;
using MassTransit.Middleware;
using MassTransit.Saga;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Persistence.Sagas;

/// <summary>
/// Saga storage on EF Core, on MassTransit's extension point. One message is one transaction that locks the saga's row from
/// the load to the commit (Postgres: FOR UPDATE; SQLite: an immediate transaction, which admits one writer). What the saga
/// sends goes out before the commit: after a crash in between, the message that caused it comes again and the saga sends
/// again, with the same attempt number. Nothing is lost, and a step asked twice is done once, by its key.
/// </summary>
public sealed class SagaRepositoryContextFactory<TSaga, TContext>(IDbContextFactory<TContext> contexts, ISagaConsumeContextFactory<DbContext, TSaga> consumeContexts) :
    ISagaRepositoryContextFactory<TSaga>, ILoadSagaRepositoryContextFactory<TSaga>, IQuerySagaRepositoryContextFactory<TSaga>
    where TSaga : class, ISaga
    where TContext : DbContext
{
    public void Probe(ProbeContext context) => context.Add("persistence", "entity framework core");

    public Task Send<T>(ConsumeContext<T> context, IPipe<SagaRepositoryContext<TSaga, T>> next) where T : class =>
        InTransaction(async db =>
        {
            await next.Send(new SagaContext<T>(db, context, consumeContexts));
            return true;
        }, context.CancellationToken);

    public Task SendQuery<T>(ConsumeContext<T> context, ISagaQuery<TSaga> query, IPipe<SagaRepositoryQueryContext<TSaga, T>> next) where T : class =>
        InTransaction(async db =>
        {
            List<TSaga> instances = await db.Set<TSaga>().Where(query.FilterExpression).ToListAsync(context.CancellationToken);
            await next.Send(new LoadedSagaRepositoryQueryContext<TSaga, T>(new SagaContext<T>(db, context, consumeContexts), instances));
            return true;
        }, context.CancellationToken);

    public Task<T> Execute<T>(Func<LoadSagaRepositoryContext<TSaga>, Task<T>> asyncMethod, CancellationToken cancellationToken = default) where T : class =>
        InTransaction(db => asyncMethod(new ReadContext(db, cancellationToken)), cancellationToken);

    public Task<T> Execute<T>(Func<QuerySagaRepositoryContext<TSaga>, Task<T>> asyncMethod, CancellationToken cancellationToken = default) where T : class =>
        InTransaction(db => asyncMethod(new ReadContext(db, cancellationToken)), cancellationToken);

    private static IQueryable<TSaga> Locked(DbContext db, Guid correlationId)
    {
        if (!db.Database.IsNpgsql()) return db.Set<TSaga>().Where(s => s.CorrelationId == correlationId);
        string table = db.Model.FindEntityType(typeof(TSaga))!.GetTableName()!;
        return db.Set<TSaga>().FromSql(FormattableStringFactory.Create($"select * from \"{table}\" where correlation_id = {{0}} for update", correlationId));
    }

    private async Task<T> InTransaction<T>(Func<DbContext, Task<T>> work, CancellationToken cancel)
    {
        await using TContext db = await contexts.CreateDbContextAsync(cancel);
        await using Microsoft.EntityFrameworkCore.Storage.IDbContextTransaction transaction = await db.Database.BeginTransactionAsync(db.Database.IsNpgsql() ? IsolationLevel.ReadCommitted : IsolationLevel.Serializable, cancel);
        T result = await work(db);
        await transaction.CommitAsync(cancel);
        return result;
    }

    private sealed class SagaContext<T>(DbContext db, ConsumeContext<T> context, ISagaConsumeContextFactory<DbContext, TSaga> consumeContexts) :
        ConsumeContextScope<T>(context, db), SagaRepositoryContext<TSaga, T>
        where T : class
    {
        private readonly ConsumeContext<T> _context = context;

        public Task<SagaConsumeContext<TSaga, TMessage>> CreateSagaConsumeContext<TMessage>(ConsumeContext<TMessage> consumeContext, TSaga instance, SagaConsumeContextMode mode)
            where TMessage : class => consumeContexts.CreateSagaConsumeContext(db, consumeContext, instance, mode);

        public Task<SagaConsumeContext<TSaga, T>> Add(TSaga instance) => consumeContexts.CreateSagaConsumeContext(db, _context, instance, SagaConsumeContextMode.Add);

        public async Task<SagaConsumeContext<TSaga, T>> Insert(TSaga instance)
        {
            db.Add(instance);
            await db.SaveChangesAsync(CancellationToken);
            return await consumeContexts.CreateSagaConsumeContext(db, _context, instance, SagaConsumeContextMode.Insert);
        }

        public async Task<SagaConsumeContext<TSaga, T>> Load(Guid correlationId)
        {
            TSaga? instance = await Locked(db, correlationId).SingleOrDefaultAsync(CancellationToken);
            return instance is null ? null! : await consumeContexts.CreateSagaConsumeContext(db, _context, instance, SagaConsumeContextMode.Load);
        }

        public async Task Save(SagaConsumeContext<TSaga> context)
        {
            db.Add(context.Saga);
            await db.SaveChangesAsync(CancellationToken);
        }

        public Task Update(SagaConsumeContext<TSaga> context) => db.SaveChangesAsync(CancellationToken);

        public async Task Delete(SagaConsumeContext<TSaga> context)
        {
            db.Remove(context.Saga);
            await db.SaveChangesAsync(CancellationToken);
        }

        public Task Discard(SagaConsumeContext<TSaga> context) => Task.CompletedTask;

        public Task Undo(SagaConsumeContext<TSaga> context)
        {
            db.Entry(context.Saga).State = EntityState.Unchanged;
            return Task.CompletedTask;
        }
    }

    private sealed class ReadContext(DbContext db, CancellationToken cancel) : BasePipeContext(cancel), LoadSagaRepositoryContext<TSaga>, QuerySagaRepositoryContext<TSaga>
    {
        public async Task<TSaga> Load(Guid correlationId) => (await db.Set<TSaga>().SingleOrDefaultAsync(s => s.CorrelationId == correlationId, CancellationToken))!;

        public async Task<SagaRepositoryQueryContext<TSaga>> Query(ISagaQuery<TSaga> query, CancellationToken cancellationToken = default) =>
            new LoadedSagaRepositoryQueryContext<TSaga>(this, await db.Set<TSaga>().Where(query.FilterExpression).ToListAsync(cancellationToken));
    }
}

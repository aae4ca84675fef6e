using System.Runtime.CompilerServices;
using ArmoFlow.Persistence.Outbox;
using ArmoFlow.Persistence.Runs;
using MassTransit;
using MassTransit.Context;
using MassTransit.Middleware;
using MassTransit.Saga;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Persistence.Sagas;

/// <summary>
/// Saga storage on EF Core, on MassTransit's extension point. A message's one transaction (<see cref="MessageTransaction"/>) locks
/// the saga's row from the load to the commit (Postgres: FOR UPDATE; SQLite: an immediate transaction, which admits one writer).
/// </summary>
public sealed class SagaRepositoryContextFactory<TSaga, TContext>(
    IDbContextFactory<TContext> contexts,
    ISagaConsumeContextFactory<DbContext, TSaga> consumeContexts,
    RunChanges changes) :
    ISagaRepositoryContextFactory<TSaga>, ILoadSagaRepositoryContextFactory<TSaga>, IQuerySagaRepositoryContextFactory<TSaga>
    where TSaga : class, ISaga
    where TContext : DbContext
{
    public void Probe(ProbeContext context) => context.Add("persistence", "entity framework core");

    public async Task Send<T>(ConsumeContext<T> context, IPipe<SagaRepositoryContext<TSaga, T>> next) where T : class
    {
        MessageTransaction transaction = context.GetPayload<MessageTransaction>();
        if (!await transaction.TryBegin(context.CancellationToken)) return;
        transaction.AfterCommit = () =>
        {
            changes.Raise();
            return Task.CompletedTask;
        };
        await next.Send(new SagaContext<T>(transaction.Database, context, consumeContexts));
    }

    public async Task SendQuery<T>(ConsumeContext<T> context, ISagaQuery<TSaga> query,
        IPipe<SagaRepositoryQueryContext<TSaga, T>> next) where T : class
    {
        MessageTransaction transaction = context.GetPayload<MessageTransaction>();
        if (!await transaction.TryBegin(context.CancellationToken)) return;
        List<TSaga> instances = await transaction.Database.Set<TSaga>()
            .Where(query.FilterExpression)
            .ToListAsync(context.CancellationToken);
        await next.Send(new LoadedSagaRepositoryQueryContext<TSaga, T>(new SagaContext<T>(transaction.Database, context, consumeContexts),
            instances));
    }

    public Task<T> Execute<T>(Func<LoadSagaRepositoryContext<TSaga>, Task<T>> asyncMethod,
        CancellationToken cancellationToken = default) where T : class =>
        Read(db => asyncMethod(new ReadContext(db, cancellationToken)), cancellationToken);

    public Task<T> Execute<T>(Func<QuerySagaRepositoryContext<TSaga>, Task<T>> asyncMethod,
        CancellationToken cancellationToken = default) where T : class =>
        Read(db => asyncMethod(new ReadContext(db, cancellationToken)), cancellationToken);

    private static IQueryable<TSaga> Locked(DbContext db, Guid correlationId)
    {
        if (!db.Database.IsNpgsql()) return db.Set<TSaga>().Where(s => s.CorrelationId == correlationId);
        string table = db.Model.FindEntityType(typeof(TSaga))!.GetTableName()!;
        return db.Set<TSaga>()
            .FromSql(FormattableStringFactory.Create($"select * from \"{table}\" where correlation_id = {{0}} for update", correlationId));
    }

    private async Task<T> Read<T>(Func<DbContext, Task<T>> work, CancellationToken cancel)
    {
        await using TContext db = await contexts.CreateDbContextAsync(cancel);
        return await work(db);
    }

    private sealed class SagaContext<T>(
        DbContext db,
        ConsumeContext<T> context,
        ISagaConsumeContextFactory<DbContext, TSaga> consumeContexts) :
        ConsumeContextScope<T>(context, db), SagaRepositoryContext<TSaga, T>
        where T : class
    {
        private readonly ConsumeContext<T> _context = context;

        public Task<SagaConsumeContext<TSaga, TMessage>> CreateSagaConsumeContext<TMessage>(ConsumeContext<TMessage> consumeContext,
            TSaga instance, SagaConsumeContextMode mode)
            where TMessage : class => consumeContexts.CreateSagaConsumeContext(db, consumeContext, instance, mode);

        public Task<SagaConsumeContext<TSaga, T>> Add(TSaga instance) =>
            consumeContexts.CreateSagaConsumeContext(db, _context, instance, SagaConsumeContextMode.Add);

        public async Task<SagaConsumeContext<TSaga, T>> Insert(TSaga instance)
        {
            db.Add(instance);
            await db.SaveChangesAsync(CancellationToken);
            return await consumeContexts.CreateSagaConsumeContext(db, _context, instance, SagaConsumeContextMode.Insert);
        }

        public async Task<SagaConsumeContext<TSaga, T>> Load(Guid correlationId)
        {
            TSaga? instance = await Locked(db, correlationId).SingleOrDefaultAsync(CancellationToken);
            return instance is null
                ? null!
                : await consumeContexts.CreateSagaConsumeContext(db, _context, instance, SagaConsumeContextMode.Load);
        }

        // What is tracked is saved with the outbox, in one round trip.
        public Task Save(SagaConsumeContext<TSaga> context)
        {
            db.Add(context.Saga);
            return Task.CompletedTask;
        }

        public Task Update(SagaConsumeContext<TSaga> context) => Task.CompletedTask;

        public Task Delete(SagaConsumeContext<TSaga> context)
        {
            db.Remove(context.Saga);
            return Task.CompletedTask;
        }

        public Task Discard(SagaConsumeContext<TSaga> context) => Task.CompletedTask;

        public Task Undo(SagaConsumeContext<TSaga> context)
        {
            db.Entry(context.Saga).State = EntityState.Unchanged;
            return Task.CompletedTask;
        }
    }

    private sealed class ReadContext(
        DbContext db,
        CancellationToken cancel) : BasePipeContext(cancel), LoadSagaRepositoryContext<TSaga>, QuerySagaRepositoryContext<TSaga>
    {
        public async Task<TSaga> Load(Guid correlationId) =>
            (await db.Set<TSaga>().SingleOrDefaultAsync(s => s.CorrelationId == correlationId, CancellationToken))!;

        public async Task<SagaRepositoryQueryContext<TSaga>> Query(ISagaQuery<TSaga> query,
            CancellationToken cancellationToken = default) =>
            new LoadedSagaRepositoryQueryContext<TSaga>(this,
                await db.Set<TSaga>().Where(query.FilterExpression).ToListAsync(cancellationToken));
    }
}

using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("ArmoFlow.Persistence.Tests")]
[assembly: InternalsVisibleTo("ArmoFlow.Bench")]

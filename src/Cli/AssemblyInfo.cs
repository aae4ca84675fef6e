using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("ArmoFlow.EndToEnd.Tests")]
[assembly: InternalsVisibleTo("ArmoFlow.Bench")]

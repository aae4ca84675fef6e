using System.Globalization;
using System.Reflection;
using System.Text;
using ArmoFlow.Contracts;
using Microsoft.AspNetCore.Http;
using Microsoft.Net.Http.Headers;

namespace ArmoFlow.Orchestrator.Api;

/// <summary>
/// Refuses what would be read as something else than it says: a comma in a number of a query, which is taken for a separator of
/// thousands (-1,5 is -15), a date in the order of one country, and a body in an encoding that does not exist.
/// </summary>
internal static class PlainForms
{
    public static Task Require(HttpContext context, RequestDelegate next)
    {
        if (UnknownEncoding(context.Request.ContentType) is { } encoding)
        {
            return Refuse(context, StatusCodes.Status415UnsupportedMediaType,
                $"Content-Type: charset '{encoding}'; expected utf-8. Send the body in UTF-8.");
        }
        foreach (ParameterInfo parameter in context.GetEndpoint()?.Metadata.GetMetadata<MethodInfo>()?.GetParameters() ?? [])
        {
            string? value = parameter.Name is { } name ? context.Request.Query[name] : (string?)null;
            if (string.IsNullOrEmpty(value) || IsPlain(value, parameter.ParameterType)) continue;
            string expected = ValueForms.Of(parameter.ParameterType.ToString());
            return Refuse(context, StatusCodes.Status400BadRequest,
                $"{parameter.Name}: '{Shown.Cut(value, Shown.MostFound)}'; expected {expected}. Correct it.");
        }
        return next(context);
    }

    private static bool IsPlain(string value, Type type)
    {
        Type read = Nullable.GetUnderlyingType(type) ?? type;
        if (read == typeof(double))
            return double.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out double n) && double.IsFinite(n);
        return read != typeof(DateTimeOffset) || IsoTime.TryParse(value, out _);
    }

    private static string? UnknownEncoding(string? contentType)
    {
        if (!MediaTypeHeaderValue.TryParse(contentType, out MediaTypeHeaderValue? type) || !type.Charset.HasValue) return null;
        return type.Encoding is Encoding ? null : type.Charset.ToString();
    }

    private static Task Refuse(HttpContext context, int status, string detail) =>
        TypedResults.Problem(detail, title: "The request cannot be read.", statusCode: status).ExecuteAsync(context);
}

"""What `sparring serve` answers, as an OpenAPI document."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

ERRORS = {
    400: "The request cannot be met; `error` says why.",
    403: "The token is missing or wrong, or the request comes from another site's page.",
    404: "There is no such model or address.",
    408: "The request took too long to arrive.",
    413: "The request is too long.",
    429: "Too many requests are waiting: try again after `Retry-After` seconds.",
    503: "The server is ending.",
}
LABEL = {
    "oneOf": [
        {"type": "string"},
        {"type": "number"},
        {"type": "object", "additionalProperties": {"type": ["string", "number"]}},
    ]
}

WHERE = 'Of tables: conditions such as "sex=female, age>40", by which rows are drawn until enough of them meet all.'


def describe_service(models: Sequence[str], formats: Sequence[str], *, with_token: bool) -> dict[str, Any]:
    """The document.

    Args:
        models: their names.
        formats: of samples.
        with_token: whether requests need one.
    """
    model = {"type": "string", "enum": [*models]}
    form = {"type": "string", "enum": [*formats], "description": "By default png, wav for sounds, csv for tables."}
    wanted = {
        "type": "object",
        "additionalProperties": False,
        "required": ["model"] if len(models) > 1 else [],
        "properties": {
            "model": model,
            "n": {"type": "integer", "minimum": 1, "maximum": 1024, "default": 1},
            "seed": {"type": "integer", "minimum": 0, "maximum": 2**64 - 1, "default": 0},
            "labels": {"oneOf": [*LABEL["oneOf"], {"type": "array", "items": LABEL}]},
            "truncation": {"type": "number", "exclusiveMinimum": 0, "maximum": 1000},
            "where": {"type": "string", "maxLength": 1000, "description": WHERE},
            "format": form,
        },
    }
    file = {"schema": {"type": "string", "format": "binary"}}
    files = dict.fromkeys(("image/png", "image/jpeg", "image/webp", "audio/wav", "application/octet-stream"), file)
    files["application/json"] = {"schema": {"type": "object"}}
    texts = files | {"text/tab-separated-values": file, "text/plain": file}
    query = [
        {"name": "model", "in": "query", "required": len(models) > 1, "schema": model},
        {"name": "back", "in": "query", "schema": {"type": "boolean", "default": False}},
        {"name": "format", "in": "query", "schema": {"type": "string", "enum": [*formats]}},
    ]
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "sparring", "version": version("sparring"), "summary": "Samples of trained generators."},
        "paths": {
            "/sample": {
                "post": {
                    "operationId": "sample",
                    "summary": "Samples: the same for the same seed, and the same as those of `sparring sample`.",
                    "requestBody": {"content": {"application/json": {"schema": wanted}}},
                    "responses": _responses("The samples, in one file.", files),
                }
            },
            "/translate": {
                "post": {
                    "operationId": "translate",
                    "summary": "What a translator makes of the items in a file, as `sparring translate` does.",
                    "parameters": query,
                    "requestBody": {"content": {"*/*": file}, "required": True},
                    "responses": _responses("The translated items, in one file.", texts),
                }
            },
            "/models": {"get": _get("models", "What each model makes, and what can be asked of it.")},
            "/models/{name}": {
                "get": _get("page", "A page that draws samples of a model.", "text/html")
                | {"parameters": [{"name": "name", "in": "path", "required": True, "schema": model}]}
            },
            "/healthz": {"get": _get("health", "200 while requests are taken, and 503 afterwards.")},
            "/metrics": {"get": _get("metrics", "Counters in the text form of Prometheus.", "text/plain")},
            "/": {"get": _get("home", "A page that draws samples, or a list of such pages.", "text/html")},
        },
        "components": {
            "schemas": {"Error": {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}}
        },
    }
    if with_token:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
    return document


def _get(name: str, summary: str, kind: str = "application/json") -> dict[str, Any]:
    schema = {"type": "object"} if kind == "application/json" else {"type": "string"}
    return {"operationId": name, "summary": summary, "responses": _responses(summary, {kind: {"schema": schema}})}


def _responses(what: str, content: dict[str, Any]) -> dict[str, Any]:
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    errors = {str(status): {"description": text, "content": error} for status, text in ERRORS.items()}
    return {"200": {"description": what, "content": content}, **errors}

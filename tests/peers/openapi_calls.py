"""The API of the page as its own document tells it.

openapi_calls.py PORT TOKEN: reads the document that is served there and lets openapi-spec-validator judge it. Then makes
each call that it names with what is wrong: parameters and bodies of another type, out of range, unknown, twice, cut
off, too long. Prints one JSON line: the number of operations and of calls, answers by status, and what must not be: answers
of the server's own fault (`failed`), with a status that the document does not name (`untold`), and refusals that say
no code, message and help (`uncoded`).
"""

import http.client
import json
import sys

from openapi_spec_validator import validate

port, token = int(sys.argv[1]), sys.argv[2]
# What no parameter may take, or only some.
WORDS = ["", "-1", "0", "1.5", "1e999", "nan", "99999999999999999999999", "x", "%00", "%ff%fe", "%zz", "..%2F..%2Fetc", "9" * 300]
VALUES = [None, "", "x", "x" * 1000, -1, 0, 0.5, 1e308, 10**30, True, [], [[]], {}, {"x": 1}]
BODIES = [b"", b"{", b"null", b"[]", b"7", b'"x"', b"\xff\xfe", b"[" * 4000, b'{"x":', b"{}" * 4000]


def call(method, path, body=b"", kind="application/json", more=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": kind, **(more or {})}
    connection.request(method.upper(), path, body, headers)
    answer = connection.getresponse()
    # A stream has no end.
    text = b"" if answer.getheader("content-type", "").startswith("text/event-stream") else answer.read()
    connection.close()
    return answer.status, text


document = json.loads(call("get", "/api/v1/openapi.json")[1])
validate(document)


def resolved(part):
    """A part of the document, or what it points to."""
    while "$ref" in part:
        target = document
        for key in part["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        part = target
    return part


def right(schema):
    """A value that the schema takes."""
    schema = resolved(schema)
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        return {name: right(properties[name]) for name in schema.get("required", [])}
    if schema.get("type") == "array":
        return [right(schema["items"])]
    return {"string": "x", "boolean": True}.get(schema.get("type"), 1)


def named(operation, place):
    """The parameters of an operation that are in this place."""
    return [told["name"] for told in map(resolved, operation.get("parameters", [])) if told["in"] == place]


def queries(operation):
    """None, then each parameter with each word, twice, and one that is unknown."""
    yield ""
    for name in named(operation, "query"):
        yield from (f"?{name}={word}" for word in WORDS)
        yield f"?{name}=1&{name}=2"
    yield "?nothing=1"


def bodies(schema):
    """No body of this kind, then right ones in which one entry is wrong, missing or unknown."""
    yield from BODIES
    schema, whole = resolved(schema), right(schema)
    for name in schema.get("properties", {}):
        yield from (json.dumps({**whole, name: value}).encode() for value in VALUES)
        yield json.dumps({key: value for key, value in whole.items() if key != name}).encode()
    yield json.dumps({**whole, "nothing": 1}).encode()


def calls(path, method, operation):
    content = operation.get("requestBody", {}).get("content", {"application/json": {"schema": {"type": "object"}}})
    ((kind, told),) = content.items()
    schema = told["schema"]
    whole = json.dumps(right(schema)).encode() if "requestBody" in operation else b""
    paths = [path.replace("{atom}", word) for word in WORDS if word] if named(operation, "path") else [path]
    for one in paths:
        yield from ((one + query, whole, kind, None) for query in queries(operation))
    for name in named(operation, "header"):
        yield from ((paths[0], whole, kind, {name: word}) for word in WORDS)
    if method != "get":
        yield from ((path, body, kind, None) for body in bodies(schema))


operations = [(path, method, operation) for path, methods in document["paths"].items() for method, operation in methods.items()]
# Wrong tokens come last: whoever gives too many is not answered for a while.
operations.sort(key=lambda operation: operation[0] == "/login")
statuses, failed, untold, uncoded, count = {}, [], [], [], 0
for path, method, operation in operations:
    for asked, body, kind, more in calls(path, method, operation):
        status, text = call(method, asked, body, kind, more)
        said = [method, asked[:200], more, body[:200].decode(errors="replace"), status]
        count += 1
        statuses[status] = statuses.get(status, 0) + 1
        if status >= 500:
            failed.append(said)
        if str(status) not in operation["responses"]:
            untold.append(said)
        if status >= 400 and path != "/login":
            try:
                problem = json.loads(text)
                is_coded = all(problem[key] for key in ("code", "message", "help"))
            except (ValueError, KeyError, TypeError):
                is_coded = False
            if not is_coded:
                uncoded.append([*said, text[:200].decode(errors="replace")])
print(json.dumps({
    "operations": len(operations),
    "calls": count,
    "statuses": statuses,
    "failed": failed,
    "untold": untold,
    "uncoded": uncoded,
}))

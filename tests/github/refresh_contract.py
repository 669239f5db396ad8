"""Writes contract.json.gz anew: what GitHub's published OpenAPI description says of the paths we use.

    npm pack @octokit/openapi          # MIT; unpacked it is large, one file of it is needed
    tar -xzf octokit-openapi-*.tgz package/generated/api.github.com.json
    python tests/github/refresh_contract.py package/generated/api.github.com.json --version 23.0.2

Prints what changed, path by path. Schemas become JSON Schema 2020-12 on the way (`nullable` and
examples go), so that the tests need no more than jsonschema.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "contract.json.gz"
REPO = "/repos/{owner}/{repo}"
USED = {
    "/issues/{issue_number}/comments": ("get", "post"),
    "/issues/comments/{comment_id}": ("patch",),
    "/issues/{issue_number}/labels": ("get",),
    "/issues/{issue_number}/events": ("get",),
    "/pulls": ("get", "post"),
    "/pulls/{pull_number}": ("get",),
    "/pulls/{pull_number}/files": ("get",),
    "/collaborators/{username}/permission": ("get",),
    "/git/commits/{commit_sha}": ("get",),
    "/git/ref/{ref}": ("get",),
    "/git/blobs/{file_sha}": ("get",),
    "/compare/{basehead}": ("get",),
    "/contents/{path}": ("get",),
    "/commits/{commit_sha}/pulls": ("get",),
    "/actions/workflows/{workflow_id}/runs": ("get",),
    "/actions/workflows/{workflow_id}/dispatches": ("post",),
    "/actions/runs/{run_id}": ("get",),
    "/actions/runs/{run_id}/jobs": ("get",),
    "/actions/runs/{run_id}/artifacts": ("get",),
    "/actions/artifacts/{artifact_id}/{archive_format}": ("get",),
}
_DROPPED = {
    "example",
    "examples",
    "description",
    "title",
    "externalDocs",
    "deprecated",
    "xml",
    "x-multi-segment",
}


def extracted(source: dict[str, Any]) -> dict[str, Any]:
    """The used operations and every schema they reach, as one document."""
    operations: dict[str, Any] = {}
    for path, verbs in USED.items():
        item = source["paths"][REPO + path]
        for verb in verbs:
            operations[f"{verb.upper()} {REPO + path}"] = _operation(source, item[verb])
    schemas: dict[str, Any] = {}
    wanted = sorted(_references(operations))
    while wanted:
        name = wanted.pop()
        if name not in schemas:
            schemas[name] = converted(source["components"]["schemas"][name])
            wanted += sorted(_references(schemas[name]))
    return {"operations": operations, "schemas": dict(sorted(schemas.items()))}


def _operation(source: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any]:
    parameters = {}
    for parameter in operation.get("parameters", ()):
        found = _resolved(source, parameter)
        parameters[found["name"]] = {
            "in": found["in"],
            "required": found.get("required", False),
            "schema": converted(found["schema"]),
        }
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    responses = {}
    for status, answer in operation["responses"].items():
        content = _resolved(source, answer).get("content", {})
        # Where a media type is asked for, the plain JSON is what we ask for; "object" and "raw" are not used.
        schema = content.get("application/json", content.get("application/vnd.github.object", {})).get(
            "schema"
        )
        responses[status] = converted(schema) if schema is not None else None
    return {
        "parameters": parameters,
        "body": converted(body) if body is not None else None,
        "responses": responses,
    }


def _resolved(source: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in item:
        found: Any = source
        for part in item["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        item = found
    return item


def converted(schema: Any) -> Any:
    """An OpenAPI 3.0 schema as JSON Schema 2020-12, without words for people."""
    if isinstance(schema, list):
        return [converted(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        found: dict[str, Any] = {"$ref": "#/$defs/" + schema["$ref"].rpartition("/")[2]}
        return {"anyOf": [found, {"type": "null"}]} if schema.get("nullable") else found
    kept = {}
    for key, value in schema.items():
        if key in _DROPPED or key == "nullable":
            continue
        if key == "properties":
            kept[key] = {name: converted(each) for name, each in value.items()}
        elif key in ("enum", "required", "default", "const"):
            kept[key] = value
        else:
            kept[key] = converted(value)
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if kept.get(exclusive) is True:  # 3.0 says it beside the bound
            kept[exclusive] = kept.pop(bound)
    if schema.get("nullable"):
        if isinstance(kept.get("type"), str):
            kept["type"] = [kept["type"], "null"]
        if "enum" in kept and None not in kept["enum"]:
            kept["enum"] = [*kept["enum"], None]
        if "type" not in kept:
            return {"anyOf": [kept, {"type": "null"}]}
    return kept


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"].rpartition("/")[2]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(_references(each) for each in value.values()))
    if isinstance(value, list):
        return set().union(*(_references(each) for each in value))
    return set()


def read() -> dict[str, Any]:
    return dict(json.loads(gzip.decompress(FILE.read_bytes())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("description", type=Path)
    parser.add_argument("--version", required=True, help="of the package, for the record")
    given = parser.parse_args()
    made = extracted(json.loads(given.description.read_text()))
    before = read() if FILE.exists() else {"operations": {}, "schemas": {}}
    for part in ("operations", "schemas"):
        for name in sorted(before[part].keys() | made[part].keys()):
            if before[part].get(name) != made[part].get(name):
                word = "changed" if name in before[part] and name in made[part] else "new or gone"
                print(f"{word}: {name}")
    document = {"source": f"@octokit/openapi {given.version}", **made}
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    FILE.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(
        f"{len(made['operations'])} operations, {len(made['schemas'])} schemas, {FILE.stat().st_size} bytes"
    )


if __name__ == "__main__":
    main()

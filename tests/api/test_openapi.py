"""The description in ``docs/openapi.json`` is what the service has, and a change of it breaks no client."""

from __future__ import annotations

import json
import subprocess
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from api.contract import PLACE, committed, described, incompatibilities, main, text_of

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def now() -> Any:
    return described()


def test_the_file_is_what_the_service_has(now: Any) -> None:
    written = (ROOT / PLACE).read_text("utf-8")
    assert written == text_of(now), f"the API has changed: run `make openapi` and commit {PLACE}"


def test_nothing_that_clients_rely_on_is_gone(now: Any) -> None:
    """The file is the contract: `make openapi` does not write one that breaks it, so a break stays a difference."""
    assert incompatibilities(json.loads((ROOT / PLACE).read_text("utf-8")), now) == []


def test_a_break_is_not_written_down_by_itself(now: Any, tmp_path: Path) -> None:
    stricter = json.loads(json.dumps(now))
    stricter["paths"]["/api/v1/gone"] = {"get": {"operationId": "gone", "responses": {"200": {"description": ""}}}}
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(stricter))
    assert main(["--write", str(file)]) == 1 and json.loads(file.read_text()) == stricter
    assert main(["--write", str(file), "--break-contract"]) == 0 and file.read_text() == text_of(now)


def test_it_is_compatible_with_itself(now: Any) -> None:
    assert incompatibilities(now, now) == []


def test_every_operation_goes_by_one_name(now: Any) -> None:
    names = [operation["operationId"] for item in now["paths"].values() for operation in item.values()]
    assert len(names) == len(set(names))


def bodies(description: Any) -> dict[str, Any]:
    """Schemas of what is sent, by name."""
    found = {}
    for item in description["paths"].values():
        for operation in item.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                name = content["schema"]["$ref"].rpartition("/")[2]
                examples = [one["value"] for one in content.get("examples", {}).values()]
                found[name] = [*examples, *description["components"]["schemas"][name].get("examples", [])]
    return found


def test_examples_are_valid(now: Any) -> None:
    validator_of = pytest.importorskip("jsonschema").Draft202012Validator
    for name, examples in bodies(now).items():
        schema = {"$ref": f"#/components/schemas/{name}", "components": now["components"]}
        for example in examples:
            validator_of(schema).validate(example)
        assert examples, name


# --- what breaks a contract, and what does not --------------------------------------------------------------------

SMALL: Any = {
    "openapi": "3.1.0",
    "security": [{"key": []}],
    "paths": {
        "/things": {
            "get": {
                "operationId": "list_things",
                "parameters": [
                    {"name": "limit", "in": "query", "required": False, "schema": {"type": "integer", "maximum": 200}},
                    {"name": "kind", "in": "query", "schema": {"enum": ["big", "small"], "type": "string"}},
                ],
                "responses": {
                    "200": {
                        "headers": {"Link": {"schema": {"type": "string"}}},
                        "content": {
                            "application/json": {"schema": {"$ref": "#/components/schemas/Things"}},
                            "text/csv": {"schema": {"type": "string"}},
                        },
                    },
                    "404": {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/No"}}}},
                },
            },
            "post": {
                "operationId": "make_thing",
                "requestBody": {
                    "required": False,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/NewThing"}}},
                },
                "responses": {"201": {}, "202": {}},
            },
        },
        "/things/{id}": {
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
            "get": {"operationId": "get_thing", "responses": {"200": {}}},
        },
        "/open": {"get": {"operationId": "get_open", "security": [], "responses": {"200": {}}}},
    },
    "components": {
        "schemas": {
            "No": {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]},
            "Things": {
                "type": "object",
                "required": ["items", "size"],
                "properties": {
                    "items": {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}},
                    "size": {"type": "integer"},
                    "next": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                },
            },
            "Thing": {
                "type": "object",
                "required": ["name", "state"],
                "properties": {
                    "name": {"type": "string"},
                    "state": {"type": "string", "enum": ["new", "old"]},
                    "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}},
                    "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
                },
            },
            "NewThing": {
                "type": "object",
                "required": ["name"],
                "additionalProperties": False,
                "properties": {
                    "name": {"type": "string", "maxLength": 100, "minLength": 1},
                    "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
                    "share": {"type": "number", "default": 0.5},
                    "kind": {"enum": ["big", "small"], "type": "string"},
                    "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 5},
                    "code": {"type": "string", "pattern": "^[a-z]+$"},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "free": {"type": "object"},
                },
            },
        }
    },
}
GONE = object()
LIST, MAKE = "paths//things/get", "paths//things/post"
OK = f"{LIST}/responses/200"
NEW, THING, THINGS = (f"components/schemas/{name}/properties" for name in ("NewThing", "Thing", "Things"))


def changed(**changes: Any) -> Any:
    """The small description with a value at each place; ``//`` in a place begins a name with a slash."""
    found = deepcopy(SMALL)
    for place, value in changes.items():
        *parts, last = [part.replace("\0", "/") for part in place.replace("//", "/\0").split("/")]
        node = found
        for part in parts:
            node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
        if value is GONE:
            del node[int(last) if isinstance(node, list) else last]
        elif isinstance(node, list):
            node.append(value)
        else:
            node[last] = value
    return found


BREAKING = [
    ({"paths//things": GONE}, "/things: is gone"),
    ({MAKE: GONE}, "POST /things: is gone"),
    ({f"{MAKE}/operationId": "create"}, "operationId was make_thing, is create"),
    ({f"{LIST}/parameters/0": GONE}, "query parameter limit is gone"),
    (
        {f"{LIST}/parameters/+": {"name": "by", "in": "query", "required": True}},
        "query parameter by is new and required",
    ),
    ({f"{LIST}/parameters/0/required": True}, "query parameter limit is required now"),
    ({f"{LIST}/parameters/0/schema/maximum": 100}, "query parameter limit: maximum was 200, is 100"),
    ({f"{LIST}/parameters/1/schema/enum": ["big"]}, "query parameter kind: 'small' is not taken any more"),
    ({"paths//things~{id}/parameters/0/schema/pattern": "^x"}, "path parameter id: pattern was None, is ^x"),
    ({f"{MAKE}/requestBody": GONE}, "POST /things: body: is not taken any more"),
    ({f"{MAKE}/requestBody/required": True}, "POST /things: body: is required now"),
    ({"paths//open/get/requestBody": {"required": True}}, "GET /open: body: is required now"),
    ({f"{MAKE}/requestBody/content/application~json": GONE}, "application/json is gone"),
    ({"components/schemas/NewThing/required": ["name", "kind"]}, "body/kind: is required now"),
    (
        {"components/schemas/NewThing/required": ["name", "size"], f"{NEW}/size": {"type": "integer"}},
        "body/size: is new and required",
    ),
    ({f"{NEW}/code": GONE}, "body/code: is not taken any more"),
    ({f"{NEW}/kind/enum": ["big"]}, "body/kind: 'small' is not taken any more"),
    ({f"{NEW}/code/enum": ["a"]}, "body/code: was any value, is one of ['a']"),
    ({f"{NEW}/share/type": "integer"}, "body/share: number is not taken any more"),
    ({f"{NEW}/note": {"type": "string", "default": None}}, "body/note: null is not taken any more"),
    ({f"{NEW}/name/maxLength": 50}, "body/name: maxLength was 100, is 50"),
    ({f"{NEW}/name/minLength": 2}, "body/name: minLength was 1, is 2"),
    ({f"{NEW}/tags/minItems": 1}, "body/tags: minItems was None, is 1"),
    ({f"{NEW}/tags/items/type": "integer"}, "body/tags/*: string is not taken any more"),
    ({f"{NEW}/code/pattern": "^[a-y]+$"}, "body/code: pattern was ^[a-z]+$, is ^[a-y]+$"),
    ({f"{NEW}/share/default": 0.6}, "body/share: the default was 0.5, is 0.6"),
    ({f"{NEW}/labels/additionalProperties": {"type": "integer"}}, "body/labels/*: string is not taken any more"),
    ({f"{NEW}/free/additionalProperties": False}, "body/free: other names are not taken any more"),
    ({f"{MAKE}/responses/202": GONE}, "POST /things: the answer 202 is gone"),
    ({f"{OK}/headers/Link": GONE}, "GET /things: 200: the header Link is gone"),
    ({f"{OK}/content/text~csv": GONE}, "GET /things: 200: text/csv is gone"),
    ({f"{THINGS}/size": GONE}, "200/size: is gone"),
    ({f"{THINGS}/next": GONE}, "200/next: is gone"),
    ({f"{THING}/parts": GONE}, "200/items/*/parts: is gone"),
    ({"components/schemas/Things/required": ["items"]}, "200/size: may be left out now"),
    ({f"{THINGS}/size": {"type": "string"}}, "200/size: may be string now"),
    ({f"{THINGS}/size": {"type": "number"}}, "200/size: may be number now"),
    ({f"{THINGS}/size": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}, "200/size: may be null now"),
    ({f"{THING}/state/enum": ["new", "old", "odd"]}, "200/items/*/state: may be 'odd' now"),
    ({f"{THING}/state": {"type": "string"}}, "200/items/*/state: may be any value now"),
    ({f"{THING}/counts/additionalProperties": {"type": "string"}}, "counts/*: may be string now"),
    ({"components/schemas/No/properties/title": GONE, "components/schemas/No/required": []}, "404/title: is gone"),
    ({"paths//open/get/security": GONE}, "GET /open: no key is not enough any more"),
    ({"security": [{"key": [], "other": []}]}, "GET /things: key is not enough any more"),
]

HARMLESS = [
    {"paths//new": {"get": {"operationId": "get_new", "responses": {}}}},
    {"paths//things/delete": {"operationId": "remove_thing", "responses": {}}},
    {f"{MAKE}/summary": "Make a thing", f"{MAKE}/description": "or two"},
    {f"{LIST}/parameters/+": {"name": "by", "in": "query", "required": False, "schema": {"type": "string"}}},
    {f"{LIST}/parameters/0/schema/maximum": 500},
    {f"{LIST}/parameters/0/schema/maximum": GONE},
    {f"{LIST}/parameters/1/schema/enum": ["big", "small", "tiny"]},
    {"paths//open/get/requestBody": {"required": False, "content": {}}},
    {f"{MAKE}/requestBody/content/text~yaml": {"schema": {"type": "string"}}},
    {"components/schemas/NewThing/required": []},
    {f"{NEW}/size": {"type": "integer"}},
    {f"{NEW}/kind/enum": ["big", "small", "tiny"]},
    {f"{NEW}/kind": {"type": "string"}},
    {f"{NEW}/share": {"type": ["number", "string"], "default": 0.5}},
    {f"{NEW}/name/maxLength": 200},
    {f"{NEW}/name/minLength": 0},
    {f"{NEW}/tags/maxItems": GONE},
    {f"{NEW}/tags/items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}},
    {f"{NEW}/code/pattern": GONE},
    {f"{NEW}/kind/default": "big"},
    {f"{NEW}/labels/additionalProperties": True},
    {"components/schemas/NewThing/additionalProperties": True},
    {f"{MAKE}/responses/409": {}},
    {f"{LIST}/responses/404": GONE},
    {f"{OK}/headers/ETag": {"schema": {"type": "string"}}},
    {f"{OK}/content/text~html": {"schema": {"type": "string"}}},
    {f"{THINGS}/total": {"type": "integer"}},
    {"components/schemas/Things/required": ["items", "size", "next"]},
    {f"{THINGS}/next": {"type": "string"}},
    {f"{THINGS}/size/minimum": 0},
    {f"{THING}/state/enum": ["new"]},
    {f"{THING}/state": {"const": "new", "type": "string"}},
    {f"{THING}/name/description": "What it is called."},
    {f"{THINGS}/items/items": {"allOf": [{"$ref": "#/components/schemas/Thing"}]}},
    {"paths//things/get/security": []},
    {"security": [{"key": []}, {"other": []}]},
]


def places(changes: Any) -> Any:
    """``~`` in a place is a slash inside a name."""
    return {place.replace("~", "\0"): value for place, value in changes.items()}


@pytest.mark.parametrize(("changes", "said"), BREAKING)
def test_what_breaks(changes: Any, said: str) -> None:
    found = incompatibilities(SMALL, changed(**places(changes)))
    assert any(said in one for one in found), found
    assert all(": " in one and "\n" not in one for one in found)


@pytest.mark.parametrize("changes", HARMLESS)
def test_what_does_not(changes: Any) -> None:
    assert incompatibilities(SMALL, changed(**places(changes))) == []


def test_names_of_path_parameters_never_travel() -> None:
    new = deepcopy(SMALL)
    new["paths"]["/things/{name}"] = new["paths"].pop("/things/{id}")
    new["paths"]["/things/{name}"]["parameters"][0]["name"] = "name"
    assert incompatibilities(SMALL, new) == []


def test_removed_from_the_real_one(now: Any) -> None:
    """References, unions and cycles as they really are."""
    new = deepcopy(now)
    del new["components"]["schemas"]["Run"]["properties"]["progress"]
    new["components"]["schemas"]["InputPath"]["required"] = ["source", "path"]
    found = incompatibilities(now, new)
    assert "POST /api/v1/runs: 202/progress: is gone" in found
    assert "POST /api/v1/runs: body/inputs/*/path: is required now" in found


def test_what_was_committed(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    assert committed(folder=tmp_path) is None
    (tmp_path / "docs").mkdir()
    (tmp_path / PLACE).write_text(text_of(SMALL))
    git("add", ".")
    git("commit", "-m", "one")
    (tmp_path / PLACE).write_text("{}")
    assert committed(folder=tmp_path) == committed("HEAD", tmp_path) == SMALL
    assert committed("nothing", tmp_path) is None


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(text_of(SMALL))
    new.write_text(text_of(changed(**{MAKE: GONE})))
    assert main([str(old), str(old)]) == 0
    assert main([str(old), str(new)]) == 1
    assert capsys.readouterr().err == "POST /things: is gone\n"

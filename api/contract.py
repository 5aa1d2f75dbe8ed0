"""The API's description is a contract: written down in ``docs/openapi.json``, and what breaks it is found here.

``python -m api.contract`` compares the description that was committed last, or the one of ``--base``, with the one of
this working tree;
``python -m api.contract OLD NEW`` compares two files; ``python -m api.contract --write FILE`` writes it down, and
refuses to where that would break the contract that the file holds, unless ``--break-contract`` says that it shall.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = Any
PLACE = Path("docs/openapi.json")
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
OTHER_LIMITS = ("pattern", "format", "multipleOf", "uniqueItems")
_PARAMETER = re.compile(r"\{[^}]*\}")


def incompatibilities(old: Json, new: Json) -> list[str]:
    """What a client of the old description cannot rely on any more.

    Requests: whatever was accepted must be accepted still, and mean the same.  Answers: whatever is given must be what
    could be given before; more properties are no harm.

    Args:
        old, new: OpenAPI 3.1 descriptions.

    Returns:
        One line each; empty for a compatible change.
    """
    return list(dict.fromkeys(_Comparison(old, new).all()))


@dataclass(frozen=True)
class _Side:
    """A schema and the description that its references point into."""

    document: Json
    schema: Json

    def at(self, schema: Json) -> _Side:
        return _Side(self.document, schema)

    def alternatives(self) -> list[_Side]:
        """The schema as plain alternatives, each of at most one type."""
        schema = self._plain()
        for name in ("anyOf", "oneOf"):
            if name in schema:
                common = {key: value for key, value in schema.items() if key != name}
                return [one for part in schema[name] for one in self.at(self._joined(common, part)).alternatives()]
        kinds = schema.get("type")
        if isinstance(kinds, list):
            return [self.at({**schema, "type": kind}) for kind in kinds]
        return [self.at(schema)]

    def _joined(self, common: Json, part: Json) -> Json:
        return {**common, **self.at(part)._plain()}

    def _plain(self) -> Json:
        """The schema without a reference at its top, and without ``allOf``."""
        schema, seen = self.schema, set[str]()
        if not isinstance(schema, Mapping):  # true and false
            return {} if schema else {"enum": []}
        while "$ref" in schema and schema["$ref"] not in seen:
            seen.add(schema["$ref"])
            schema = {**_pointed(self.document, schema["$ref"]), **{k: v for k, v in schema.items() if k != "$ref"}}
        for part in schema.get("allOf", ()):
            plain = self.at(part)._plain()
            properties = {**schema.get("properties", {}), **plain.get("properties", {})}
            required = [*schema.get("required", []), *plain.get("required", [])]
            schema = {**schema, **plain, "properties": properties, "required": required}
        return {key: value for key, value in schema.items() if key != "allOf"}

    def mark(self) -> str:
        return json.dumps(self.schema, sort_keys=True)


def _pointed(document: Json, reference: str) -> Json:
    found = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


@dataclass
class _Comparison:
    """Two descriptions."""

    old: Json
    new: Json
    _open: set[tuple[str, str, bool]] = field(default_factory=set)  # schemas that are being compared

    def all(self) -> Iterator[str]:
        after = {_shape(path): item for path, item in self.new.get("paths", {}).items()}
        for path, item in self.old.get("paths", {}).items():
            if _shape(path) not in after:
                yield f"{path}: is gone"
                continue
            there = after[_shape(path)]
            for method in METHODS:
                if method in item:
                    yield from self._operation(f"{method.upper()} {path}", path, method, item, there)

    def _operation(self, at: str, path: str, method: str, item: Json, there: Json) -> Iterator[str]:
        if method not in there:
            yield f"{at}: is gone"
            return
        was, now = item[method], there[method]
        if was.get("operationId") != now.get("operationId"):
            yield f"{at}: operationId was {was.get('operationId')}, is {now.get('operationId')}"
        yield from self._security(at, was, now)
        yield from self._parameters(at, _parameters(self.old, item, was), _parameters(self.new, there, now))
        yield from self._body(f"{at}: body", was.get("requestBody"), now.get("requestBody"))
        yield from self._responses(at, was.get("responses", {}), now.get("responses", {}))

    def _security(self, at: str, was: Json, now: Json) -> Iterator[str]:
        before = [set(one) for one in was.get("security", self.old.get("security", []))] or [set[str]()]
        after = [set(one) for one in now.get("security", self.new.get("security", []))] or [set[str]()]
        for one in before:
            if not any(other <= one for other in after):
                yield f"{at}: {' and '.join(sorted(one)) or 'no key'} is not enough any more"

    def _parameters(self, at: str, was: dict[Any, Json], now: dict[Any, Json]) -> Iterator[str]:
        for key, parameter in now.items():
            if parameter.get("required") and not was.get(key, {}).get("required"):
                said = "is required now" if key in was else "is new and required"
                yield f"{at}: {_named(parameter)} {said}"
        for key, parameter in was.items():
            if key not in now:
                yield f"{at}: {_named(parameter)} is gone"
                continue
            sides = _Side(self.old, parameter.get("schema", {})), _Side(self.new, now[key].get("schema", {}))
            yield from self._within(*sides, f"{at}: {_named(parameter)}", True)

    def _body(self, at: str, was: Json, now: Json) -> Iterator[str]:
        if now is None:
            if was is not None:
                yield f"{at}: is not taken any more"
            return
        if now.get("required") and not (was or {}).get("required"):
            yield f"{at}: is required now"
        if was is not None:
            yield from self._content(at, was.get("content", {}), now.get("content", {}), True)

    def _responses(self, at: str, was: Json, now: Json) -> Iterator[str]:
        for status, response in was.items():
            if status in now:
                yield from self._response(f"{at}: {status}", response, now[status])
            elif status[0] in "23":
                yield f"{at}: the answer {status} is gone"

    def _response(self, at: str, was: Json, now: Json) -> Iterator[str]:
        for name in was.get("headers", {}):
            if name not in now.get("headers", {}):
                yield f"{at}: the header {name} is gone"
        yield from self._content(at, was.get("content", {}), now.get("content", {}), False)

    def _content(self, at: str, was: Json, now: Json, sent: bool) -> Iterator[str]:
        for kind, content in was.items():
            if kind not in now:
                yield f"{at}: {kind} is gone"
                continue
            before, after = _Side(self.old, content.get("schema", {})), _Side(self.new, now[kind].get("schema", {}))
            yield from self._within(before, after, at, True) if sent else self._within(after, before, at, False)

    def _within(self, inner: _Side, outer: _Side, at: str, sent: bool) -> Iterator[str]:
        """Whether every value of ``inner`` is one of ``outer``.

        Args:
            sent: whether clients send it, so that ``inner`` is the old one; otherwise they get it, and it is the new.
        """
        key = (inner.mark(), outer.mark(), sent)
        if key in self._open:
            return
        self._open.add(key)
        try:
            yield from self._alternatives(inner, outer, at, sent)
            if sent:
                yield from _default(inner._plain(), outer._plain(), at)
        finally:
            self._open.discard(key)

    def _alternatives(self, inner: _Side, outer: _Side, at: str, sent: bool) -> Iterator[str]:
        there = outer.alternatives()
        for one in inner.alternatives():
            tried = [(other, list(self._alike(one.schema, other.schema, inner, outer, at, sent))) for other in there]
            if any(not found for _, found in tried):
                continue
            alike = [found for other, found in tried if other.schema.get("type") == one.schema.get("type")]
            if alike:
                yield from min(alike, key=len)
            else:
                kind = one.schema.get("type", "anything")
                yield f"{at}: {kind} is not taken any more" if sent else f"{at}: may be {kind} now"

    def _alike(self, one: Json, other: Json, inner: _Side, outer: _Side, at: str, sent: bool) -> Iterator[str]:
        """The same for schemas of one type each."""
        kind, allowed = one.get("type"), other.get("type")
        if allowed is not None and kind != allowed and (kind, allowed) != ("integer", "number"):
            yield f"{at}: {kind or 'anything'} is no {allowed}"
            return
        yield from _values(one, other, at, sent)
        if sent:
            yield from _limits(one, other, at)
        if other.get("format") != one.get("format") and other.get("format") is not None and not sent:
            yield f"{at}: format was {other['format']}, is {one.get('format')}"
        yield from self._parts(one, other, inner, outer, at, sent)

    def _parts(self, one: Json, other: Json, inner: _Side, outer: _Side, at: str, sent: bool) -> Iterator[str]:
        if "items" in other:
            yield from self._within(inner.at(one.get("items", {})), outer.at(other["items"]), f"{at}/*", sent)
        if one.get("type") != "object" and "properties" not in one:
            return
        yield from self._properties(one, other, inner, outer, at, sent)
        more, allowed = one.get("additionalProperties", True), other.get("additionalProperties", True)
        if isinstance(allowed, Mapping) and more is not False:
            yield from self._within(inner.at(more), outer.at(allowed), f"{at}/*", sent)
        elif allowed is False and more is not False and sent:
            yield f"{at}: other names are not taken any more"

    def _properties(self, one: Json, other: Json, inner: _Side, outer: _Side, at: str, sent: bool) -> Iterator[str]:
        mine, theirs = one.get("properties", {}), other.get("properties", {})
        for name in other.get("required", []):
            if name not in one.get("required", []) and (sent or name in mine):
                new = name not in mine
                said = "is new and required" if new else "is required now" if sent else "may be left out now"
                yield f"{at}/{name}: {said}"
        for name in mine if sent else theirs:
            if name not in (theirs if sent else mine):
                yield f"{at}/{name}: is {'not taken any more' if sent else 'gone'}"
            else:
                yield from self._within(inner.at(mine[name]), outer.at(theirs[name]), f"{at}/{name}", sent)


def _values(one: Json, other: Json, at: str, sent: bool) -> Iterator[str]:
    """Enumerations; ``const`` is one of a single value."""
    allowed, given = (([part["const"]] if "const" in part else part.get("enum")) for part in (other, one))
    if allowed is None:
        return
    if given is None:
        yield f"{at}: was any value, is one of {allowed}" if sent else f"{at}: may be any value now"
        return
    for value in given:
        if value not in allowed:
            yield f"{at}: {value!r} is not taken any more" if sent else f"{at}: may be {value!r} now"


def _limits(one: Json, other: Json, at: str) -> Iterator[str]:
    """Limits of what is sent."""
    for name in (*LOWER, *UPPER):
        allowed, had = other.get(name), one.get(name)
        if allowed is not None and (had is None or (allowed > had if name in LOWER else allowed < had)):
            yield f"{at}: {name} was {had}, is {allowed}"
    for name in OTHER_LIMITS:
        if other.get(name) and other.get(name) != one.get(name):
            yield f"{at}: {name} was {one.get(name)}, is {other[name]}"


def _default(was: Json, now: Json, at: str) -> Iterator[str]:
    """Leaving something out must mean what it meant."""
    if "default" in was and was["default"] != now.get("default"):
        yield f"{at}: the default was {was['default']!r}, is {now.get('default')!r}"


def _shape(path: str) -> str:
    """A path whatever its parameters are called."""
    return _PARAMETER.sub("{}", path)


def _parameters(document: Json, item: Json, operation: Json) -> dict[Any, Json]:
    """Parameters by kind and name; those of the path by their place, since their names never travel."""
    found, place = {}, 0
    for given in [*item.get("parameters", []), *operation.get("parameters", [])]:
        parameter = _pointed(document, given["$ref"]) if "$ref" in given else given
        name = parameter["name"].lower() if parameter["in"] == "header" else parameter["name"]
        if parameter["in"] == "path":
            name, place = place, place + 1
        found[parameter["in"], name] = parameter
    return found


def _named(parameter: Json) -> str:
    return f"{parameter['in']} parameter {parameter['name']}"


def described() -> Json:
    """The description of the application as it is."""
    from api.app import create_app
    from api.settings import Settings
    from api.store.database import Database

    plain = Settings(host="127.0.0.1", require_key=None)
    return create_app(plain, Database("sqlite://")).openapi()


def text_of(description: Json) -> str:
    """A description as it is written down."""
    return json.dumps(description, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def committed(base: str = "HEAD", folder: Path = Path()) -> Json | None:
    """The description of a commit; None where there is none, or no repository.

    Args:
        folder: of the working tree.
    """
    command = ["git", "show", "--end-of-options", f"{base}:./{PLACE.as_posix()}"]
    try:
        done = subprocess.run(command, capture_output=True, check=False, cwd=folder)
    except OSError:
        return None
    return json.loads(done.stdout) if done.returncode == 0 else None


def _write(file: Path, may_break: bool) -> int:
    new = described()
    broken = incompatibilities(json.loads(file.read_text("utf-8")), new) if file.exists() else []
    if broken and not may_break:
        print("\n".join([*broken, f"{file} is not changed; --break-contract changes it"]), file=sys.stderr)
        return 1
    file.write_text(text_of(new), encoding="utf-8")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 where something breaks the contract."""
    parser = argparse.ArgumentParser(prog="python -m api.contract", description="Find what breaks the API's contract.")
    parser.add_argument("files", nargs="*", metavar="OLD NEW", type=Path, help="default: what is committed, and this")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the description down and compare nothing")
    parser.add_argument("--base", default="HEAD", metavar="REF", help="commit to compare with; default HEAD")
    parser.add_argument("--break-contract", action="store_true", help="write it down though clients will break")
    given = parser.parse_args(arguments)
    if given.write is not None:
        return _write(given.write, given.break_contract)
    if len(given.files) not in (0, 2):
        parser.error("give two files, or none")
    old, new = [json.loads(file.read_text("utf-8")) for file in given.files] or [committed(given.base), None]
    if old is None:
        print(f"{given.base} has no {PLACE}; there is no contract yet")
        return 0
    found = incompatibilities(old, new if new is not None else described())
    print("\n".join(found) or "compatible", file=sys.stderr if found else sys.stdout)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

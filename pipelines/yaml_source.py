"""YAML with places: plain data, and for every value the line and column it came from.

Recipes come from strangers.  Aliases are refused (a few lines of them expand to gigabytes), duplicate keys
are errors, size and depth are bounded, and only plain scalars, lists and mappings exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from curation.errors import InputError

MAX_BYTES = 1 << 16
MAX_NUMBER = 64  # characters; YAML has numbers to the base of 60 that take long to read
MAX_DEPTH = 32

Path = tuple[str | int, ...]

_SCALARS = yaml.constructor.SafeConstructor()
_PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str", "int", "float", "bool", "null")}


@dataclass(frozen=True)
class YamlSource:
    """A parsed document.

    Attributes:
        name: file name for messages.
        data: plain Python data.
        places: ``(line, column)`` from 1, of each value (and of each mapping key) by its path.
    """

    name: str
    data: Any
    places: dict[Path, tuple[int, int]]

    def where(self, path: Path) -> str:
        """``name:line:column`` of the value at ``path``, or of its nearest known parent."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.places:
                line, column = self.places[path[:length]]
                return f"{self.name}:{line}:{column}"
        return self.name


def read_yaml(text: bytes, name: str) -> YamlSource:
    """Parse one YAML document.

    Args:
        text: UTF-8.
        name: file name for messages.

    Raises:
        InputError: with the place, for anything that is not plain, small YAML.
    """
    if len(text) > MAX_BYTES:
        raise InputError(f"a recipe has at most {MAX_BYTES} bytes, this one has {len(text)}", name)
    try:
        decoded = text.decode("utf-8")
        _refuse_aliases_and_depth(decoded, name)
        node = yaml.compose(decoded, Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 at byte {error.start}", name) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InputError(f"not valid YAML: {problem}", place) from None
    if node is None:
        raise InputError("the file is empty", name)
    places: dict[Path, tuple[int, int]] = {}
    return YamlSource(name, _construct(node, (), places, name), places)


def _refuse_aliases_and_depth(text: str, name: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        where = f"{name}:{event.start_mark.line + 1}:{event.start_mark.column + 1}" if event.start_mark else name
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise InputError("anchors and aliases are not allowed in a recipe; write the value out", where)
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            depth += 1
            if depth > MAX_DEPTH:
                raise InputError(f"nested deeper than {MAX_DEPTH} levels", where)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            depth -= 1


def _construct(node: yaml.Node, path: Path, places: dict[Path, tuple[int, int]], name: str) -> Any:
    places.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
    if node.tag not in _PLAIN_TAGS:
        line, column = places[path]
        raise InputError(f"cannot read this value: the tag {node.tag!r} is not plain YAML", f"{name}:{line}:{column}")
    if isinstance(node, yaml.MappingNode):
        return _construct_mapping(node, path, places, name)
    if isinstance(node, yaml.SequenceNode):
        return [_construct(child, (*path, index), places, name) for index, child in enumerate(node.value)]
    if len(node.value) > MAX_NUMBER and node.tag.endswith((":int", ":float")):
        line, column = places[path]
        raise InputError(f"a number has at most {MAX_NUMBER} characters", f"{name}:{line}:{column}")
    try:
        return _SCALARS.construct_object(node)
    except (yaml.YAMLError, ValueError, LookupError) as error:
        line, column = places[path]
        message = str(error).splitlines()[0]
        raise InputError(f"cannot read this value: {message}", f"{name}:{line}:{column}") from None


def _construct_mapping(
    node: yaml.MappingNode, path: Path, places: dict[Path, tuple[int, int]], name: str
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        place = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        where = f"{name}:{place[0]}:{place[1]}"
        if not isinstance(key_node, yaml.ScalarNode):
            raise InputError("keys must be plain words", where)
        key = key_node.value  # as written: the language code ``no`` must not become False
        if key in result:
            raise InputError(f"the key {key!r} stands here twice", where)
        places[(*path, key)] = place
        result[key] = _construct(value_node, (*path, key), places, name)
    return result

"""YAML files that people write: read safely, with every mistake named by its line and column."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from profiler.errors import UsageError
from profiler.spec.validation import shown

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

_TAGS = {
    yaml.MappingNode: {"map"},
    yaml.SequenceNode: {"seq"},
    yaml.ScalarNode: {"str", "int", "float", "bool", "null", "merge"},
}
MAX_DEPTH = 30
MAX_NODES = 1_000_000
"""Values after aliases are written out: a file of a few lines can stand for billions."""


def read_yaml(path: Path) -> dict[Any, Any]:
    """Read a file that holds one mapping.

    Raises:
        UsageError: If the file cannot be read, is empty, is not YAML (it says where), sets a key twice, or
            holds something other than a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # no UTF-8, or a name that no file can have
        raise UsageError(f"cannot read {path}: it is not a text file in UTF-8") from error
    try:
        content = yaml.load(text, Loader=_Loader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        raise UsageError(_sentence(path, error)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UsageError(f"{path}, line {line}: a control character is not allowed in YAML") from None
    except RecursionError:
        raise UsageError(f"{path} is nested more than {MAX_DEPTH} levels deep") from None
    if content is None:
        raise UsageError(f"{path} is empty")
    if not isinstance(content, dict):
        raise UsageError(f"{path} must hold settings, such as 'model: gpt2', not {shown(content)}")
    return content


class _Loader(yaml.SafeLoader):
    """A SafeLoader that refuses repeated keys and files that grow out of bounds.

    It reads `1e-4` as a number, as YAML 1.2 does, and dates as text.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML's own way to say it
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None:
            _check(node, {}, depth=1)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (yaml.YAMLError, RecursionError):
            raise
        except Exception:  # PyYAML lets through whatever `!!int x` or `!!bool x` happens to raise
            raise _error(f"{shown(node.value)} is not a value of its type", node) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[tuple[str, str]] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _error("a key must be a plain word", key_node)
            if (key := (key_node.tag, key_node.value)) in seen:
                raise _error(f"{key_node.value!r} is set twice", key_node)
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _check(node: yaml.Node, sizes: dict[int, int | None], *, depth: int) -> int:
    """Refuse what settings have no use for; return how many values a node stands for, aliases written out."""
    if node.tag.removeprefix("tag:yaml.org,2002:") not in _TAGS[type(node)]:
        raise _error(f"{node.tag!r} is not a kind of value that settings have", node)
    if depth > MAX_DEPTH:
        raise _error(f"more than {MAX_DEPTH} levels of nesting", node)
    if id(node) in sizes:
        known = sizes[id(node)]
        if known is None:
            raise _error("an alias refers to what it is part of", node)
        return known
    sizes[id(node)] = None
    children: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        children = node.value
    elif isinstance(node, yaml.MappingNode):
        children = [part for pair in node.value for part in pair]
    size = 1 + sum(_check(child, sizes, depth=depth + 1) for child in children)
    if size > MAX_NODES:
        raise _error(f"aliases make this stand for more than {MAX_NODES:,} values", node)
    sizes[id(node)] = size
    return size


def _error(problem: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _sentence(path: Path, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    problem = " ".join(str(error.problem or error.context).split())
    if "'\\t'" in problem:
        problem = "a tab; YAML is indented with spaces"
    return f"{path}{where}: {problem}"

"""Top-level keys of a YAML or JSON text set, added and taken out; the rest of the text stays as it is."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

_INDENT = re.compile(r"\{\s*\n([ \t]+)")
_ALIAS = re.compile(r"\s*:\s*\*[^\s,]+")


def edit_json(text: str, changes: Mapping[str, Any]) -> str:
    """Return a JSON text with some keys changed, indented as it was; a value of None takes a key out."""
    indent = _INDENT.match(text.lstrip())
    content = {**json.loads(text), **changes}
    kept = {key: value for key, value in content.items() if changes.get(key, key) is not None}
    end = "\n" if text.endswith("\n") else ""
    return json.dumps(kept, indent=indent[1] if indent else None, ensure_ascii=False) + end


def edit_yaml(text: str, changes: Mapping[str, Any]) -> str:
    """Return a YAML text with some keys changed, comments included; a value of None takes a key out.

    New keys come after the last one. A text whose whole mapping stands in braces is written anew as lines.

    Args:
        text: A document that holds one mapping.
        changes: Keys to plain values.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    newline = "\r\n" if "\r\n" in text else "\n"
    if root.flow_style:
        content = {**yaml.safe_load(text), **changes}
        return _lines({key: value for key, value in content.items() if changes.get(key, key) is not None})
    spans = {key.value: (key.start_mark, _end(text, key, value)) for key, value in root.value}
    margin = " " * root.value[0][0].start_mark.column
    new = {key: value for key, value in changes.items() if key not in spans and value is not None}
    last = max(end for _, end in spans.values())
    pieces = []
    if new:
        place = _line_end(text, last)
        pieces.append((place, place, newline + _block(new, margin, newline)))
    for key, value in changes.items():
        if key not in spans:
            continue
        start, end = spans[key]
        if value is None:
            after = _line_end(text, end)
            pieces.append((start.index - start.column, after + len(_newline_at(text, after)), ""))
        else:
            pieces.append((start.index, end, _block({key: value}, margin, newline).lstrip(" ")))
    for start_index, end, piece in sorted(pieces, reverse=True):
        text = text[:start_index] + piece + text[end:]
    return text


def _end(text: str, key: yaml.Node, value: yaml.Node) -> int:
    """Return where a value ends; PyYAML's own mark of a block is behind the comments that follow it."""
    if value.start_mark.index < key.end_mark.index:  # an alias: the marks are those of what it stands for
        found = _ALIAS.match(text, key.end_mark.index)
        return found.end() if found else key.end_mark.index
    if isinstance(value, yaml.CollectionNode) and not value.flow_style and value.value:
        last = value.value[-1]
        return _end(text, last[0], last[1]) if isinstance(last, tuple) else _end(text, value, last)
    end = value.end_mark.index
    if isinstance(value, yaml.ScalarNode) and value.style in ("|", ">"):
        end = len(text[:end].rstrip())
    return int(end)


def _block(content: Mapping[str, Any], margin: str, newline: str) -> str:
    lines = _lines(content).rstrip("\n").split("\n")
    return newline.join(margin + line for line in lines)


def _lines(content: Mapping[str, Any]) -> str:
    dumped = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=2**20)
    return str(dumped)


def _line_end(text: str, index: int) -> int:
    """Return where the line ends that holds `index`, before its newline."""
    end = text.find("\n", index)
    if end < 0:
        return len(text)
    return end - 1 if end > index and text[end - 1] == "\r" else end


def _newline_at(text: str, index: int) -> str:
    return next((newline for newline in ("\r\n", "\n") if text.startswith(newline, index)), "")

"""Top-level keys of a YAML or JSON text set, added and taken out; the rest of the text stays as it is."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

_INDENT = re.compile(r"\{\s*\n([ \t]+)")
_OPENING = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)
_WITHOUT_TEXT = (yaml.BlockMappingStartToken, yaml.BlockSequenceStartToken, yaml.BlockEndToken, yaml.KeyToken)


def edit_json(text: str, content: Mapping[str, Any], changes: Mapping[str, Any]) -> str:
    """Return a JSON text with some keys changed, indented as it was.

    Args:
        text: A JSON object.
        content: What it holds.
        changes: Keys to plain values; None takes a key out.
    """
    indent = _INDENT.match(text.lstrip())
    kept = _changed(content, changes)
    end = "\n" if text.endswith("\n") else ""
    return json.dumps(kept, indent=indent[1] if indent else None, ensure_ascii=False) + end


def edit_yaml(text: str, content: Mapping[str, Any], changes: Mapping[str, Any]) -> str:
    """Return a YAML text with some keys changed and the comments of the others kept.

    New keys come after the last one. A text whose whole mapping stands in braces is written anew as lines.

    Args:
        text: A document that holds one mapping.
        content: What it holds.
        changes: Keys to plain values; None takes a key out.
    """
    spans = _spans(text)
    if not spans:
        return _lines(_changed(content, changes))
    newline = "\r\n" if "\r\n" in text else "\n"
    margin = " " * max(span.column for span in spans.values())
    new = {key: value for key, value in changes.items() if key not in spans and value is not None}
    pieces = []
    if new:
        place = _line_end(text, max(span.end for span in spans.values()))
        pieces.append((place, place, newline + _block(new, margin, newline)))
    for key, value in changes.items():
        if key not in spans:
            continue
        span = spans[key]
        if value is None:
            after = _line_end(text, span.end)
            pieces.append((span.start - span.column, after + len(_newline_at(text, after)), ""))
        else:
            pieces.append((span.start, span.end, _block({key: value}, margin, newline).lstrip(" ")))
    for start, end, piece in sorted(pieces, reverse=True):
        text = text[:start] + piece + text[end:]
    return text


@dataclass(frozen=True, kw_only=True)
class _Span:
    """Where a key of the outermost lines begins, and where its value ends."""

    start: int
    end: int
    column: int


def _spans(text: str) -> dict[str, _Span]:
    """Return the place of each key of the outermost lines; of none if the mapping stands in braces.

    By tokens, not by nodes: nodes end behind the comments that follow them, aliases where they point to.
    """
    spans: dict[str, _Span] = {}
    depth, end = 0, 0
    name, key = "", None
    tokens = yaml.scan(text, Loader=yaml.SafeLoader)
    for token in tokens:
        if depth == 0 and isinstance(token, yaml.FlowMappingStartToken):
            return {}
        depth -= isinstance(token, _CLOSING)
        is_key = depth == 1 and isinstance(token, yaml.KeyToken)
        if key is not None and (is_key or depth == 0):
            spans[name] = _Span(start=key.start_mark.index, end=end, column=key.start_mark.column)
            key = None
        if is_key:
            word = next(tokens)
            name = word.value if isinstance(word, yaml.ScalarToken) else ""
            key, end = token, word.end_mark.index
        elif not isinstance(token, _WITHOUT_TEXT):
            end = token.end_mark.index
            if isinstance(token, yaml.ScalarToken) and token.style in ("|", ">"):
                end = len(text[:end].rstrip())
        depth += isinstance(token, _OPENING)
    return spans


def _changed(content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**content, **changes}.items() if changes.get(key, key) is not None}


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

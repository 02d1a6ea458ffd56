"""The one small grammar for conditions over fields: `skip` of sweeps, `--where` of results, filters.

    method == "lora" and (batch_size > 4 or method_options.r in [8, 16])

Fields, `mapping.key`, numbers, quoted texts, true, false and none; and, or, not; == != < <= > >= and chains
of them; `in` and `not in` a list of constants, a field that holds a list, or a text; + - * / // %;
parentheses.
It means what Python means by it, save where a value is absent (None, NaN, pandas' NA):

* a comparison with an absent value is false, `!=` and `not in` included; only `== none` and `!= none` ask;
* arithmetic with an absent value is absent, and so is a division by zero;
* an absent value by itself counts as false.

Nothing is ever passed to `eval`: Python's parser reads the text, and each allowed node becomes a closure.
"""

from __future__ import annotations

import ast
import json
import operator
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from profiler.errors import UsageError, nearest, unknown
from profiler.spec.cells import is_absent
from profiler.spec.validation import shown

MAX_CHARACTERS = 2000
MAX_DEPTH = 60

_Row = Mapping[str, Any]
_Evaluate = Callable[[_Row], Any]

_CONSTANTS = {"true": True, "false": False, "none": None}
_ORDERS: dict[type[ast.cmpop], tuple[str, Callable[[Any, Any], bool]]] = {
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
}
_ARITHMETIC: dict[type[ast.operator], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.FloorDiv: ("//", operator.floordiv),
    ast.Mod: ("%", operator.mod),
}
_REFUSED: dict[type[ast.AST], str] = {
    ast.Call: "a call",
    ast.Lambda: "a lambda",
    ast.Subscript: "an index (a key of a mapping is written method_options.r)",
    ast.IfExp: "a choice with if and else",
    ast.List: "a list that does not follow 'in'",
    ast.Tuple: "a list that does not follow 'in'",
    ast.JoinedStr: "a text with f before it",
    ast.Is: "'is' (== none asks for an absent value)",
    ast.IsNot: "'is not' (!= none asks for a value)",
    ast.Pow: "a power",
}
_ALLOWED = "fields, constants, and, or, not, comparisons, in, + - * / // % and parentheses"


@dataclass(frozen=True, kw_only=True)
class Expression:
    """A condition that rows can be asked about."""

    text: str
    names: frozenset[str]
    """The fields it uses."""
    _evaluate: _Evaluate = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str, *, names: Collection[str]) -> Expression:
        """Read a condition.

        Args:
            text: The condition, on one line.
            names: The fields there are.

        Raises:
            UsageError: If it is not a condition, uses something that is not allowed or an unknown field (the
                nearest is named), or is longer than 2,000 characters or nested deeper than 60 levels.
        """
        text = text.strip()
        if not text:
            raise UsageError("the condition is empty")
        if len(text) > MAX_CHARACTERS:
            raise UsageError(
                f"the condition has {len(text):,} characters; at most {MAX_CHARACTERS:,} are allowed"
            )
        compiler = _Compiler(text, names)
        evaluate = compiler.compile(_tree(text))
        return cls(text=text, names=frozenset(compiler.used), _evaluate=evaluate)

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Whether the condition holds for a row; a field that the row lacks is absent.

        Raises:
            UsageError: If the values of this row cannot be compared or calculated with as asked, such as a
                text with a number by `<`.
        """
        return bool(self._evaluate(row))


def _tree(text: str) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns of `1 == 1or 2` and the like
            tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise UsageError(_syntax_sentence(text, error)) from None
    except ValueError:
        raise UsageError("the condition holds a character or number that cannot be read") from None
    except (MemoryError, RecursionError):
        raise UsageError(_too_deep()) from None
    level = [tree]
    for _ in range(MAX_DEPTH):
        level = [
            child for node in level for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)
        ]
        if not level:
            return tree
    raise UsageError(_too_deep())


def _too_deep() -> str:
    return f"the condition is nested too deeply; at most {MAX_DEPTH} levels are allowed"


def _syntax_sentence(text: str, error: SyntaxError) -> str:
    if "\n" in text:
        return f"the condition {shown(text)} must be on one line"
    at = len(text) if error.offset is None or error.offset < 1 else min(error.offset - 1, len(text))
    hint = ""
    if text[at : at + 1] == "=":
        hint = "; 'equal to' is written =="
    elif "decimal literal" in error.msg:
        hint = "; a text is written in quotes"
    where = f"at character {at + 1}: {shown(text[at:])}" if text[at:] else "at its end"
    return f"the condition {shown(text)} has a mistake {where}{hint}"


class _Compiler:
    """Turns the nodes that the grammar allows into closures."""

    def __init__(self, text: str, names: Collection[str]) -> None:
        self.text = text
        self.names = names
        self.used: set[str] = set()

    def compile(self, node: ast.expr) -> _Evaluate:
        match node:
            case ast.BoolOp(op=connective, values=values):
                return _connect([self.compile(value) for value in values], isinstance(connective, ast.Or))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                negated = self.compile(operand)
                return lambda row: not negated(row)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
                return self._signed(self.compile(operand), operand, isinstance(sign, ast.USub))
            case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _ARITHMETIC:
                return self._arithmetic(left, sign, right)
            case ast.BinOp(op=sign):
                raise self._refused(node, sign)
            case ast.Compare():
                return self._comparison(node)
            case ast.Constant():
                return _constantly(self._constant(node))
            case ast.Name() | ast.Attribute():
                return self._field(node)
        raise self._refused(node, node)

    def _source(self, node: ast.AST) -> str:
        source = ast.get_source_segment(self.text, node) or ast.unparse(node)
        return source if len(source) <= 80 else f"{source[:77]}..."

    def _refused(self, node: ast.AST, part: ast.AST) -> UsageError:
        what = _REFUSED.get(type(part), "this")
        return UsageError(
            f"{what} is not allowed in a condition: {self._source(node)}; allowed are {_ALLOWED}"
        )

    def _constant(self, node: ast.Constant) -> Any:
        value = node.value
        if value is not None and not isinstance(value, str | int | float):
            raise self._refused(node, node)
        if isinstance(value, float) and value == float("inf"):
            raise UsageError(f"the number {self._source(node)} is too large")
        return value

    def _field(self, node: ast.Name | ast.Attribute) -> _Evaluate:
        keys: list[str] = []
        root: ast.expr = node
        while isinstance(root, ast.Attribute):
            keys.insert(0, root.attr)
            root = root.value
        if not isinstance(root, ast.Name):
            raise self._refused(node, node)
        name = root.id
        if name in self.names:
            self.used.add(name)
            source = self._source(node)
            return lambda row: _look_up(row, name, keys, source)
        if name in _CONSTANTS and not keys:
            return _constantly(_CONSTANTS[name])
        raise unknown("field", name, self.names)

    def _signed(self, evaluate: _Evaluate, operand: ast.expr, negative: bool) -> _Evaluate:
        source = self._source(operand)

        def signed(row: _Row) -> Any:
            value = evaluate(row)
            if value is None:
                return None
            if not _is_number(value):
                raise UsageError(f"cannot calculate with {_named(source, value)}")
            return -value if negative else +value

        return signed

    def _arithmetic(self, left: ast.expr, sign: ast.operator, right: ast.expr) -> _Evaluate:
        symbol, calculate = _ARITHMETIC[type(sign)]
        sides = [(self.compile(side), self._source(side)) for side in (left, right)]

        def arithmetic(row: _Row) -> Any:
            values = [evaluate(row) for evaluate, _ in sides]
            for value, (_, source) in zip(values, sides, strict=True):
                if value is not None and not _is_number(value):
                    raise UsageError(f"cannot calculate with {_named(source, value)} by {symbol}")
            if None in values:
                return None
            try:
                result = calculate(*values)
            except ZeroDivisionError:
                return None
            except OverflowError:
                raise UsageError(f"{sides[0][1]} {symbol} {sides[1][1]} is too large a number") from None
            return None if is_absent(result) else result

        return arithmetic

    def _comparison(self, node: ast.Compare) -> _Evaluate:
        operands = [node.left, *node.comparators]
        self._check_bare_words(operands)
        first = self.compile(node.left)
        steps: list[tuple[Callable[[Any, Any], bool], _Evaluate]] = []
        for index, sign in enumerate(node.ops):
            left, right = operands[index], operands[index + 1]
            is_last = index == len(node.ops) - 1
            if isinstance(sign, ast.In | ast.NotIn) and isinstance(right, ast.List | ast.Tuple) and is_last:
                evaluate = _constantly(tuple(self._listed(element) for element in right.elts))
            else:
                evaluate = self.compile(right)
            steps.append((self._test(sign, left, right, node), evaluate))

        def comparison(row: _Row) -> bool:
            left = first(row)
            for test, evaluate in steps:
                right = evaluate(row)
                if not test(left, right):
                    return False
                left = right
            return True

        return comparison

    def _listed(self, node: ast.expr) -> Any:
        """Return the value of a list's element, which is a constant, signed or not."""
        match node:
            case ast.Constant(value=value) if value is None or isinstance(value, str | int | float):
                return self._constant(node)
            case ast.Name(id=name) if name in _CONSTANTS:
                return _CONSTANTS[name]
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=ast.Constant(value=int() | float())):
                return self.compile(node)({})
        raise UsageError(f"a list after 'in' holds numbers and quoted texts, not {self._source(node)}")

    def _test(
        self, sign: ast.cmpop, left: ast.expr, right: ast.expr, node: ast.Compare
    ) -> Callable[[Any, Any], bool]:
        sources = (self._source(left), self._source(right))
        asks_for_none = _is_none(left) or _is_none(right)
        match sign:
            case ast.Eq() if asks_for_none:
                return lambda one, other: one is None and other is None
            case ast.NotEq() if asks_for_none:
                return lambda one, other: one is not None or other is not None
            case ast.Eq():
                return lambda one, other: _both(one, other) and bool(one == other)
            case ast.NotEq():
                return lambda one, other: _both(one, other) and bool(one != other)
            case ast.In():
                return lambda one, other: _contains(one, other, sources) is True
            case ast.NotIn():
                return lambda one, other: _contains(one, other, sources) is False
        if type(sign) not in _ORDERS:
            raise self._refused(node, sign)
        symbol, compare = _ORDERS[type(sign)]

        def in_order(one: Any, other: Any) -> bool:
            if not _both(one, other):
                return False
            if (_is_number(one) and _is_number(other)) or (isinstance(one, str) and isinstance(other, str)):
                return bool(compare(one, other))
            raise UsageError(
                f"cannot compare {_named(sources[0], one)} with {_named(sources[1], other)} by {symbol}"
            )

        return in_order

    def _check_bare_words(self, operands: list[ast.expr]) -> None:
        """Refuse `method == lora`: of all the things an unknown name can mean, a text is the likeliest."""
        if not any(self._is_field(operand) for operand in operands):
            return
        words = [
            element
            for operand in operands
            for element in (operand.elts if isinstance(operand, ast.List | ast.Tuple) else [operand])
        ]
        for word in words:
            names = {part.id for part in ast.walk(word) if isinstance(part, ast.Name)}
            if names and names.isdisjoint(self.names) and names.isdisjoint(_CONSTANTS):
                source = self._source(word)
                close = nearest(source, self.names)
                meant = f", or did you mean the field {' or '.join(close)}?" if close else ""
                quoted = json.dumps(source, ensure_ascii=False)
                raise UsageError(
                    f"{source} is not a field; if it is a text, write it in quotes, {quoted}{meant}"
                )

    def _is_field(self, node: ast.expr) -> bool:
        while isinstance(node, ast.Attribute):
            node = node.value
        return isinstance(node, ast.Name) and node.id in self.names


def _constantly(value: Any) -> _Evaluate:
    return lambda _row: value


def _connect(parts: list[_Evaluate], is_or: bool) -> _Evaluate:
    def connected(row: _Row) -> Any:
        value: Any = None
        for part in parts:
            value = part(row)
            if bool(value) is is_or:
                break
        return value

    return connected


def _look_up(row: _Row, name: str, keys: list[str], source: str) -> Any:
    value = _plain(row.get(name))
    for key in keys:
        if isinstance(value, str) and value.startswith("{"):
            value = _mapping_of_text(value)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise UsageError(f"{source}: {name} is {_kind(value)}, which has no keys")
        value = _plain(value.get(key))
    return value


def _plain(value: Any) -> Any:
    if is_absent(value):
        return None
    return value.tolist() if hasattr(value, "tolist") else value  # numpy's scalars and arrays


def _mapping_of_text(text: str) -> Any:
    """Read a mapping that a table holds as JSON text, as `TrialSpec.to_row` writes it."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _contains(item: Any, container: Any, sources: tuple[str, str]) -> bool | None:
    """Whether `item` is in `container`; None if that cannot be said because one is absent."""
    if container is None:
        return None
    if isinstance(container, str):
        if item is None:
            return None
        if not isinstance(item, str):
            raise UsageError(f"cannot look for {_named(sources[0], item)} in {_named(sources[1], container)}")
        return item in container
    if isinstance(container, Mapping | Sequence | set | frozenset):
        if item is None:
            return True if None in container else None
        return any(item == member for member in container)
    raise UsageError(f"cannot look into {_named(sources[1], container)}; 'in' needs a list or a text")


def _both(one: Any, other: Any) -> bool:
    return one is not None and other is not None


def _is_none(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=None) | ast.Name(id="none"):
            return True
    return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _named(source: str, value: Any) -> str:
    """Name a value in a sentence by what was written and what it is."""
    kind = _kind(value)
    return kind if source[0] in "'\"" or kind.endswith(source) else f"{source} ({kind})"


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if _is_number(value):
        return f"the number {shown(value)}"
    if isinstance(value, str):
        return f"the text {shown(str(value))}"
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, Sequence) else f"a {type(value).__name__}"

"""The mutants of a module: its source with one small change each, of the kinds that people make by mistake.

Laws: the same source gives the same mutants under the same names, whatever line they stand in; every mutant differs
from the source. Not touched is what only people read or only type checkers: docstrings, annotations, what is raised
with (`raise X(…)`, and calls that take a `hint`), texts of four words and more, asserts, decorators.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from types import CodeType
from typing import Final
from warnings import catch_warnings

_NAME_CHARACTERS: Final = 100  # of the text before, and of the text after
_WORDS: Final = 4

_COMPARISONS: Final = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: Final = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}
# Calls that are easily taken for one another.
_NEIGHBOURS: Final = {
    "min": ("max",),
    "max": ("min",),
    "any": ("all",),
    "all": ("any",),
    "sorted": ("list",),
    "reversed": ("list",),
    "startswith": ("endswith",),
    "endswith": ("startswith",),
    "partition": ("rpartition",),
    "rpartition": ("partition",),
    "find": ("rfind",),
    "rfind": ("find",),
    "fullmatch": ("match", "search"),
    "match": ("search", "fullmatch"),
    "search": ("match",),
}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a node hangs: a field of its parent, or one element of a field that is a list."""

    holder: ast.AST
    field: str
    index: int | None = None

    def put(self, node: ast.AST) -> ast.AST:
        """Hangs another node there, and gives the one that did."""
        if self.index is None:
            former = getattr(self.holder, self.field)
            setattr(self.holder, self.field, node)
        else:
            elements = getattr(self.holder, self.field)
            former, elements[self.index] = elements[self.index], node
        return former  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change to a module. `lines` are those of the statement (or its head) that it is in, `function` those of the
    outermost function around it; both are None outside functions, where a module is only read once.
    """

    name: str
    lines: range | None
    function: range | None
    place: _Place
    node: ast.AST
    tree: ast.Module

    def code(self, path: str) -> CodeType:
        """The module with this change, compiled."""
        former = self.place.put(self.node)
        try:
            return compile(ast.fix_missing_locations(deepcopy(self.tree)), path, "exec")
        finally:
            self.place.put(former)


def mutants_of(source: str) -> list[Mutant]:
    """All mutants of a module, in the order of its text."""
    tree = ast.parse(source)
    told: Counter[str] = Counter()
    mutants = []
    for where, lines, function, shown, place, node in _Walk().module(tree):
        name = f"{where}: {_change(shown, place, node)}"
        told[name] += 1
        numbered = name if told[name] == 1 else f"{name} #{told[name]}"
        mutants.append(Mutant(numbered, lines, function, place, node, tree))
    return mutants


def _change(shown: ast.AST, place: _Place, node: ast.AST) -> str:
    before = _text(shown)
    former = place.put(node)
    after = _text(node if former is shown else shown)
    place.put(former)
    return f"{before} => {after}"


def _text(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split("\n", 1)[0].split())
    return text if len(text) <= _NAME_CHARACTERS else text[:_NAME_CHARACTERS] + "…"


_Change = tuple[str, range | None, range | None, ast.AST, _Place, ast.AST]


class _Walk:
    """Goes through a module and makes its changes. Knows the names of the classes and functions around a node."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._functions: list[range] = []  # those around the statement, by their lines

    def module(self, tree: ast.Module) -> Iterator[_Change]:
        yield from self._body(tree, "body")

    def _body(self, holder: ast.AST, field: str) -> Iterator[_Change]:
        for index, statement in enumerate(getattr(holder, field)):
            yield from self._statement(statement, _Place(holder, field, index))

    def _statement(self, node: ast.stmt, place: _Place) -> Iterator[_Change]:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield from self._definition(node)
            case ast.Import() | ast.ImportFrom() | ast.Assert() | ast.Pass() | ast.Global() | ast.Nonlocal():
                return
            case ast.Expr(value=ast.Constant()):
                return  # a docstring, or the dots of a protocol
            case ast.AnnAssign() if ast.unparse(node.annotation) == "TypeAlias" or node.value is None:
                return
            case ast.Assign() if not self._names and _is_type(node.value):
                return
            case _:
                yield from self._changed(node, node, place, _statement_changes(node))
                yield from self._children(node, node)

    def _definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> Iterator[_Change]:
        self._names.append(node.name)
        if not isinstance(node, ast.ClassDef):
            for field in ("defaults", "kw_defaults"):
                for index, default in enumerate(getattr(node.args, field)):
                    if default is not None:
                        yield from self._expression(default, _Place(node.args, field, index), node, None)
        if isinstance(node, ast.ClassDef):
            yield from self._body(node, "body")
        else:
            self._functions.append(range(node.lineno + 1, (node.end_lineno or node.lineno) + 1))
            yield from self._body(node, "body")
            self._functions.pop()
        self._names.pop()

    def _children(self, node: ast.AST, statement: ast.stmt) -> Iterator[_Change]:
        """Changes below a statement: in its expressions and in the statements it holds."""
        for field, value in ast.iter_fields(node):
            if isinstance(node, ast.Raise | ast.Delete) or field in ("annotation", "targets", "target"):
                continue
            if _is_hint(node) and field == "value":
                continue
            for index, child in enumerate(value) if isinstance(value, list) else ((None, value),):
                place = _Place(node, field, index)
                if isinstance(child, ast.expr):
                    yield from self._expression(child, place, statement, node)
                elif isinstance(child, ast.stmt):
                    yield from self._statement(child, place)
                elif isinstance(child, ast.excepthandler):
                    yield from self._handler(child, statement)
                elif isinstance(child, ast.AST):
                    yield from self._children(child, statement)

    def _handler(self, node: ast.ExceptHandler, statement: ast.stmt) -> Iterator[_Change]:
        if isinstance(node.type, ast.Tuple):
            for number in range(len(node.type.elts)):
                fewer = ast.Tuple([one for at, one in enumerate(node.type.elts) if at != number], ast.Load())
                yield self._told(node.type, node, _Place(node, "type"), fewer)
        yield from self._body(node, "body")

    def _expression(
        self, node: ast.expr, place: _Place, statement: ast.stmt, parent: ast.AST | None
    ) -> Iterator[_Change]:
        if isinstance(node, ast.Call) and any(keyword.arg == "hint" for keyword in node.keywords):
            return
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Name)
            and node.value.id in ("Literal", "cast")
        ):
            return
        shown: ast.AST = node
        if isinstance(node, ast.Constant):
            shown = parent if isinstance(parent, ast.expr | ast.keyword) else statement if not self._names else node
        yield from self._changed(shown, statement, place, _expression_changes(node, parent))
        if isinstance(node, ast.JoinedStr):
            yield from self._joined(node, statement)
            return
        if _is_prose(node):
            return
        for field, value in ast.iter_fields(node):
            for index, child in enumerate(value) if isinstance(value, list) else ((None, value),):
                if isinstance(child, ast.expr):
                    yield from self._expression(child, _Place(node, field, index), statement, node)
                elif isinstance(child, ast.keyword):
                    yield from self._expression(child.value, _Place(child, "value"), statement, child)
                elif isinstance(child, ast.comprehension):
                    yield from self._comprehension(child, statement)

    def _joined(self, node: ast.JoinedStr, statement: ast.stmt) -> Iterator[_Change]:
        """The values in an f-string, and its texts unless they are prose; never its format specifications."""
        is_prose = _is_prose(node)
        for index, part in enumerate(node.values):
            if isinstance(part, ast.FormattedValue):
                yield from self._expression(part.value, _Place(part, "value"), statement, part.value)
            elif isinstance(part, ast.Constant) and not is_prose:
                changes = [ast.Constant(text) for text in _other_texts(part.value)]
                yield from self._changed(node, statement, _Place(node, "values", index), iter(changes))

    def _comprehension(self, node: ast.comprehension, statement: ast.stmt) -> Iterator[_Change]:
        yield from self._expression(node.iter, _Place(node, "iter"), statement, None)
        for index, test in enumerate(node.ifs):
            place = _Place(node, "ifs", index)
            yield from self._changed(test, statement, place, iter([ast.Constant(True), ast.Constant(False)]))
            yield from self._expression(test, place, statement, None)

    def _changed(
        self, shown: ast.AST, statement: ast.AST, place: _Place, changes: Iterator[ast.AST]
    ) -> Iterator[_Change]:
        for node in changes:
            yield self._told(shown, statement, place, node)

    def _told(self, shown: ast.AST, statement: ast.AST, place: _Place, node: ast.AST) -> _Change:
        function = self._functions[0] if self._functions else None
        return ".".join(self._names) or "module", self._lines(statement), function, shown, place, node

    def _lines(self, statement: ast.AST) -> range | None:
        if not self._functions:
            return None
        body = getattr(statement, "body", None)
        first = statement.lineno  # type: ignore[attr-defined]
        last = body[0].lineno - 1 if isinstance(body, list) else statement.end_lineno  # type: ignore[attr-defined]
        return range(first, max(first, last) + 1)


def _statement_changes(node: ast.stmt) -> Iterator[ast.AST]:
    match node:
        case ast.Raise():
            yield ast.Pass()
        case ast.Return(value=value) if value is not None and not _is_none(value):
            yield ast.Return(ast.Constant(None))
        case ast.Expr():
            yield ast.Pass()
        case ast.AugAssign():
            yield ast.Pass()
            if type(node.op) in _ARITHMETIC:
                yield ast.AugAssign(node.target, _ARITHMETIC[type(node.op)](), node.value)
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]) | ast.Delete():
            yield ast.Pass()
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()


def _expression_changes(node: ast.expr, parent: ast.AST | None) -> Iterator[ast.AST]:
    if isinstance(parent, ast.If | ast.IfExp) and node is parent.test:
        yield ast.Constant(True)
        yield ast.Constant(False)
    if isinstance(parent, ast.While):
        yield ast.Constant(False)
    match node:
        case ast.Compare():
            for index, operator in enumerate(node.ops):
                for other in _COMPARISONS[type(operator)]:
                    operators = [other() if at == index else one for at, one in enumerate(node.ops)]
                    yield ast.Compare(node.left, operators, node.comparators)
        case ast.BoolOp():
            yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
            for index in range(len(node.values)):
                values = [one for at, one in enumerate(node.values) if at != index]
                yield ast.BoolOp(node.op, values) if len(values) > 1 else values[0]
        case ast.UnaryOp():
            yield node.operand
        case ast.BinOp():
            yield from _arithmetic_changes(node, parent)
        case ast.Constant() if not _is_prose(node):
            yield from _constant_changes(node, parent)
        case ast.Call():
            yield from _call_changes(node)
        case ast.Slice():
            if node.lower is not None:
                yield ast.Slice(None, node.upper, node.step)
            if node.upper is not None:
                yield ast.Slice(node.lower, None, node.step)


def _arithmetic_changes(node: ast.BinOp, parent: ast.AST | None) -> Iterator[ast.expr]:
    if isinstance(node.op, ast.BitOr) and isinstance(parent, ast.Call) and _called(parent) == "isinstance":
        yield node.left
        yield node.right
    elif isinstance(node.op, ast.Add) and _is_of_text(node):
        yield ast.BinOp(node.right, node.op, node.left)
    elif type(node.op) in _ARITHMETIC:
        yield ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right)


def _constant_changes(node: ast.Constant, parent: ast.AST | None) -> Iterator[ast.expr]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
        yield ast.Constant(value - 1)
    elif isinstance(value, str | bytes) and isinstance(parent, ast.Call) and ast.unparse(parent.func) == "re.compile":
        yield from (ast.Constant(pattern) for pattern in _other_patterns(value))
    elif isinstance(value, str | bytes):
        yield from (ast.Constant(text) for text in _other_texts(value))


def _other_texts(text: str | bytes) -> Iterator[str | bytes]:
    yield text + ("~" if isinstance(text, str) else b"~")


def _other_patterns(pattern: str | bytes) -> Iterator[str | bytes]:
    """The pattern without any one of its characters, as far as that is a pattern."""
    told = {pattern}
    for at in range(len(pattern)):
        other = pattern[:at] + pattern[at + 1 :]
        try:
            with catch_warnings(action="ignore"):
                re.compile(other)
        except re.error:
            continue
        if other not in told:
            told.add(other)
            yield other


def _call_changes(node: ast.Call) -> Iterator[ast.expr]:
    for other in _NEIGHBOURS.get(_called(node), ()):
        if isinstance(node.func, ast.Name):
            keywords = [] if other == "list" else node.keywords
            yield ast.Call(ast.Name(other, ast.Load()), node.args, keywords)
        elif isinstance(node.func, ast.Attribute):
            yield ast.Call(ast.Attribute(node.func.value, other, ast.Load()), node.args, node.keywords)
    for index, (one, other) in enumerate(zip(node.args, node.args[1:], strict=False)):
        if isinstance(one, ast.Name | ast.Attribute) and isinstance(other, ast.Name | ast.Attribute):
            args = [*node.args[:index], other, one, *node.args[index + 2 :]]
            yield ast.Call(node.func, args, node.keywords)


def _called(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_hint(node: ast.AST) -> bool:
    return isinstance(node, ast.Assign) and any(isinstance(one, ast.Name) and one.id == "hint" for one in node.targets)


def _is_prose(node: ast.AST) -> bool:
    """A text of four words and more, which only people read."""
    match node:
        case ast.Constant(value=str() as text):
            return len(text.split()) >= _WORDS
        case ast.JoinedStr():
            return sum(len(part.value.split()) for part in node.values if isinstance(part, ast.Constant)) >= _WORDS
    return False


def _is_of_text(node: ast.expr) -> bool:
    """A sum of which some part is surely a text: it may not be turned round."""
    match node:
        case ast.Constant(value=str() | bytes()) | ast.JoinedStr():
            return True
        case ast.BinOp(op=ast.Add()):
            return _is_of_text(node.left) or _is_of_text(node.right)
    return False


def _is_type(node: ast.expr) -> bool:
    """A union of types, or `Literal[…]`, under a name of its own."""
    match node:
        case ast.BinOp(left=ast.Name() | ast.BinOp(), op=ast.BitOr(), right=ast.Name()):
            return True
        case ast.Subscript(value=ast.Name(id=name)):
            return name in ("Literal", "tuple", "dict", "list", "Callable")
    return False

"""Expressions made into functions: what operators, fields and macros mean.

In: a tree, and the names of its variables. Out: a `Program`. Every node becomes one closure, so that an evaluation walks no
tree. A rule that is right for all values is no business of this module: see `functions` for what a call does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from engine.sandbox.simulator.cel import syntax
from engine.sandbox.simulator.cel.functions import GLOBAL, METHODS, Function, negated
from engine.sandbox.simulator.cel.macros import MACROS, Scope
from engine.sandbox.simulator.cel.operators import OPERATORS
from engine.sandbox.simulator.cel.values import (
    NONE,
    CelError,
    CelType,
    Optional,
    Unsigned,
    is_number,
    no_overload,
    of,
)

Evaluator = Callable[[Scope], Any]

_TYPES = {
    name: CelType(name)
    for name in ("bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint")
}
_NAMESPACES = {"format", "ip", "lists", "optional", "sets", "strings"}


class Program:
    """An expression that can be evaluated any number of times.

    Args:
        text: of the expression.
        variables: names that it may use.

    Attributes:
        text: as given.
        names: those variables that it does use.

    Raises:
        CelSyntaxError: when the text is no expression, or uses a name that is none of the variables.

    """

    def __init__(self, text: str, variables: Iterable[str]) -> None:
        self.text = text
        compiler = _Compiler(text, frozenset(variables))
        self._evaluate = compiler.compile(syntax.parse(text), frozenset())
        self.names = frozenset(compiler.used)

    def __call__(self, variables: Mapping[str, Any]) -> Any:
        """Return the value.

        Args:
            variables: their values by name.

        Raises:
            CelError: when it cannot be evaluated.

        """
        return self._evaluate(Scope(dict(variables)))


def compiled(text: str, variables: Iterable[str]) -> Program:
    """Return the program of an expression; see `Program`."""
    return Program(text, variables)


class _Compiler:
    def __init__(self, text: str, variables: frozenset[str]) -> None:
        self._text = text
        self._variables = variables
        self.used: set[str] = set()

    def refuse(self, node: syntax.Node, why: str) -> syntax.CelSyntaxError:
        """Return the error for a node that means nothing."""
        return syntax.CelSyntaxError(self._text, node.at, why)

    def compile(self, node: syntax.Node, local: frozenset[str]) -> Evaluator:
        """Return the function that evaluates a node.

        Args:
            node: of the tree.
            local: variables that macros around it define.

        """
        match node:
            case syntax.Literal(value=value):
                return lambda _: value
            case syntax.Unsigned(value=value):
                number = Unsigned(value)
                return lambda _: number
            case syntax.Ident():
                return self._ident(node, local)
            case syntax.Select():
                return self._select(node, local)
            case syntax.Index():
                return self._index(node, local)
            case syntax.ListOf():
                return self._list(node, local)
            case syntax.MapOf():
                return self._map(node, local)
            case syntax.Call():
                return self._call(node, local)
        raise AssertionError(node)

    def _ident(self, node: syntax.Ident, local: frozenset[str]) -> Evaluator:
        name = node.name
        if name in local:
            return lambda scope: scope.variables[name]
        if name in self._variables:
            self.used.add(name)
            return lambda scope: scope.variables[name]
        if name in _TYPES:
            found = _TYPES[name]
            return lambda _: found
        raise self.refuse(node, f"undeclared reference to '{name}' (in container '')")

    def _select(self, node: syntax.Select, local: frozenset[str]) -> Evaluator:
        qualified = _dotted(node)
        if qualified in {"google.protobuf.Timestamp", "google.protobuf.Duration"}:
            found = CelType(qualified)
            return lambda _: found
        operand, name = self.compile(node.operand, local), node.name
        return lambda scope: selected(operand(scope), name, optional=node.optional)

    def _index(self, node: syntax.Index, local: frozenset[str]) -> Evaluator:
        operand, key = self.compile(node.operand, local), self.compile(node.key, local)
        return lambda scope: indexed(operand(scope), key(scope), optional=node.optional)

    def _list(self, node: syntax.ListOf, local: frozenset[str]) -> Evaluator:
        items = [(self.compile(item, local), optional) for item, optional in node.items]

        def evaluate(scope: Scope) -> list[Any]:
            result = []
            for item, optional in items:
                value = item(scope)
                if not optional:
                    result.append(value)
                elif _checked(value).is_there:
                    result.append(value.value)
            return result

        return evaluate

    def _map(self, node: syntax.MapOf, local: frozenset[str]) -> Evaluator:
        entries = [
            (self.compile(key, local), self.compile(value, local), optional) for key, value, optional in node.entries
        ]

        def evaluate(scope: Scope) -> dict[Any, Any]:
            result: dict[Any, Any] = {}
            for key, value, optional in entries:
                name, found = key(scope), value(scope)
                if optional and not _checked(found).is_there:
                    continue
                if name in result:
                    raise CelError(f"Failed with repeated key: {name}")
                result[name] = found.value if optional else found
            return result

        return evaluate

    # Calls

    def _call(self, node: syntax.Call, local: frozenset[str]) -> Evaluator:
        name, args = node.name, node.args
        special = _SPECIAL.get((name, len(args))) if node.target is None else None
        if special is not None:
            return special(*(self.compile(arg, local) for arg in args))
        macro = MACROS.get((name, len(args), node.target is not None))
        if macro is not None:
            found = macro(self, node, local)
            if found is not None:
                return found
        if node.target is None:
            return self._function(node, GLOBAL.get(name), args, local)
        prefix = _dotted(node.target)
        if prefix in _NAMESPACES and prefix not in local | self._variables and f"{prefix}.{name}" in GLOBAL:
            return self._function(node, GLOBAL[f"{prefix}.{name}"], args, local)
        return self._function(node, METHODS.get(name), (node.target, *args), local)

    def _function(
        self, node: syntax.Call, function: Function | None, args: tuple[syntax.Node, ...], local: frozenset[str]
    ) -> Evaluator:
        if function is None:
            raise self.refuse(node, f"undeclared reference to '{node.name}' (in container '')")
        values = [self.compile(arg, local) for arg in args]
        run = function.run
        if not function.least <= len(values) <= function.most:
            raise self.refuse(node, f"found no matching overload for '{node.name}'")
        if len(values) == 1:
            only = values[0]
            return lambda scope: run(only(scope))
        if len(values) == 2:
            first, second = values
            return lambda scope: run(first(scope), second(scope))
        return lambda scope: run(*[value(scope) for value in values])


def _dotted(node: syntax.Node) -> str:
    """Return the name that a chain of fields spells; empty: it is no such chain."""
    match node:
        case syntax.Ident(name=name):
            return name
        case syntax.Select(operand=operand, name=name, optional=False):
            prefix = _dotted(operand)
            return f"{prefix}.{name}" if prefix else ""
    return ""


def _checked(value: Any) -> Optional:
    if not isinstance(value, Optional):
        raise no_overload()
    return value


# Fields and items

_ESCAPES = {"__dot__": ".", "__dash__": "-", "__slash__": "/", "__underscores__": "__"}


def field_name(name: str) -> str:
    """Return the field that an escaped name stands for."""
    if "__" not in name:
        return name
    for escape, character in _ESCAPES.items():
        name = name.replace(escape, character)
    return name[2:-2] if name.startswith("__") and name.endswith("__") else name


def selected(operand: Any, name: str, *, optional: bool = False) -> Any:
    """Return a field of a value.

    Raises:
        CelError: when there is none; an optional selection then has no value.

    """
    if isinstance(operand, Optional):
        return selected(operand.value, name, optional=True) if operand.is_there else NONE
    if isinstance(operand, list):
        raise CelError("unsupported index type 'string' in list")
    if not isinstance(operand, dict):
        raise no_overload()
    key = name if name in operand else field_name(name)
    if key in operand:
        return of(operand[key]) if optional else operand[key]
    if optional:
        return NONE
    raise CelError(f"no such key: {key}")


def indexed(operand: Any, key: Any, *, optional: bool = False) -> Any:
    """Return an item of a list or a map.

    Raises:
        CelError: when there is none; an optional one then has no value.

    """
    if isinstance(operand, Optional):
        return indexed(operand.value, key, optional=True) if operand.is_there else NONE
    problem = "no such overload"
    if isinstance(operand, list) and is_number(key) and key == int(key):
        if 0 <= key < len(operand):
            return of(operand[int(key)]) if optional else operand[int(key)]
        problem = f"index out of bounds: {int(key)}"
    elif isinstance(operand, dict):
        if not isinstance(key, list | dict) and key in operand:
            return of(operand[key]) if optional else operand[key]
        problem = f"no such key: {key}"
    if optional and problem != "no such overload":
        return NONE
    raise CelError(problem)


# Operators that do not evaluate all operands


def _and(left: Evaluator, right: Evaluator) -> Evaluator:
    return lambda scope: _joined(left, right, scope, decisive=False)


def _or(left: Evaluator, right: Evaluator) -> Evaluator:
    return lambda scope: _joined(left, right, scope, decisive=True)


def _joined(left: Evaluator, right: Evaluator, scope: Scope, *, decisive: bool) -> bool:
    """Return `&&` or `||`: an operand that decides hides the other's error, whichever comes first."""
    first: Any = None
    problem: CelError | None = None
    try:
        first = left(scope)
    except CelError as error:
        problem = error
    if first is decisive:
        return bool(decisive)
    second: Any = right(scope)
    if second is decisive:
        return bool(decisive)
    if problem is not None:
        raise problem
    if not isinstance(first, bool) or not isinstance(second, bool):
        raise no_overload()
    return not decisive


def _if(condition: Evaluator, then: Evaluator, otherwise: Evaluator) -> Evaluator:
    def evaluate(scope: Scope) -> Any:
        value = condition(scope)
        if not isinstance(value, bool):
            raise no_overload()
        return then(scope) if value else otherwise(scope)

    return evaluate


def _operator(run: Callable[[Any, Any], Any]) -> Callable[[Evaluator, Evaluator], Evaluator]:
    return lambda left, right: lambda scope: run(left(scope), right(scope))


_SPECIAL: dict[tuple[str, int], Callable[..., Evaluator]] = {
    ("&&", 2): _and,
    ("||", 2): _or,
    ("?:", 3): _if,
    ("!", 1): lambda operand: lambda scope: negated(operand(scope)),
    **{(name, 2): _operator(run) for name, run in OPERATORS.items()},
}

"""Macros: calls whose arguments are not values but expressions over each item, or a name.

In: a call, and the compiler. Out: the function that evaluates it, or None if it is no macro after all (a method of the same
name may be).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cmp_to_key
from typing import Any, Protocol

from engine.sandbox.simulator.cel import syntax
from engine.sandbox.simulator.cel.values import NONE, CelError, Optional, compare, no_overload, of

_MOST_STEPS = 1_000_000
"""Iterations of one evaluation: the real server's limit of cost for one call."""


class Scope:
    """Variables of an evaluation, and how many iterations it has made.

    Args:
        variables: by name.
        steps: shared by all scopes of an evaluation.

    """

    __slots__ = ("_steps", "variables")

    def __init__(self, variables: dict[str, Any], steps: list[int] | None = None) -> None:
        self.variables = variables
        self._steps = [0] if steps is None else steps

    def inner(self) -> Scope:
        """Return a scope of the same evaluation that can have more variables."""
        return Scope(dict(self.variables), self._steps)

    def step(self) -> None:
        """Count an iteration.

        Raises:
            CelError: when there were too many.

        """
        self._steps[0] += 1
        if self._steps[0] > _MOST_STEPS:
            raise CelError("operation cancelled: actual cost limit exceeded")


Evaluator = Callable[[Scope], Any]


class Compiler(Protocol):
    """What macros need of the compiler."""

    def compile(self, node: syntax.Node, local: frozenset[str]) -> Evaluator:
        """Return the function that evaluates a node."""

    def refuse(self, node: syntax.Node, why: str) -> syntax.CelSyntaxError:
        """Return the error for a node that means nothing."""


_ORDER = cmp_to_key(compare)

_Macro = Callable[[Compiler, syntax.Call, frozenset[str]], Evaluator | None]


def _has(compiler: Compiler, call: syntax.Call, local: frozenset[str]) -> Evaluator:
    target = call.args[0]
    if not isinstance(target, syntax.Select):
        raise compiler.refuse(target, "invalid argument to has() macro")
    operand = compiler.compile(target.operand, local)
    probe = compiler.compile(
        syntax.Select(target.at, syntax.Ident(target.at, "@operand"), target.name, optional=True),
        frozenset({"@operand"}),
    )

    def evaluate(scope: Scope) -> bool:
        value = operand(scope)
        if not isinstance(value, dict | Optional):
            raise no_overload()
        found: Optional = probe(Scope({"@operand": value}))
        return found.is_there

    return evaluate


def _names(compiler: Compiler, call: syntax.Call, count: int) -> list[str]:
    names = []
    for node in call.args[:count]:
        if not isinstance(node, syntax.Ident):
            raise compiler.refuse(node, "argument must be a simple name")
        names.append(node.name)
    return names


def _items(value: Any) -> Iterable[Any]:
    """Return what a macro with one variable goes through: items of a list, keys of a map."""
    if isinstance(value, list | dict):
        return value
    raise no_overload()


def _pairs(value: Any) -> Iterable[tuple[Any, Any]]:
    """Return what a macro with two variables goes through: an index or a key, and the value there."""
    if isinstance(value, list):
        return enumerate(value)
    if isinstance(value, dict):
        return value.items()
    raise no_overload()


class _Loop:
    """A macro over items.

    Args:
        compiler: of the expression.
        call: of the macro.
        local: variables around it.
        count: how many variables the macro has.

    Attributes:
        bodies: the remaining arguments, as functions.

    """

    def __init__(self, compiler: Compiler, call: syntax.Call, local: frozenset[str], count: int) -> None:
        if call.target is None:
            raise compiler.refuse(call, f"undeclared reference to '{call.name}' (in container '')")
        self._range = compiler.compile(call.target, local)
        self._names = _names(compiler, call, count)
        inner = local | set(self._names)
        self.bodies = [compiler.compile(arg, inner) for arg in call.args[count:]]
        self._count = count

    def scopes(self, scope: Scope) -> Iterator[tuple[Scope, Any]]:
        """Yield a scope for each item, and the item; the scope is the same one, with other variables."""
        value = self._range(scope)
        inner = scope.inner()
        if self._count == 1:
            name = self._names[0]
            for item in _items(value):
                scope.step()
                inner.variables[name] = item
                yield inner, item
            return
        first, second = self._names
        for key, item in _pairs(value):
            scope.step()
            inner.variables[first], inner.variables[second] = key, item
            yield inner, key


def _loop(count: int, make: Callable[[_Loop], Evaluator]) -> _Macro:
    return lambda compiler, call, local: make(_Loop(compiler, call, local, count))


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise no_overload()
    return value


def _quantified(decisive: bool) -> Callable[[_Loop], Evaluator]:
    def make(loop: _Loop) -> Evaluator:
        body = loop.bodies[0]

        def evaluate(scope: Scope) -> bool:
            problem = None
            for inner, _ in loop.scopes(scope):
                try:
                    value = _truth(body(inner))
                except CelError as error:
                    if "cost limit" in str(error):
                        raise
                    problem = problem or error
                    continue
                if value is decisive:
                    return decisive
            if problem is not None:
                raise problem
            return not decisive

        return evaluate

    return make


def _exists_one(loop: _Loop) -> Evaluator:
    body = loop.bodies[0]
    return lambda scope: sum(_truth(body(inner)) for inner, _ in loop.scopes(scope)) == 1


def _filter(loop: _Loop) -> Evaluator:
    body = loop.bodies[0]
    return lambda scope: [item for inner, item in loop.scopes(scope) if _truth(body(inner))]


def _mapped(loop: _Loop) -> Evaluator:
    """Make `map` or `transformList`: with or without a condition before the value."""
    *conditions, value = loop.bodies
    return lambda scope: [
        value(inner) for inner, _ in loop.scopes(scope) if all(_truth(one(inner)) for one in conditions)
    ]


def _transform_map(loop: _Loop) -> Evaluator:
    *conditions, value = loop.bodies
    return lambda scope: {
        key: value(inner) for inner, key in loop.scopes(scope) if all(_truth(one(inner)) for one in conditions)
    }


def _transform_entries(loop: _Loop) -> Evaluator:
    *conditions, entry = loop.bodies

    def evaluate(scope: Scope) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for inner, _ in loop.scopes(scope):
            if not all(_truth(one(inner)) for one in conditions):
                continue
            found = entry(inner)
            if not isinstance(found, dict):
                raise no_overload()
            for key, value in found.items():
                if key in result:
                    raise CelError(f"insert failed: key {key} already exists")
                result[key] = value
        return result

    return evaluate


def _sort_by(loop: _Loop) -> Evaluator:
    body = loop.bodies[0]

    def evaluate(scope: Scope) -> list[Any]:
        keyed = [(body(inner), item) for inner, item in loop.scopes(scope)]
        return [item for _, item in sorted(keyed, key=lambda pair: _ORDER(pair[0]))]

    return evaluate


def _opt_map(*, flat: bool) -> _Macro:
    def make(compiler: Compiler, call: syntax.Call, local: frozenset[str]) -> Evaluator | None:
        if call.target is None:
            return None
        target = compiler.compile(call.target, local)
        (name,) = _names(compiler, call, 1)
        body = compiler.compile(call.args[1], local | {name})

        def evaluate(scope: Scope) -> Optional:
            value = target(scope)
            if not isinstance(value, Optional):
                raise no_overload()
            if not value.is_there:
                return NONE
            inner = scope.inner()
            inner.variables[name] = value.value
            result: Any = body(inner)
            return result if flat else of(result)

        return evaluate

    return make


def _otherwise(*, is_value: bool) -> _Macro:
    """Make `or` and `orValue`, whose argument is evaluated only if there is no value before."""

    def make(compiler: Compiler, call: syntax.Call, local: frozenset[str]) -> Evaluator | None:
        if call.target is None:
            return None
        target, other = compiler.compile(call.target, local), compiler.compile(call.args[0], local)

        def evaluate(scope: Scope) -> Any:
            value = target(scope)
            if not isinstance(value, Optional):
                raise no_overload()
            if not value.is_there:
                return other(scope)
            return value.value if is_value else value

        return evaluate

    return make


MACROS: dict[tuple[str, int, bool], _Macro] = {
    ("has", 1, False): _has,
    ("all", 2, True): _loop(1, _quantified(decisive=False)),
    ("exists", 2, True): _loop(1, _quantified(decisive=True)),
    ("exists_one", 2, True): _loop(1, _exists_one),
    ("existsOne", 2, True): _loop(1, _exists_one),
    ("filter", 2, True): _loop(1, _filter),
    ("map", 2, True): _loop(1, _mapped),
    ("sortBy", 2, True): _loop(1, _sort_by),
    ("map", 3, True): _loop(1, _mapped),
    ("all", 3, True): _loop(2, _quantified(decisive=False)),
    ("exists", 3, True): _loop(2, _quantified(decisive=True)),
    ("existsOne", 3, True): _loop(2, _exists_one),
    ("transformList", 3, True): _loop(2, _mapped),
    ("transformList", 4, True): _loop(2, _mapped),
    ("transformMap", 3, True): _loop(2, _transform_map),
    ("transformMap", 4, True): _loop(2, _transform_map),
    ("transformMapEntry", 3, True): _loop(2, _transform_entries),
    ("transformMapEntry", 4, True): _loop(2, _transform_entries),
    ("optMap", 2, True): _opt_map(flat=False),
    ("optFlatMap", 2, True): _opt_map(flat=True),
    ("or", 1, True): _otherwise(is_value=False),
    ("orValue", 1, True): _otherwise(is_value=True),
}
"""Macros by name, number of arguments, and whether they are called on a value."""

"""Expressions as trees: the grammar of the Common Expression Language.

In: a text. Out: nodes, or a `CelSyntaxError` that says where the text stops being an expression. Macros such as `all` and
`has` are calls here; `evaluation` knows what they mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_DEEPEST = 250
"""Levels of nesting, as in `cel-go`."""

_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r\n\f]+|//[^\n]*)
  | (?P<float>(?:\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?))
  | (?P<int>0x[0-9a-fA-F]+[uU]?|\d+[uU]?)
  | (?P<string>(?:[bB][rR]?|[rR][bB]?)?(?:
        \"\"\"(?:[^\\]|\\.)*?\"\"\"
      | \'\'\'(?:[^\\]|\\.)*?\'\'\'
      | "(?:[^"\\\n\r]|\\.)*"
      | '(?:[^'\\\n\r]|\\.)*'))
  | (?P<ident>[A-Za-z_][A-Za-z0-9_]*|`[A-Za-z0-9_.\-/ ]+`)
  | (?P<op>&&|\|\||[=!<>]=|\.\?|\[\?|[-+*/%!<>?:.,()\[\]{}])
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
"""What a text is made of. In a raw string a backslash is one, but a quote after it does not end the string."""
_ANY_VALUE = (
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"
)
"""What a value can start with, as the message for a missing one says it."""
_RESERVED = frozenset(
    (
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
    )
) | {"return", "var", "void", "while"}
_RELATIONS = {"==", "!=", "<", "<=", ">", ">="}
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\\"'`?])|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.?))", re.DOTALL
)
_CONTROL = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class CelSyntaxError(ValueError):
    """Raised for a text that is no expression; the message is that of `cel-go`, with the place."""

    def __init__(self, text: str, at: int, why: str) -> None:
        line = text.count("\n", 0, at) + 1
        column = at - (text.rfind("\n", 0, at) + 1)
        source = text.split("\n")[line - 1]
        super().__init__(f"ERROR: <input>:{line}:{column + 1}: {why}\n | {source}\n | {'.' * column}^")


@dataclass(frozen=True, slots=True)
class Node:
    """A node of an expression.

    Attributes:
        at: offset in the text.

    """

    at: int


@dataclass(frozen=True, slots=True)
class Literal(Node):
    """A constant."""

    value: Any


@dataclass(frozen=True, slots=True)
class Unsigned(Node):
    """A constant such as `3u`."""

    value: int


@dataclass(frozen=True, slots=True)
class Ident(Node):
    """A variable or the name of a type."""

    name: str


@dataclass(frozen=True, slots=True)
class Select(Node):
    """A field of a value: `operand.name`, or `operand.?name`."""

    operand: Node
    name: str
    optional: bool


@dataclass(frozen=True, slots=True)
class Index(Node):
    """An item of a value: `operand[key]`, or `operand[?key]`."""

    operand: Node
    key: Node
    optional: bool


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A function, operator or macro; `target` is None for a global one."""

    target: Node | None
    name: str
    args: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class ListOf(Node):
    """A list; each item with whether it is left out when it has no value."""

    items: tuple[tuple[Node, bool], ...]


@dataclass(frozen=True, slots=True)
class MapOf(Node):
    """A map; each entry with whether it is left out when it has no value."""

    entries: tuple[tuple[Node, Node, bool], ...]


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def parse(text: str) -> Node:
    """Return the tree of an expression.

    Raises:
        CelSyntaxError: when it is none.

    """
    parser = _Parser(text)
    node = parser.expression()
    parser.expect_end()
    return node


def _tokens(text: str) -> list[_Token]:
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or not match.lastgroup:
            raise CelSyntaxError(text, at, f"Syntax error: token recognition error at: '{text[at]}'")
        if match.lastgroup != "space":
            found.append(_Token(match.lastgroup, match.group(), at))
        at = match.end()
    found.append(_Token("end", "<EOF>", len(text)))
    return found


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._next = 0
        self._depth = 0

    # Tokens

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _takes(self, *texts: str) -> _Token | None:
        token = self._token
        return self._take() if token.kind == "op" and token.text in texts else None

    def _expect(self, text: str) -> _Token:
        found = self._takes(text)
        if found is None:
            raise self._unexpected(f"'{text}'")
        return found

    def _unexpected(self, wanted: str = _ANY_VALUE) -> CelSyntaxError:
        token = self._token
        return CelSyntaxError(self._text, token.at, f"Syntax error: mismatched input '{token.text}' expecting {wanted}")

    def expect_end(self) -> None:
        """Check that nothing is left."""
        if self._token.kind != "end":
            raise self._unexpected("<EOF>")

    # Operators, the weakest first

    def expression(self) -> Node:
        """Parse an expression with `? :`."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise CelSyntaxError(self._text, self._token.at, f"expression recursion limit exceeded: {_DEEPEST}")
        node = self._binary("||")
        if question := self._takes("?"):
            then = self._binary("||")
            self._expect(":")
            node = Call(question.at, None, "?:", (node, then, self.expression()))
        self._depth -= 1
        return node

    def _binary(self, operator: str) -> Node:
        """Parse a chain of `||`, or of `&&`."""
        below: Callable[[], Node] = self._relation if operator == "&&" else lambda: self._binary("&&")
        node = below()
        while token := self._takes(operator):
            node = Call(token.at, None, operator, (node, below()))
        return node

    def _relation(self) -> Node:
        node = self._sum()
        while True:
            token = self._token
            is_in = token.kind == "ident" and token.text == "in"
            if not is_in and not (token.kind == "op" and token.text in _RELATIONS):
                return node
            self._take()
            node = Call(token.at, None, token.text, (node, self._sum()))

    def _sum(self) -> Node:
        node = self._product()
        while token := self._takes("+", "-"):
            node = Call(token.at, None, token.text, (node, self._product()))
        return node

    def _product(self) -> Node:
        node = self._unary()
        while token := self._takes("*", "/", "%"):
            node = Call(token.at, None, token.text, (node, self._unary()))
        return node

    def _unary(self) -> Node:
        if token := self._takes("!"):
            return Call(token.at, None, "!", (self._unary(),))
        if token := self._takes("-"):
            if self._token.kind in {"int", "float"}:
                return self._number(self._take(), token.at, "-")
            return Call(token.at, None, "-_", (self._unary(),))
        return self._member(self._primary())

    # Values

    def _member(self, node: Node) -> Node:
        while token := self._takes(".", ".?", "[", "[?"):
            if token.text.startswith("["):
                key = self.expression()
                self._expect("]")
                node = Index(token.at, node, key, token.text == "[?")
                continue
            if self._token.kind != "ident":
                raise self._unexpected("IDENTIFIER")
            name = self._take()
            plain = name.text.strip("`")
            if token.text == "." and self._takes("("):
                node = Call(name.at, node, plain, self._arguments(")"))
            else:
                node = Select(token.at, node, plain, token.text == ".?")
        return node

    def _arguments(self, end: str) -> tuple[Node, ...]:
        found = []
        while not self._takes(end):
            found.append(self.expression())
            if not self._takes(","):
                self._expect(end)
                break
        return tuple(found)

    def _primary(self) -> Node:
        token = self._take()
        if token.kind in {"int", "float"}:
            return self._number(token, token.at)
        if token.kind == "string":
            return Literal(token.at, self._string(token))
        if token.kind == "ident":
            return self._named(token)
        match token.text if token.kind == "op" else "":
            case "(":
                node = self.expression()
                self._expect(")")
                return node
            case "[":
                return ListOf(token.at, self._items())
            case "{":
                return MapOf(token.at, self._entries())
            case ".":
                return self._primary()
        self._next -= 1
        raise self._unexpected()

    def _named(self, token: _Token) -> Node:
        constants = {"true": True, "false": False, "null": None}
        if token.text in constants:
            return Literal(token.at, constants[token.text])
        if token.text in _RESERVED or token.text == "in":
            raise CelSyntaxError(self._text, token.at, f"reserved identifier: {token.text}")
        if self._takes("("):
            return Call(token.at, None, token.text, self._arguments(")"))
        return Ident(token.at, token.text)

    def _items(self) -> tuple[tuple[Node, bool], ...]:
        found = []
        while not self._takes("]"):
            optional = self._takes("?") is not None
            found.append((self.expression(), optional))
            if not self._takes(","):
                self._expect("]")
                break
        return tuple(found)

    def _entries(self) -> tuple[tuple[Node, Node, bool], ...]:
        found = []
        while not self._takes("}"):
            optional = self._takes("?") is not None
            key = self.expression()
            self._expect(":")
            found.append((key, self.expression(), optional))
            if not self._takes(","):
                self._expect("}")
                break
        return tuple(found)

    def _number(self, token: _Token, at: int, sign: str = "") -> Node:
        text = sign + token.text
        if token.kind == "float":
            return Literal(at, float(text))
        unsigned = text[-1] in "uU"
        value = int(text.rstrip("uU"), 16 if "x" in text else 10)
        if unsigned:
            if not 0 <= value < 2**64:
                raise CelSyntaxError(self._text, at, "invalid uint literal")
            return Unsigned(at, value)
        if not -(2**63) <= value < 2**63:
            raise CelSyntaxError(self._text, at, "invalid int literal")
        return Literal(at, value)

    def _string(self, token: _Token) -> str | bytes:
        start = re.match("[bBrR]*", token.text)
        prefix = (start.group() if start else "").lower()
        body = token.text[len(prefix) :]
        quotes = 3 if body[:3] in {'"""', "'''"} else 1
        body = body[quotes:-quotes]
        if "r" not in prefix:
            body = _ESCAPE.sub(lambda match: self._unescaped(match, token.at), body)
        return body.encode() if "b" in prefix else body

    def _unescaped(self, match: re.Match[str], at: int) -> str:
        simple, two, four, eight, octal, other = match.groups()
        if simple is not None:
            return _CONTROL.get(simple, simple)
        code = two or four or eight
        if code is not None:
            return chr(int(code, 16))
        if octal is not None:
            return chr(int(octal, 8))
        raise CelSyntaxError(self._text, at, f"Syntax error: token recognition error at: '\\{other}'")

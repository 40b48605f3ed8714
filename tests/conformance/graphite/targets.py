"""Targets as trees of calls, as far as it takes to tell what is asked of which series."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from dataset import Series, dataset

TOKEN = re.compile(r"""\s*("(?:\\.|""|[^"\\])*"|'(?:\\.|''|[^'\\])*'|[(),|]|(?:\\.|\{[^}]*\}|[^\s(),|"'{])+)""")
KEYWORD = re.compile(r"(\w+)\s*=\s*(.*)", re.DOTALL)


@dataclass
class Call:
    """A call with its arguments, each another call, or a path or a literal as written."""

    name: str
    arguments: list[Node] = field(default_factory=list)
    keywords: dict[str, Node] = field(default_factory=dict)
    # Whether the first argument was piped into it.
    is_piped: bool = field(default=False, compare=False)

    def argument(self, place: int, keyword: str, default: str = "") -> str:
        """Return the text of a literal argument, without its quotes."""
        given = self.arguments[place] if place < len(self.arguments) else self.keywords.get(keyword, default)
        return given.strip("\"'") if isinstance(given, str) else ""

    def series(self) -> list[Node]:
        """Return the arguments that yield series."""
        return [one for one in [*self.arguments, *self.keywords.values()] if isinstance(one, Call) or paths(one)]


Node = Call | str


def read(target: str) -> Node:
    """Read a target."""
    tokens = [match[1] for match in TOKEN.finditer(target)]
    tokens.reverse()
    return _piped(tokens)


def _piped(tokens: list[str]) -> Node:
    node = _node(tokens)
    while tokens and tokens[-1] == "|":
        tokens.pop()
        into = _node(tokens)
        if isinstance(into, Call):
            into.arguments.insert(0, node)
            into.is_piped = True
            node = into
    return node


def _node(tokens: list[str]) -> Node:
    word = tokens.pop() if tokens else ""
    if not tokens or tokens[-1] != "(":
        return word
    tokens.pop()
    call = Call(word)
    while tokens and tokens[-1] != ")":
        if tokens[-1] == ",":
            tokens.pop()
            continue
        keyword = KEYWORD.fullmatch(tokens[-1])
        # What follows the sign may be a token of its own.
        if keyword and keyword[2]:
            tokens[-1] = keyword[2]
        elif tokens[-1].endswith("=") or (len(tokens) > 1 and tokens[-2] == "="):
            keyword = re.fullmatch(r"(\w+)=?", tokens.pop())
            if tokens[-1] == "=":
                tokens.pop()
        value = _piped(tokens)
        if keyword:
            call.keywords[keyword[1]] = value
        else:
            call.arguments.append(value)
    if tokens:
        tokens.pop()
    return call


def calls(node: Node, within: tuple[Call, ...] = ()) -> Iterator[tuple[Call, tuple[Call, ...]]]:
    """List every call with those that it is an argument of, the outermost first."""
    if isinstance(node, str):
        return
    yield node, within
    for argument in [*node.arguments, *node.keywords.values()]:
        yield from calls(argument, (*within, node))


@cache
def paths(path: str) -> tuple[Series, ...]:
    """Return the series of the data set that a path selects."""
    if not re.match(r"[\w*?\[{]", path) or path.lower() in ("true", "false", "none"):
        return ()
    pattern = ""
    for index, piece in enumerate(re.split(r"\{([^{}]*)\}", path)):
        text = "|".join(fnmatch.translate(choice)[4:-3].replace(".*", "[^.]*") for choice in piece.split(","))
        pattern += f"(?:{text})" if index % 2 else fnmatch.translate(piece)[4:-3].replace(".*", "[^.]*")
    return tuple(series for series in dataset() if re.fullmatch(pattern, series.name) and ";" not in series.name)


def selected(node: Node) -> set[Series]:
    """Return all series of the data set that a target is made of."""
    if isinstance(node, str):
        return set(paths(node))
    if node.name == "seriesByTag":
        return {series for series in dataset() if ";" in series.name}
    found: set[Series] = set()
    for argument in node.series():
        found |= selected(argument)
    return found

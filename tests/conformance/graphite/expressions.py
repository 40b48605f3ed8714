"""The targets that are asked: a table that covers every function with every parameter, and nestings of it by chance."""

from __future__ import annotations

import random
import re
from functools import cache
from pathlib import Path
from typing import Any

# A path of the data set, or a call that selects by tags, as an argument: a nesting puts something else in its place.
SELECTOR = re.compile(
    r"(?<=[(,])(?:(?:ten|min|five)\.(?:[\w.*?\[\]]|\{[^}]*\})+|seriesByTag\((?:\"[^\"]*\",?)+\))(?=[),|])"
)

# What is put into others is kept from growing beyond these.
LONGEST = 400
DEEPEST = 3


@cache
def table() -> tuple[str, ...]:
    """Every target of the table."""
    lines = Path(__file__).with_name("expressions.txt").read_text().splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))


@cache
def alike() -> tuple[str, ...]:
    """Every target of the table that comes out alike each time and may be asked over any range: a part of others."""
    return tuple(target for target in table() if "randomWalk" not in target and "verticalLine" not in target)


def nested(chance: random.Random, depth: int = 0) -> str:
    """Make a target of the table's, one in the place of a path of another."""
    outer = chance.choice(alike())
    places = list(SELECTOR.finditer(outer))
    if not places or depth == DEEPEST or (depth > 0 and chance.random() < 0.4):
        return outer
    place = chance.choice(places)
    inner = nested(chance, depth + 1).strip()
    made = outer[: place.start()] + inner + outer[place.end() :]
    return made if len(made) <= LONGEST else outer


def uncovered(functions: dict[str, dict[str, Any]]) -> list[str]:
    """List the functions and the parameters of `/functions` that the table does not use."""
    calls: dict[str, list[str]] = {}
    for target in table():
        for name in re.findall(r"(\w+)\s*\(", target) + re.findall(r"\|(\w+)\(", target):
            calls.setdefault(name, []).append(target)
    missing = []
    for name, function in functions.items():
        if name not in calls:
            missing.append(name)
            continue
        for place, parameter in enumerate(function["params"]):
            given = any(_gives(target, name, str(parameter["name"]), place) for target in calls[name])
            if not given:
                missing.append(f"{name}({parameter['name']})")
    return missing


def _gives(target: str, function: str, parameter: str, place: int) -> bool:
    """Tell whether a call of the function in a target has an argument for a parameter."""
    for match in re.finditer(rf"(\|?)\b{function}\s*\(", target):
        arguments = _arguments(target[match.end() :])
        piped = place - 1 if match[1] else place
        if (
            (place == 0 and match[1])
            or piped < len(arguments)
            or any(text.startswith(f"{parameter}=") for text in arguments)
        ):
            return True
    return False


def _arguments(text: str) -> list[str]:
    """Split what follows the parenthesis of a call into its arguments."""
    arguments, start, depth, quote = [], 0, 0, ""
    for at, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "({":
            depth += 1
        elif character in ")}" and depth:
            depth -= 1
        elif character in ",)" and not depth:
            if text[start:at].strip():
                arguments.append(text[start:at].strip())
            start = at + 1
            if character == ")":
                break
    return arguments

"""Names, lines, pickles and rules from a seed: what clients send, what they should not, and what operators write."""

from __future__ import annotations

import pickle
import random
import struct
from typing import Any

PARTS = [
    "app",
    "db",
    "web",
    "www01",
    "www02",
    "prod",
    "dev",
    "cpu",
    "hits",
    "lat_ms",
    "x",
    "größe",
    "a-b",
    "50%",
    "sum",
]
TAGS = ["host", "dc", "env", "größe", "name", "z9", "A"]
VALUES = ["a", "b1", "eu-west", "ü", "x=y", "q.r", "c:\\d", "-", "1,2", "{", "a b"]
NUMBERS = ["0", "1", "-2.5", "1e3", ".5", "3.", "1_000", "+7", "inf", "nan", "1e400", "0x10", "", "one", "1__0", "12_"]
ENDS = ["", "", "", ".", "..", "_sum", "_avg"]

REWRITES = [
    "^prod\\.(\\w+) = live.\\1",
    "\\.www(?P<n>\\d\\d) = .web\\g<n>",
    "_sum$ =",
    "x* = -",
    "ö = oe",
    "^(.*)\\.cpu$ = \\1.processor",
    "a[-_]b = ab",
    "\\d{2} = N",
    "(?i)APP = application",
    "%|; = _",
]
AGGREGATIONS = [
    "all.<m> ({f}) = {method} *.*.<m>",
    "<env>.all.<rest> ({f}) = {method} <env>.*.<<rest>>",
    "total ({f}) = {method} prod.<a>.<b>",
    "web.<d>.<m> ({f}) = {method} <m>.<d>\\d{{2}}",
    "self.<m> ({f}) = {method} self.<m>",
    "any.<m>.{method} ({f}) = {method} a*.<m>",
    "<a> ({f}) = {method} <a>",
]
METHODS = ["sum", "avg", "min", "max", "p50", "p75", "p80", "p90", "p95", "p99", "p999", "count"]
LISTED = ["^dev\\.", "\\.\\.", "größe", "^x\\b", "host=a", "_avg$", "\\d$", "[^.]{9,}"]


class Generator:
    """Everything that one round sends, and the files that both sides read."""

    def __init__(self, seed: int, start: int) -> None:
        self.random = random.Random(seed)
        # Whole, long past, and within the finest tier.
        self.start = start
        # Whether there is anything that makes aggregates. Then names are good, and written in one way alone: those that
        # mean the same series are one aggregate here, and overwrite each other in carbon.
        self.aggregates = False

    def _some(self, items: list[str], most: int) -> list[str]:
        return self.random.sample(items, self.random.randint(0, most))

    def files(self) -> dict[str, str]:
        """Write carbon's four files."""
        rules = [
            rule.format(f=self.random.choice([1, 2, 5]), method=self.random.choice(METHODS))
            for rule in self.random.choices(AGGREGATIONS, k=self.random.randint(0, 4))
        ]
        self.aggregates = bool(rules)
        whitelist = [*self._some(PARTS[:6], 4), "^[a-z.]*$"] if self.random.random() < 0.3 else []
        return {
            "whitelist": "\n".join(["# a comment", *whitelist]) + "\n",
            "blacklist": "\n".join([*self._some(LISTED, 2), ""]) + "\n",
            "rewrite_rules": "\n".join(["[pre]", *self._some(REWRITES, 3), "[post]", *self._some(REWRITES, 2)]) + "\n",
            "aggregation_rules": "\n".join(["# a comment", *rules]) + "\n",
        }

    def name(self) -> str:
        """Make a name, mostly a good one."""
        chosen = self.random.random
        is_odd = not self.aggregates
        dot = ".." if is_odd and chosen() > 0.97 else "."
        ends = ENDS if is_odd else [end for end in ENDS if "." not in end]
        name = dot.join(self.random.choices(PARTS, k=self.random.randint(1, 4))) + self.random.choice(ends)
        if is_odd and chosen() < 0.05:
            name = self.random.choice([".", "~", "~~", "..", ""]) + name
        if chosen() < 0.2:
            pairs = [(self.random.choice(TAGS), self.random.choice(VALUES)) for _ in range(self.random.randint(1, 4))]
            if not is_odd:
                pairs = sorted((tag, value) for tag, value in dict(pairs).items() if tag != "name")
            name += "".join(f";{tag}={value}" for tag, value in pairs)
            if is_odd and chosen() < 0.1:
                name += self.random.choice([";", ";x", ";=v", ";t!=v", ";t=~v", ";t="])
        elif is_odd and chosen() < 0.2:
            # Of two braces carbon makes an error.
            pairs = [
                (tag, self.random.choice([value for value in VALUES if value != "{"])) for tag in self._some(TAGS, 3)
            ]
            labels = [f'{tag}="{self._quoted(value)}"' for tag, value in pairs]
            name += "{" + ",".join(labels) + self.random.choice(["", "", ","]) + "}"
        return name

    def _quoted(self, value: str) -> str:
        if self.random.random() < 0.2:
            value += '"'
        return value.replace("\\", "\\\\").replace('"', '\\"')

    def timestamp(self) -> int:
        """Make an instant among few, so that intervals have several points."""
        return self.start + self.random.randint(0, 20)

    def lines(self, count: int) -> list[bytes]:
        """Make lines, some of which are none."""
        return [self._line() for _ in range(count)]

    def _line(self) -> bytes:
        chosen = self.random.random()
        value = self.random.choice(NUMBERS) if chosen < 0.2 else str(round(self.random.uniform(-100, 100), 3))
        when = (
            self.random.choice(["-1", "-1.5", "now", "", f"{self.timestamp()}.75"])
            if chosen < 0.05
            else self.timestamp()
        )
        space = self.random.choice([" ", "  ", "\t", "\u00a0", "\x1f"]) if chosen < 0.1 else " "
        line = f"{self.name()}{space}{value} {when}" + self.random.choice(
            ["", "", "\r", " ", " more"][: 4 + (chosen < 0.3)]
        )
        encoded = line.encode()
        return encoded.replace(b"a", b"\xff", 1) if chosen > 0.99 else encoded

    def frames(self, count: int) -> list[bytes]:
        """Make pickles of every protocol, without the lengths before them."""
        return [self._frame(number % 6) for number in range(count)]

    def _frame(self, protocol: int) -> bytes:
        kinds = [float, int, str, lambda value: value > 0]
        shared = (self.timestamp(), 1.5)
        points: list[Any] = []
        for _ in range(self.random.randint(0, 30)):
            chosen = self.random.random()
            value = self.random.choice(kinds)(round(self.random.uniform(-100, 100), 3))
            when = self.random.choice([int, float, str])(self.timestamp())
            point = shared if chosen < 0.1 else (when, value) if chosen < 0.8 else [when, value]
            points.append((self.name(), point) if chosen < 0.9 else [self.name(), point])
            if chosen > 0.97:
                points.append(self.random.choice([None, 5, ("a",), ("a", 1, 2), ("a", (1, None)), ("a", (1, "one"))]))
        return pickle.dumps(points if self.random.random() < 0.9 else tuple(points), protocol=protocol)


def framed(frame: bytes) -> bytes:
    """Put the length before a pickle."""
    return struct.pack("!L", len(frame)) + frame

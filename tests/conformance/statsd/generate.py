"""Packets by chance, from a seed: everything that clients send, and everything that they should not.

A scenario is a case: its packets share a few names, so that samples of several packets meet in one series. Nothing is
generated that the servers are known to differ in; that is what the table of deviations has cases for.
"""

from __future__ import annotations

import random

from case import PLACE, Case

NAME_CHARACTERS = [*"abcdefghijklmnopqrstuvwxyzABCXYZ0123456789", *"_-...."]
ODD_CHARACTERS = [
    *" \t/$%()+*\"'\\&!?^~`{}<>@|=\x00\x7f",
    *"éüß日本😀\u00a0\u2003\u2028\ufeff\u0085\u200b",
]
BROKEN_BYTES = [b"\xff", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80"]

BAD_NUMBERS = [
    "",
    "NaN",
    "inf",
    "abc",
    "1,5",
    "--1",
    "1_000",
    "0x",
    "1e",
    "+",
    "-",
    ".",
    "1 2",
    "1.2.3",
    "é",
    "0xg",
    "1\x00",
]
BAD_RATES = ["", "@", "@x", "0.5", "@-0.5", "@0,1", "@NaN", "@0.5.5", "x", "@@1", "1"]
RATES = ["@1", "@0.5", "@0.1", "@.25", "@0.333", "@1.", "@0.01", "@0.5 ", "@0.9999", "@0.001"]
LONE_LINES = ["{n}", "{n}:", "{n}|c", "{n}:1", "{n}:|c", "{n}:1|c:", "{n}::", "{n}:||", "\r", " ", "{n}:x:y", "{n} 1 c"]


class Generator:
    """Makes scenarios; the same seed makes the same ones."""

    def __init__(self, seed: int, packets: int = 10) -> None:
        self._random = random.Random(seed)
        self._seed = seed
        self._packets = packets

    def scenarios(self, count: int) -> list[Case]:
        """So many scenarios."""
        return [self._scenario(index) for index in range(count)]

    def _scenario(self, index: int) -> Case:
        names = [self._name() for _ in range(self._random.randint(1, 5))]
        first = tuple(self._packet(names) for _ in range(self._packets))
        then = tuple(self._packet(names) for _ in range(self._random.randint(0, self._packets // 3)))
        return Case(f"seed {self._seed}, scenario {index}", first, then)

    def _packet(self, names: list[tuple[bytes, bytes]]) -> bytes:
        lines = [self._line(names) for _ in range(self._random.choice([1, 1, 1, 2, 3, 8]))]
        packet = b"\n".join(lines)
        return packet + self._random.choice([b"", b"", b"\n", b"\n\n"])

    def _line(self, names: list[tuple[bytes, bytes]]) -> bytes:
        roll = self._random.random()
        if roll < 0.04:
            return self._random.choice(LONE_LINES).encode()
        if roll < 0.06:
            return b""
        name, tags = self._random.choice(names)
        segments = [self._segment() for _ in range(self._random.choice([1, 1, 1, 1, 2, 3]))]
        line = name + b":" + b":".join(segments)
        if not tags and not line.endswith(b"|x") and self._random.random() < 0.05:
            # What has no type, at the end, is bad and nothing more.
            line += b":" + self._random.choice([b"", b"1", b"x", b"1:2"])
        elif not tags and not line.endswith((b"|s", b"@", b"-1|ms")) and self._random.random() < 0.08:
            line += b"\r"
        return line + tags

    def _name(self) -> tuple[bytes, bytes]:
        """Make a name, and what stands behind the values of its lines."""
        characters = [self._random.choice(NAME_CHARACTERS) for _ in range(self._random.randint(0, 12))]
        if self._random.random() < 0.4:
            for _ in range(self._random.randint(1, 4)):
                at = self._random.randint(0, len(characters))
                characters.insert(at, self._random.choice(ODD_CHARACTERS))
        name = "".join(characters).encode()
        if self._random.random() < 0.1:
            name += self._random.choice(BROKEN_BYTES)
        if name.endswith(b"|") and self._random.random() < 0.5:
            name += b"x"
        name = PLACE + b"." + name
        roll = self._random.random()
        if roll < 0.6:
            return name, b""
        tags = [self._tag(letter) for letter in sorted(self._random.sample("abcdefgh", self._random.randint(1, 4)))]
        if roll < 0.8:
            return name + "".join(f";{tag}={value}" for tag, value in tags).replace(":", "").encode(), b""
        return name, ("|#" + ",".join(f"{tag}:{value}" for tag, value in tags)).encode()

    def _tag(self, letter: str) -> tuple[str, str]:
        value = [self._random.choice("abcxyz019_-.") for _ in range(self._random.randint(1, 8))]
        if self._random.random() < 0.3:
            value.append(self._random.choice([" ", "/", "$", "é", "日本", "=", ":", "\t x", "%", "(", "😀"]))
        return letter + self._random.choice(["", "_x", "1"]), "v" + "".join(value)

    def _segment(self) -> bytes:
        kind = self._random.choice(["c", "c", "g", "ms", "ms", "s", "m"])
        rate = ""
        roll = self._random.random()
        if roll < 0.2:
            rate = "|" + self._random.choice(RATES) + self._random.choice(["", "", "", "|x"])
        elif roll < 0.24:
            rate = "|" + self._random.choice(BAD_RATES)
        if kind == "s":
            return f"{self._member()}|s{rate}".encode()
        roll = self._random.random()
        if roll < 0.06:
            number = self._random.choice(BAD_NUMBERS)
        elif kind == "ms":
            number = self._random.choice([self._number().lstrip("-"), self._number().lstrip("-"), "-1"])
        else:
            number = self._number()
            if kind == "g" and self._random.random() < 0.4 and number[0].isdigit():
                number = self._random.choice("+-") + number
        if kind in "cg" and self._random.random() < 0.05:
            kind = self._random.choice([f" {kind}", f"{kind} ", f"\t{kind}\t"])
        return f"{number}|{kind}{rate}".encode()

    def _member(self) -> str:
        return self._random.choice(
            ["", "a", "b", "A", "user one", "é", "日本", "0", "00", " ", "x" * 60, str(self._random.randint(0, 30))]
        )

    def _number(self) -> str:
        shape = self._random.randrange(12)
        if shape < 4:
            return str(self._random.randint(-5, 1000)).replace("-0x", "0x")
        if shape < 6:
            return f"{self._random.uniform(-10, 1000):.{self._random.randint(1, 12)}f}"
        return self._random.choice(
            [
                f"{self._random.randint(1, 99)}e{self._random.randint(-9, 9)}",
                hex(self._random.randint(0, 1 << 20)),
                bin(self._random.randint(0, 255)),
                oct(self._random.randint(0, 511)),
                f".{self._random.randint(0, 999)}",
                f"{self._random.randint(0, 999)}.",
                f" {self._random.randint(0, 99)}",
                f"{self._random.randint(0, 99)}\t",
                f"{self._random.randint(0, 999):07}",
                str(self._random.getrandbits(80)),
                " ",
                "0",
                "-0",
            ]
        )

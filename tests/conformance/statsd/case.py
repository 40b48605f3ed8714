"""What is sent to both servers, and how what comes of it is known among everything else that they flush."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# Stands in a packet for the case's own name, which the two servers know nothing else by.
PLACE = b"{n}"

# What the place becomes: unlike anything that a generated name has in it.
_OWN_NAME = re.compile(r"case(\d+)x")


@dataclass(frozen=True)
class Case:
    """Packets of one flush interval and of the next, which both servers take for the same."""

    title: str
    packets: tuple[bytes, ...]
    then: tuple[bytes, ...] = ()
    # Names of its series that its own name is not part of.
    claims: tuple[str, ...] = ()


@dataclass
class Numbered:
    """A case at one time of sending it, with the number that makes its names its own."""

    case: Case
    number: int
    bad_lines: int = 0
    wrong: list[str] = field(default_factory=list)

    def fill(self, packets: tuple[bytes, ...]) -> list[bytes]:
        """Return the packets with its own name in them."""
        return [packet.replace(PLACE, b"case%dx" % self.number) for packet in packets]


def packet(text: str | bytes) -> bytes:
    """Make a packet of its text."""
    return text.encode() if isinstance(text, str) else text


def case(title: str, *packets: str | bytes, then: tuple[str | bytes, ...] = (), claims: tuple[str, ...] = ()) -> Case:
    """Make a case of texts."""
    return Case(title, tuple(map(packet, packets)), tuple(map(packet, then)), claims)


def owner(series: str, claims: dict[str, int]) -> int | None:
    """Find the number of the case that a series belongs to; None for the server's own."""
    if match := _OWN_NAME.search(series):
        return int(match[1])
    for claim, number in claims.items():
        if re.search(rf"(^|\.){re.escape(claim)}(?=[.;]|$)", series):
            return number
    return None

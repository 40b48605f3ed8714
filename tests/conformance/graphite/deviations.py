"""What the default mode answers otherwise than graphite-web on purpose: the rows of docs/graphite.md by what asks for them."""

from __future__ import annotations


def deviation(target: str, parameters: list[tuple[str, str]], body: str) -> str | None:
    """Name the row of the table that explains a difference, if there is one."""
    return None

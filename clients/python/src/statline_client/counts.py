"""What became of the lines: the client's own account, since a lost line should be a counted line.

What the network or the server's kernel loses cannot be seen from here and is not in these numbers.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Literal

logger = logging.getLogger("statline_client")

DropReason = Literal["invalid_name", "invalid_value", "line_too_long", "buffer_full", "send_failed", "closed"]
"""Why lines were dropped.

``invalid_name``: the stat's name holds a line break, ``:`` or ``|``, or is not text that UTF-8 can carry.
``invalid_value``: the same of a value, which only a set can bring about.
``line_too_long``: the line alone is larger than a packet may be.
``buffer_full``: the server could not be resolved or written to for so long that the oldest lines had to go.
``send_failed``: the socket refused the packet, twice.
``closed``: the client was closed before the line could be sent.
"""


@dataclass
class ClientCounts:
    """Running totals since the client was made."""

    lines_sent: int = 0
    packets_sent: int = 0
    bytes_sent: int = 0
    connects: int = 0
    """Sockets opened and put into use: 1 after a quiet start, more when the address changed or the socket failed."""
    resolve_failures: int = 0
    socket_errors: int = 0
    """Errors that the socket reported, such as a refused port. Each stands for at least one lost packet."""
    dropped: dict[DropReason, int] = field(default_factory=dict)
    """Lines dropped, by reason. A reason that never occurred is not in it."""

    def drop(self, reason: DropReason, lines: int, detail: str) -> None:
        """Count ``lines`` as dropped; the first of each reason is logged, with its detail."""
        first = reason not in self.dropped
        self.dropped[reason] = self.dropped.get(reason, 0) + lines
        if first:
            logger.warning(
                "dropped a stat: reason=%s %s (further drops for this reason are only counted)", reason, detail
            )

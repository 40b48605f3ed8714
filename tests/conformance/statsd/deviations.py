"""Where statlined means something else than etsy's server, on purpose.

`DEVIATIONS` is the table of docs/statsd.md, row by row, and the test fails when they are not the same. Each row is
proved: by a case here, which has to come out in both servers exactly as it says, or by a trial of its own in trials.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from case import Case, case
from etsy import Value

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = ROOT / "docs" / "statsd.md"
HEADING = "## Where it differs from etsy's on purpose"

# The row: what, etsy's, Statline's.
DEVIATIONS = [
    ("an unknown type", "a counter", "refused"),
    ("histograms `h` and distributions `d`", "counters", "timers, below 0 too"),
    ("a rate of 0, of infinity, above 1 or with a plus", "infinite or halved counts, or a crash", "refused"),
    ("a rate with an exponent or in hexadecimal", "the digits before the letter", "the number"),
    ("an infinite value", "taken", "refused"),
    ("a sum past the range of a double", "infinite", "the largest double"),
    (r"`a:1:2:3\|ms`", "two bad lines and the sample 3", "three samples"),
    ("tags in two styles, or a tag twice, in a line", "whatever comes of it", "refused"),
    ("a tag without a value, `#x`", "the text `x`", "`x=true`"),
    ("an empty tag, or one with an empty value", "kept", "dropped"),
    ("a tag without a name", "kept", "refused"),
    ("the order of tags", "kept", "sorted, so that equal tags are one series"),
    (
        "what follows the tags: a rate, a container, more",
        "part of the last tag",
        "the rate counts, the rest is read or ignored",
    ),
    (r"DogStatsD's parts without tags: `\|c:`, `\|e:`, `\|card:`", "bad lines", "read or ignored"),
    (r"a part behind the type that nobody knows, `\|x:y`", "bad lines", "passed over"),
    ("events `_e{…}` and service checks `_sc`", "bad lines", "stored"),
    ("a carriage return at the end", "part of a type, a rate or a tag", "dropped"),
    ("white space around a type", "its values are not looked at as that type's", "ignored"),
    ("names such as `__proto__`", "misbehave, or a crash", "are names"),
    ("a set's member `__proto__`", "not counted", "counted"),
    ("a set's members that are not UTF-8", "one member", "as many as there are different ones"),
    ("what is beyond a limit on names, tags or members", "taken", "refused, and counted apart from bad lines"),
    ("a percent threshold below 0 that covers all samples", "no numbers", "their numbers"),
    ("an idle counter with `packets_received` in its name", "never deleted", "deleted as others are"),
    ("a series that is idle for longer than `idle_expiry`", "repeated for ever", "forgotten"),
    ("a line of which no value is taken, for `key_flush`", "counted", "not counted"),
    ("the flush", "by a timer from its start", "at the wall clock's multiples"),
    (
        "what the kernel dropped",
        "unknown",
        "counted: `statline_statsd_kernel_drops_total`, `stats_counts.statsd.kernel_drops`",
    ),
    (
        "a line at the end of a TCP connection without a newline",
        "lost",
        "taken, when it was the client that ended the connection",
    ),
    ("a line of a TCP connection that never ends", "kept in memory", "refused beyond `statsd.max_packet_bytes`"),
    (
        "the console",
        "on every address, names in the order they came",
        "on loopback, names sorted; `sets`, `delsets`, `refusals` and `offenders` besides",
    ),
    ("the repeater", "UDP to one family, set for all targets", "IPv4 or IPv6 as each target's address is"),
]

# Rows that no packet proves, and where they are proved.
PROVED_IN = {
    "a line of which no value is taken, for `key_flush`": "tests/conformance/statsd/trials.py",
    "a line at the end of a TCP connection without a newline": "tests/conformance/statsd/trials.py",
    "a line of a TCP connection that never ends": "tests/conformance/statsd/trials.py",
    "the flush": "tests/conformance/statsd/trials.py",
    "what the kernel dropped": "tests/conformance/statsd/trials.py",
    "the console": "tests/console.rs",
    "the repeater": "sidecar/src/repeater/tests.rs",
}

# What a case is told by, of all that a flush emits.
TELLING = re.compile(r"^(stats_counts|stats\.gauges|stats\.sets)\.|^stats\.timers\..*\.(count|sum|sum_top100)(?=;|$)")

Outcome = Mapping[str, Value]

COUNT, GAUGE, SET, TIMER = "stats_counts.n", "stats.gauges.n", "stats.sets.n.count", "stats.timers.n"


@dataclass(frozen=True)
class Deviating:
    """A case, and what each server makes of it. `None` for a server that the case ends."""

    what: str
    case: Case
    etsy: Outcome | None
    ours: Outcome
    etsy_bad: int
    ours_bad: int
    config: tuple[tuple[str, Any], ...] = ()
    toml: str = ""
    # After how many idle flushes the two differ.
    idle_flushes: int = 0


def deviating(
    what: str,
    packet: str | bytes,
    etsy: Outcome | None,
    ours: Outcome,
    bad: tuple[int, int],
    claims: tuple[str, ...] = (),
) -> Deviating:
    """Make a deviation of one packet; `bad` is how many bad lines each server counts in it."""
    shown = packet if isinstance(packet, str) else packet.decode(errors="backslashreplace")
    return Deviating(what, case(f"{what}: {shown[:60]!r}", packet, claims=claims), etsy, ours, *bad)


def timer(count: float, total: float, tags: str = "") -> dict[str, Value]:
    """Write a timer of so many samples."""
    return {f"{TIMER}.count{tags}": count, f"{TIMER}.sum{tags}": total}


def _unknown_types() -> list[Deviating]:
    what = "an unknown type"
    return [deviating(what, f"{{n}}:2|{name}", {COUNT: 2}, {}, (0, 1)) for name in ("zz", "", "C", "gs", "counter")]


def _distributions() -> list[Deviating]:
    what = "histograms `h` and distributions `d`"
    return [
        *[deviating(what, f"{{n}}:2|{kind}", {COUNT: 2}, timer(1, 2), (0, 0)) for kind in "hd"],
        *[deviating(what, f"{{n}}:-2|{kind}|@0.5", {COUNT: -4}, timer(2, -2), (0, 0)) for kind in "hd"],
    ]


def _rates() -> list[Deviating]:
    out, infinite = "a rate of 0, of infinity, above 1 or with a plus", float("inf")
    form = "a rate with an exponent or in hexadecimal"
    return [
        deviating(out, "{n}:1|c|@0", {COUNT: infinite}, {}, (0, 1)),
        deviating(out, "{n}:1|ms|@0", timer(infinite, 1), {}, (0, 1)),
        deviating(out, "{n}:1|c|@0.0", {COUNT: infinite}, {}, (0, 1)),
        deviating(out, "{n}:1|c|@2", {COUNT: 0.5}, {}, (0, 1)),
        deviating(out, "{n}:1|ms|@4", timer(0.25, 1), {}, (0, 1)),
        deviating(out, "{n}:1|g|@0", {GAUGE: 1}, {}, (0, 1)),
        deviating(out, "{n}:1|c|@1e400", {COUNT: 1}, {}, (0, 1)),
        deviating(out, "{n}:1|c|@Infinity", None, {}, (0, 1)),
        deviating(out, "{n}:1|c|@+0.5", None, {}, (0, 1)),
        deviating(form, "{n}:1|c|@1e-1", {COUNT: 1}, {COUNT: 10}, (0, 0)),
        deviating(form, "{n}:1|ms|@5e-1", timer(0.2, 1), timer(2, 1), (0, 0)),
        deviating(form, "{n}:1|c|@0x1", {COUNT: infinite}, {COUNT: 1}, (0, 0)),
    ]


def _values() -> list[Deviating]:
    infinite, past, packed = "an infinite value", "a sum past the range of a double", r"`a:1:2:3\|ms`"
    inf = float("inf")
    return [
        deviating(infinite, "{n}:Infinity|g", {GAUGE: inf}, {}, (0, 1)),
        deviating(infinite, "{n}:-Infinity|g", {GAUGE: -inf}, {}, (0, 1)),
        deviating(infinite, "{n}:1e400|c", {COUNT: inf}, {}, (0, 1)),
        deviating(infinite, "{n}:+Infinity|ms", timer(1, inf), {}, (0, 1)),
        deviating(past, "{n}:1e308|c:1e308|c", {COUNT: inf}, {COUNT: 1.7976931348623157e308}, (0, 0)),
        deviating(past, "{n}:1e308|g:+1e308|g", {GAUGE: inf}, {GAUGE: 1.7976931348623157e308}, (0, 0)),
        deviating(packed, "{n}:1:2:3|ms", timer(1, 3), timer(3, 6), (2, 0)),
        deviating(packed, "{n}:1:2|c|@0.5", {COUNT: 4}, {COUNT: 6}, (1, 0)),
        deviating(packed, "{n}:1:x:3|ms", timer(1, 3), timer(2, 4), (2, 1)),
        deviating(packed, "{n}:1:2|h|#a:b", {f"{COUNT};a=b": 2}, timer(2, 3, ";a=b"), (1, 0)),
        deviating(packed, "{n}:5:+1|g", {GAUGE: 1}, {GAUGE: 6}, (1, 0)),
    ]


def _tags() -> list[Deviating]:
    two, valueless = "tags in two styles, or a tag twice, in a line", "a tag without a value, `#x`"
    empty, nameless = "an empty tag, or one with an empty value", "a tag without a name"
    order, more = "the order of tags", "what follows the tags: a rate, a container, more"
    return [
        deviating(two, "{n};a=1:1|c|#b:2", {f"{COUNT};a=1;b=2": 1}, {}, (0, 1)),
        deviating(two, "{n}:1|c|#a:1,a:2", {f"{COUNT};a=1;a=2": 1}, {}, (0, 1)),
        deviating(two, "{n};a=1;a=1:1|c", {f"{COUNT};a=1;a=1": 1}, {}, (0, 1)),
        deviating(valueless, "{n}:1|c|#urgent", {f"{COUNT};urgent": 1}, {f"{COUNT};urgent=true": 1}, (0, 0)),
        deviating(valueless, "{n};urgent:1|c", {f"{COUNT};urgent": 1}, {f"{COUNT};urgent=true": 1}, (0, 0)),
        deviating(empty, "{n}:1|c|#a:1,,b:2", {f"{COUNT};a=1;;b=2": 1}, {f"{COUNT};a=1;b=2": 1}, (0, 0)),
        deviating(empty, "{n}:1|c|#,", {f"{COUNT};;": 1}, {COUNT: 1}, (0, 0)),
        deviating(empty, "{n}:1|c|#env:", {f"{COUNT};env=": 1}, {COUNT: 1}, (0, 0)),
        deviating(empty, "{n};:1|c", {f"{COUNT};": 1}, {COUNT: 1}, (0, 0)),
        deviating(nameless, "{n}:1|c|#:x", {f"{COUNT};=x": 1}, {}, (0, 1)),
        deviating(nameless, "{n};=1:1|c", {f"{COUNT};=1": 1}, {}, (0, 1)),
        deviating(order, "{n}:1|c|#z:1,b:2", {f"{COUNT};z=1;b=2": 1}, {f"{COUNT};b=2;z=1": 1}, (0, 0)),
        deviating(order, "{n};z=1;b=2:3|ms", timer(1, 3, ";z=1;b=2"), timer(1, 3, ";b=2;z=1"), (0, 0)),
        deviating(more, "{n}:1|c|#t:v|@0.5", {f"{COUNT};t=v0.5": 1}, {f"{COUNT};t=v": 2}, (0, 0)),
        deviating(more, "{n}:1|c|#t:v|c:ci-1", {f"{COUNT};t=vcci-1": 1}, {f"{COUNT};t=v": 1}, (0, 0)),
        deviating(more, "{n}:1|c|#t:v|e:it-false", {f"{COUNT};t=veit-false": 1}, {f"{COUNT};t=v": 1}, (0, 0)),
        deviating(more, "{n}:1|c|#t:v|card:low", {f"{COUNT};t=vcardlow": 1}, {f"{COUNT};t=v": 1}, (0, 0)),
        deviating(more, "{n}:1|c|#t:v|x", {f"{COUNT};t=vx": 1}, {f"{COUNT};t=v": 1}, (0, 0)),
    ]


def _dogstatsd() -> list[Deviating]:
    unknown = r"a part behind the type that nobody knows, `\|x:y`"
    parts = r"DogStatsD's parts without tags: `\|c:`, `\|e:`, `\|card:`"
    stored = "events `_e{…}` and service checks `_sc`"
    return [
        *[
            deviating(parts, f"{{n}}:3|c|{part}", {}, {COUNT: 3}, (2, 0))
            for part in ("c:ci-0123", "c:in-4026531", "e:it-false,cn-web", "card:low")
        ],
        deviating(parts, "{n}:3|c|@0.5|c:ci-1", {COUNT: 6}, {COUNT: 6}, (1, 0)),
        deviating(parts, "{n}:3:4|ms|@0.5|#a:b|c:ci-1", timer(2, 4, ";a=bcci-1"), timer(4, 7, ";a=b"), (1, 0)),
        deviating(unknown, "{n}:3|g|new:part", {}, {GAUGE: 3}, (2, 0)),
        deviating(unknown, "{n}:3|c|@0.5|new:part", {COUNT: 6}, {COUNT: 6}, (1, 0)),
        deviating(stored, "_e{5,4}:title|text", {}, {}, (1, 0)),
        deviating(stored, "_e{5,4}:title|text|t:warning|#a:b", {}, {}, (2, 0)),
        deviating(stored, "_sc|{n}|2", {}, {GAUGE: 2}, (1, 0)),
        deviating(stored, "_sc|{n}|0|#a:b|m:fine", {}, {f"{GAUGE};a=b": 0}, (1, 0)),
    ]


def _white_space() -> list[Deviating]:
    end, around = "a carriage return at the end", "white space around a type"
    return [
        deviating(end, "{n}:x|s\r", {}, {SET: 1}, (1, 0)),
        deviating(end, "{n}:-1|ms\r", timer(1, -1), {}, (0, 1)),
        deviating(end, "{n}:1|c|#a:b\r", {f"{COUNT};a=b_": 1}, {f"{COUNT};a=b": 1}, (0, 0)),
        deviating(end, "{n}:1|c|@\r", None, {}, (0, 1)),
        deviating(around, "{n}:x| s", {}, {SET: 1}, (1, 0)),
        deviating(around, "{n}:-1| ms", timer(1, -1), {}, (0, 1)),
    ]


def _javascript() -> list[Deviating]:
    names, member = "names such as `__proto__`", "a set's member `__proto__`"
    return [
        deviating(names, "__proto__:1|c", {}, {"stats_counts.__proto__": 1}, (0, 0), ("__proto__",)),
        deviating(
            names,
            "constructor:1|c",
            {"stats_counts.constructor": "function Object() { [native code] }1"},
            {"stats_counts.constructor": 1},
            (0, 0),
            ("constructor",),
        ),
        deviating(
            names,
            "toString:1|ms",
            None,
            {"stats.timers.toString.count": 1, "stats.timers.toString.sum": 1},
            (0, 0),
            ("toString",),
        ),
        deviating(names, "valueOf:1|s", None, {"stats.sets.valueOf.count": 1}, (0, 0), ("valueOf",)),
        deviating(member, "{n}:__proto__|s", {SET: 0}, {SET: 1}, (0, 0)),
        deviating("a set's members that are not UTF-8", b"{n}:\xff|s:\xfe|s", {SET: 1}, {SET: 2}, (0, 0)),
    ]


def _limits() -> list[Deviating]:
    what = "what is beyond a limit on names, tags or members"
    tags = ",".join(f"t{index:02}:v" for index in range(33))
    kept = f"{COUNT};{tags}".replace(":", "=").replace(",", ";")
    return [
        deviating(what, "{n}." + "n" * 1100 + ":1|c", {f"{COUNT}." + "n" * 1100: 1}, {}, (0, 0)),
        deviating(what, f"{{n}}:1|c|#{tags}", {kept: 1}, {}, (0, 0)),
        deviating(what, "{n}:" + "m" * 300 + "|s", {SET: 1}, {}, (0, 0)),
    ]


def _thresholds() -> list[Deviating]:
    what = "a percent threshold below 0 that covers all samples"
    return [
        Deviating(
            what,
            case(f"{what}: two samples", "{n}:1|ms:2|ms"),
            {**timer(2, 3), f"{TIMER}.sum_top100": float("nan")},
            {**timer(2, 3), f"{TIMER}.sum_top100": 3},
            0,
            0,
            (("percentThreshold", (-100,)),),
            "percent_thresholds = [-100]",
        )
    ]


def _idle_counters() -> list[Deviating]:
    what = "an idle counter with `packets_received` in its name"
    return [
        Deviating(
            what,
            case(f"{what}: an idle flush", "{n}:1|c", "{n}.my_packets_received:1|c"),
            {f"{COUNT}.my_packets_received": 0},
            {},
            0,
            0,
            (("deleteIdleStats", True),),
            "delete_idle = true",
            idle_flushes=1,
        )
    ]


def _idle_series() -> list[Deviating]:
    what = "a series that is idle for longer than `idle_expiry`"
    packets = ("{n}:1|c", "{n}:2|g", "{n}:3|ms", "{n}:x|s")
    etsy = {COUNT: 0, GAUGE: 2, SET: 0, f"{TIMER}.count": 0}
    toml = 'idle_expiry = "2s"'
    # What is idle is looked for every 32 flushes.
    return [Deviating(what, case(f"{what}: one of each type", *packets), etsy, {}, 0, 0, (), toml, idle_flushes=34)]


DEVIATING: list[Deviating] = [
    *_unknown_types(),
    *_distributions(),
    *_rates(),
    *_values(),
    *_tags(),
    *_dogstatsd(),
    *_white_space(),
    *_javascript(),
    *_limits(),
    *_thresholds(),
    *_idle_counters(),
    *_idle_series(),
]


def documented() -> list[tuple[str, ...]]:
    """Read the rows of the table in the documentation."""
    section = DOCUMENT.read_text().split(HEADING, 1)[-1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    return [tuple(re.split(r"(?<!\\)\|", row.strip()[1:-1])) for row in rows[2:]]


def table_is_wrong() -> list[str]:
    """How the table of the documentation, the one above and the cases disagree."""
    in_document = [tuple(cell.strip() for cell in row) for row in documented()]
    wrong = [f"docs/statsd.md does not say: | {' | '.join(row)} |" for row in DEVIATIONS if row not in in_document]
    wrong += [
        f"docs/statsd.md says and nothing proves: | {' | '.join(row)} |" for row in in_document if row not in DEVIATIONS
    ]
    proved = {deviation.what for deviation in DEVIATING} | PROVED_IN.keys()
    named = {row[0] for row in DEVIATIONS}
    wrong += [f"no case proves the deviation {what!r}" for what in sorted(named - proved)]
    wrong += [
        f"{path} is missing, which proves {what!r}" for what, path in PROVED_IN.items() if not (ROOT / path).is_file()
    ]
    wrong += [f"a case proves {what!r}, which is not in the table" for what in sorted(proved - named)]
    return wrong

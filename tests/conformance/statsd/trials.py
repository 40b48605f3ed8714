"""The deviations proved: each case comes out in both servers as the table says; what is no packet has its own trial."""

from __future__ import annotations

import itertools
import math
import re
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batch import shown
from case import Numbered, owner
from cases import COUNTERS, GAUGES, NAMES, NUMBERS, SETS
from common.program import ConformanceError, wait_until
from common.statlined import Statlined, configuration
from compare import Tally, is_equal
from deviations import DEVIATING, TELLING, Deviating
from etsy import Etsy, Value
from pair import ATTEMPTS, Exchange, MissedIntervalError, Pair, Setup, packets_received

# How many packets are sent to servers that are held still, and how long each is: more than their sockets can hold.
FLOOD_PACKETS = 4000
FLOOD_BYTES = 200

# Numbers of cases that are sent again.
_LATER_NUMBERS = itertools.count(100_000)


def deviating_cases(directory: Path) -> Tally:
    """Every case of the table, through servers of the configuration that it needs."""
    tally = Tally()
    for index, setup in enumerate(dict.fromkeys(map(_setup, DEVIATING))):
        alike = [one for one in DEVIATING if _setup(one) == setup]
        keys, toml, _ = setup
        config = {key: list(value) if isinstance(value, tuple) else value for key, value in keys}
        with Pair(directory / f"deviating-{index}", Setup(config, toml)) as pair:
            pair.warm_up()
            tally.add(_prove(pair, [one for one in alike if one.etsy is not None]))
    for index, one in enumerate(one for one in DEVIATING if one.etsy is None):
        tally.add(_prove_crash(directory / f"crash-{index}", one))
    return tally


def _setup(one: Deviating) -> tuple[tuple[tuple[str, Any], ...], str, int]:
    """Tell what the servers of a case have to be like, by which cases are sent together."""
    return one.config, one.toml, one.idle_flushes


def _prove(pair: Pair, cases: list[Deviating]) -> Tally:
    last: MissedIntervalError | None = None
    for attempt in range(ATTEMPTS):
        numbered = [Numbered(one.case, attempt * 1000 + index) for index, one in enumerate(cases)]
        packets = [packet for one in numbered for packet in one.fill(one.case.packets)]
        try:
            exchange = pair.exchange(packets)
            for _ in range(cases[0].idle_flushes):
                exchange = pair.exchange([])
        except MissedIntervalError as missed:
            last = missed
            continue
        return _judge(cases, numbered, exchange, len(packets), pair)
    raise ConformanceError(f"no interval held all packets in {ATTEMPTS} attempts: {last}")


def _judge(cases: list[Deviating], numbered: list[Numbered], exchange: Exchange, packets: int, pair: Pair) -> Tally:
    tally = Tally(cases=len(cases), packets=packets)
    claims = {claim: one.number for one in numbered for claim in one.case.claims}
    etsy = _telling(exchange.etsy.values, numbered, claims)
    ours = _telling(exchange.ours, numbered, claims)
    for deviation, one in zip(cases, numbered, strict=True):
        wrong = _unlike("etsy's", deviation.etsy or {}, etsy[one.number])
        wrong += _unlike("statlined's", deviation.ours, ours[one.number])
        tally.deviating += not wrong
        if wrong:
            tally.wrong.append("\n    ".join([f"{deviation.case.title}: {shown(deviation.case)}", *wrong]))
    for is_etsy, counted, expected in (
        (True, exchange.etsy.values, sum(one.etsy_bad for one in cases)),
        (False, exchange.ours, sum(one.ours_bad for one in cases)),
    ):
        if counted.get("stats_counts.statsd.bad_lines_seen") != expected:
            tally.wrong += _miscounted(cases, pair, is_etsy)
    return tally


def _miscounted(cases: list[Deviating], pair: Pair, is_etsy: bool) -> list[str]:
    """Find the cases of which a server counts other bad lines than the table says, by halving."""
    numbers = [Numbered(one.case, next(_LATER_NUMBERS)) for one in cases]
    try:
        exchange = pair.exchange([packet for one in numbers for packet in one.fill(one.case.packets)])
    except MissedIntervalError as missed:
        return [f"{missed}, and which cases are counted otherwise is not known"]
    counted: Mapping[str, Value] = exchange.etsy.values if is_etsy else exchange.ours
    bad_lines = counted.get("stats_counts.statsd.bad_lines_seen")
    expected = sum(one.etsy_bad if is_etsy else one.ours_bad for one in cases)
    if bad_lines == expected:
        return []
    if len(cases) == 1:
        server = "etsy's" if is_etsy else "statlined's"
        return [f"{cases[0].case.title}: {server} bad_lines_seen is {bad_lines}, the table says {expected}"]
    middle = len(cases) // 2
    return _miscounted(cases[:middle], pair, is_etsy) + _miscounted(cases[middle:], pair, is_etsy)


def _telling(
    flushed: Mapping[str, Value], numbered: list[Numbered], claims: dict[str, int]
) -> dict[int, dict[str, Value]]:
    told: dict[int, dict[str, Value]] = {one.number: {} for one in numbered}
    for series, value in flushed.items():
        number = owner(series, claims)
        if number in told and TELLING.search(series):
            told[number][series.replace(f"case{number}x", "n")] = value
    return told


def _unlike(whose: str, expected: Mapping[str, Value], found: Mapping[str, Value]) -> list[str]:
    def alike(left: Value, right: Value) -> bool:
        both_nan = isinstance(left, float) and isinstance(right, float) and math.isnan(left) and math.isnan(right)
        return both_nan or is_equal(left, right)

    if expected.keys() == found.keys() and all(alike(expected[name], found[name]) for name in expected):
        return []
    return [f"{whose} flush has {dict(found)}, the table says {dict(expected)}"]


def _prove_crash(directory: Path, deviation: Deviating) -> Tally:
    """Send a packet that ends etsy's process and is nothing special to ours."""
    tally = Tally(cases=1, packets=1)
    numbered = Numbered(deviation.case, 1)
    with Pair(directory, Setup()) as pair:
        packet = numbered.fill(deviation.case.packets)[0]
        before = pair.statlined.next_flush()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for port in (pair.etsy.port, pair.statlined.statsd[1]):
                sender.sendto(packet, ("127.0.0.1", port))
        try:
            status = wait_until("etsy's server ending", lambda: pair.etsy.program.status)
        except ConformanceError:
            status = 0
        flushed = pair.statlined.flush_at(before + 1, 1)
        told = _telling(flushed, [numbered], dict.fromkeys(deviation.case.claims, 1))[1]
        wrong = [] if status else ["etsy's server goes on, the table says that it crashes"]
        wrong += _unlike("statlined's", deviation.ours, told)
        bad_lines = flushed.get("stats_counts.statsd.bad_lines_seen")
        if bad_lines != deviation.ours_bad:
            wrong.append(f"statlined's bad_lines_seen is {bad_lines}, the table says {deviation.ours_bad}")
        tally.deviating += not wrong
        if wrong:
            tally.wrong.append("\n    ".join([deviation.case.title, *wrong]))
    return tally


def flush_instants() -> Tally:
    """Servers that start at an odd second and flush every two: etsy's at odd seconds, ours at even ones."""
    tally = Tally(cases=1)
    with tempfile.TemporaryDirectory() as scratch:
        for attempt in range(ATTEMPTS):
            time.sleep((1 - time.time()) % 2)
            etsy = Etsy(Path(scratch) / f"etsy-{attempt}", {}, 2)
            statlined = Statlined(Path(scratch) / f"ours-{attempt}", configuration("", 2))
            try:
                ours = statlined.next_flush()
                theirs = wait_until("etsy's flush", lambda sink=etsy.sink: sink.last or None)
            finally:
                etsy.stop()
                statlined.stop()
            if ours % 2:
                tally.wrong.append(f"the flush: statlined's, every 2 s, was at {ours}, which is no multiple")
                return tally
            # Its start is rounded to the nearest second, which may be the next one on a slow machine.
            if theirs % 2:
                tally.deviating += 1
                return tally
    tally.wrong.append("the flush: etsy's is at multiples of the interval, the table says from its start")
    return tally


def kernel_drops() -> Tally:
    """More packets than the sockets hold, to servers that are held still: ours tells every packet that was lost."""
    tally = Tally(cases=1, packets=FLOOD_PACKETS)
    with tempfile.TemporaryDirectory() as scratch, Pair(Path(scratch), Setup({}, "receive_buffer = 65_536")) as pair:
        pair.warm_up()
        at = pair.statlined.next_flush()
        programs = [pair.etsy.program, pair.statlined.program]
        packet = b"flood:1|c\n" * (FLOOD_BYTES // 10)
        for program in programs:
            program.pause()
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for _ in range(FLOOD_PACKETS):
                    for port in (pair.etsy.port, pair.statlined.statsd[1]):
                        sender.sendto(packet, ("127.0.0.1", port))
        finally:
            for program in programs:
                program.resume()
        # Which flush it is in is no matter: they are added up over a few.
        etsy = ours = drops = 0.0
        for flush in range(at + 1, at + 4):
            theirs = pair.etsy.flush_at(flush)
            etsy += packets_received(theirs.values)
            flushed = pair.statlined.flush_at(flush, 1)
            ours += packets_received(flushed)
            drops += flushed.get("stats_counts.statsd.kernel_drops", 0.0)
            if any("drop" in name for name in theirs.values):
                tally.wrong.append("what the kernel dropped: etsy's server tells it, the table says that it does not")
    if not etsy < FLOOD_PACKETS or not drops:
        tally.wrong.append(
            f"what the kernel dropped: nothing; etsy's received {etsy}, statlined {ours} of {FLOOD_PACKETS}"
        )
    if ours + drops != FLOOD_PACKETS:
        tally.wrong.append(f"what the kernel dropped: {ours} received and {drops} told of {FLOOD_PACKETS} sent")
    tally.deviating += not tally.wrong
    return tally


# Longer than a line over TCP may be by default.
ENDLESS_BYTES = 100_000


def tcp_framing() -> Tally:
    """Send over TCP: a line in pieces, one without an end, and one that is longer than ours takes."""
    tally = Tally(cases=3)
    with tempfile.TemporaryDirectory() as scratch:
        etsy = Etsy(Path(scratch) / "etsy", {}, 1, server="tcp")
        try:
            statlined = Statlined(Path(scratch) / "ours", configuration("", 1))
            try:
                for address in (("127.0.0.1", etsy.port), statlined.addresses["statsd_tcp"]):
                    _say(address, [b"pie", b"ces:1", b"|c\npieces:2|c\n"])
                    _say(address, [b"ended:1|c\nunended:1|c"])
                    _say(address, [b"n" * ENDLESS_BYTES, b":1|c\n"])
                until = int(time.time()) + 2
                theirs = {name for at in range(until - 2, until + 1) for name in etsy.flush_at(at).values}
                statlined.await_flush(until)
                ours = set(statlined.render("seriesByTag('name=~stats_counts[.].*')", until - 10, until))
            finally:
                statlined.stop()
        finally:
            etsy.stop()
    names = {
        "pieces": (True, True),
        "ended": (True, True),
        "unended": (False, True),
        "n" * ENDLESS_BYTES: (True, False),
    }
    for name, expected in names.items():
        found = (f"stats_counts.{name}" in theirs, f"stats_counts.{name}" in ours)
        if found != expected:
            tally.wrong.append(
                f"over TCP, {name[:20]!r} is in etsy's and in statlined's flush: {found}, not {expected}"
            )
    tally.deviating += 2 * (not tally.wrong)
    return tally


def _say(address: tuple[str, int], pieces: list[bytes]) -> None:
    """Send pieces over a connection, each read by itself as far as a sender can have it, and end it."""
    with socket.create_connection(address) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.02)


_KEY_LINE = re.compile(r"count=(\d+) key=(.*)$")


def frequent_keys() -> Tally:
    """Let both log their most frequent keys, and compare how often each was counted."""
    tally = Tally()
    setup = Setup(
        {"keyFlush": {"interval": 2000, "percent": 100, "log": "keys.log"}},
        'key_flush = { interval = "2s", percent = 100.0, log = "keys.log" }',
    )
    good = [*COUNTERS, *GAUGES, *SETS, *NUMBERS, *NAMES]
    packets = [packet for number, one in enumerate(good) for packet in Numbered(one, number).fill(one.packets)]
    with tempfile.TemporaryDirectory() as scratch, Pair(Path(scratch), setup) as pair:
        pair.warm_up()
        pair.send([*packets, b"only.bad:x|c", b"last:1|c"])

        def counts(server: str) -> Counter[str]:
            path = Path(scratch) / server / "keys.log"
            lines = path.read_text().splitlines() if path.is_file() else []
            found: Counter[str] = Counter()
            for match in filter(None, map(_KEY_LINE.search, lines)):
                found[match[2]] += int(match[1])
            return found

        # They log at instants of their own, and the last key in one may be in the next.
        etsy = wait_until("etsy's log of keys", lambda: found if "last" in (found := counts("etsy")) else None)
        ours = wait_until("statlined's log of keys", lambda: found if "last" in (found := counts("ours")) else None)
    tally.cases, tally.packets = len(good), len(packets) + 2
    if etsy.pop("only.bad", 0) != 1 or "only.bad" in ours:
        tally.wrong.append(
            "a line of which no value is taken: etsy's counts its name, and statlined does not, says the table"
        )
    for key in sorted(etsy.keys() | ours.keys()):
        if etsy[key] == ours[key]:
            tally.values += 1
        else:
            tally.wrong.append(f"the key {key!r}: etsy counts {etsy[key]}, statlined {ours[key]}")
    tally.deviating += not tally.wrong
    return tally

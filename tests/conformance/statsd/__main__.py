"""etsy's statsd and statlined side by side: `make conformance`.

`ROUNDS` says how many rounds of generated packets there are with the default configuration, `SEED` what they begin
from, `ONLY` which groups are run, by a part of their names. A line a group; the exit status is 1 when any is wrong.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import trials
from batch import Batches
from case import Case
from cases import CASES
from common.program import ConformanceError
from compare import Tally
from deviations import table_is_wrong
from generate import Generator
from groups import GROUPS, Group
from pair import Pair

ROUNDS = int(os.environ.get("ROUNDS", "4"))
SEED = int(os.environ.get("SEED", "1"))
ONLY = os.environ.get("ONLY", "")

# How many scenarios are sent at once, and how many batches a pair of servers sees: what is idle is flushed for ever.
SCENARIOS = 40
BATCHES_A_PAIR = 8

# How much of what is wrong with a group is shown.
SHOWN_WRONG = 25

# Groups mostly wait for the clock.
GROUPS_AT_ONCE = 4


def batches(group: Group, rounds: int) -> list[list[Case]]:
    """Return what a group sends: the corner cases, then scenarios of a seed of their own each."""
    generated = [Generator(seed).scenarios(SCENARIOS) for seed in range(SEED, SEED + rounds)]
    return [CASES, *generated]


def in_parts(sent: list[list[Case]]) -> Iterator[list[list[Case]]]:
    """So many batches at a time as a pair of servers sees."""
    for start in range(0, len(sent), BATCHES_A_PAIR):
        yield sent[start : start + BATCHES_A_PAIR]


def run_group(group: Group, rounds: int) -> Tally:
    """Everything that a group sends, through pairs of servers."""
    tally = Tally()
    for part in in_parts(batches(group, rounds)):
        with tempfile.TemporaryDirectory() as scratch, Pair(Path(scratch), group.setup) as pair:
            pair.warm_up()
            sender = Batches(pair, group.idle_flushes)
            for cases in part:
                tally.add(sender.run(cases))
    return tally


def deviations() -> Tally:
    """Prove the cases in which the servers are to differ, and the documentation's table of them."""
    with tempfile.TemporaryDirectory() as scratch:
        tally = trials.deviating_cases(Path(scratch))
    tally.wrong += table_is_wrong()
    return tally


def guarded(run: Callable[[], Tally]) -> Tally:
    """Return what came of a group; one that could not be run is wrong."""
    try:
        return run()
    except (ConformanceError, OSError) as error:
        return Tally(wrong=[str(error)])


def main() -> int:
    """Run the groups and print a line of each."""
    began = time.monotonic()
    jobs: dict[str, Callable[[], Tally]] = {
        "deviations": deviations,
        "deviations: the flush": trials.flush_instants,
        "deviations: kernel drops": trials.kernel_drops,
        "deviations: TCP": trials.tcp_framing,
        "frequent keys": trials.frequent_keys,
    }
    for group in GROUPS:
        jobs[group.name] = partial(run_group, group, ROUNDS if group.name == "defaults" else max(1, ROUNDS // 8))
    wanted = {name: job for name, job in jobs.items() if ONLY in name}
    if not wanted:
        print(f"no group is named {ONLY!r}; there are {', '.join(jobs)}")
        return 2
    total = Tally()
    with ThreadPoolExecutor(GROUPS_AT_ONCE) as pool:
        running: dict[str, Future[Tally]] = {name: pool.submit(guarded, job) for name, job in wanted.items()}
        for name, future in running.items():
            tally = future.result()
            print(tally.line(name), flush=True)
            for wrong in tally.wrong[:SHOWN_WRONG]:
                print(f"  - {wrong}", flush=True)
            if len(tally.wrong) > SHOWN_WRONG:
                print(f"  … and {len(tally.wrong) - SHOWN_WRONG} more", flush=True)
            total.add(tally)
    print(total.line("in all"), f"in {time.monotonic() - began:.0f} s, seed {SEED}")
    # In the words of pytest, which tests/run.py counts by.
    print(f"{len(total.wrong)} failed, {total.cases - min(len(total.wrong), total.cases)} passed")
    return 1 if total.wrong else 0


if __name__ == "__main__":
    sys.exit(main())

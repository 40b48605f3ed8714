"""Where answers may differ from graphite-web's, and why: whatever else differs is an error.

`compat=graphite-web` differs in nothing. The default mode differs where docs/graphite.md says so: each deviation here
is a row of its table, and tells which calls of a target it concerns and which aspects of the answer it may change
there. What is made of such a call may differ in the same, and in more when names tell values or series are selected
by them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from compare import ASPECTS
from dataset import DAY, HOUR, Series
from targets import Call, Node, calls, read, selected

MINUTE = 60
UNITS = {"s": 1, "min": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY, "mon": 30 * DAY, "y": 365 * DAY}

VALUES = frozenset({"values"})
POINTS = frozenset({"times", "values"})
NAMES = frozenset({"names", "tags"})
ALL = frozenset(ASPECTS)


@dataclass(frozen=True)
class Asked:
    """What a target is asked over: `(start, end]` in seconds, and whether the clocks are those of a zone."""

    start: int
    end: int
    in_zone: bool


@dataclass(frozen=True)
class Site:
    """A call of a target, and where it stands."""

    call: Call
    within: tuple[Call, ...]
    asked: Asked

    def is_named(self, names: str) -> bool:
        """Tell whether the call is one of these functions."""
        return self.call.name in names.split()

    def is_within(self, names: Iterable[str]) -> bool:
        """Tell whether the call is, at any depth, an argument of one of these functions."""
        return any(outer.name in names for outer in self.within)

    @property
    def first(self) -> Node:
        """The first argument, which is the series of most functions."""
        return self.call.arguments[0] if self.call.arguments else ""


@dataclass(frozen=True)
class Deviation:
    """A row of the table: the first cell of it, what may differ, and at which calls."""

    what: str
    aspects: frozenset[str]
    concerns: Callable[[Site], bool]


def seconds(interval: str) -> int:
    """Return how long an interval is, whatever its sign."""
    total = 0
    for count, unit in re.findall(r"(\d+)([a-z]+)", interval):
        names = (name for name in sorted(UNITS, key=len, reverse=True) if unit.startswith(name))
        total += int(count) * UNITS.get(next(names, ""), 0)
    return total


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


COMBINING = _names(
    "aggregate aggregateSeriesLists aggregateWithWildcards areaBetween asPercent averageOutsidePercentile "
    "averageSeries averageSeriesWithWildcards avg countSeries diffSeries diffSeriesLists divideSeries "
    "divideSeriesLists groupByNode groupByNodes groupByTags maxSeries minSeries multiplySeries multiplySeriesLists "
    "multiplySeriesWithWildcards pct percentileOfSeries powSeries rangeOfSeries reduce reduceSeries "
    "removeBetweenPercentile stddevSeries sum sumSeries sumSeriesLists sumSeriesWithWildcards transformNull "
    "weightedAverage applyByNode stacked"
)
MOVING = _names("exponentialMovingAverage movingAverage movingMax movingMedian movingMin movingSum movingWindow")
EVALUATING_TWICE = MOVING | _names(
    "hitcount holtWintersAberration holtWintersConfidenceArea holtWintersConfidenceBands holtWintersForecast "
    "linearRegression smartSummarize timeShift timeStack"
)
LINES = _names("aggregateLine constantLine threshold")
STEPS = {"time": 60, "timeFunction": 60, "sin": 60, "sinFunction": 60, "identity": 60, "randomWalk": 60, "events": 1}
STEPS |= {"randomWalkFunction": 60, "verticalLine": 1}

# A line has no step of its own.
NO_STEP = 0


def steps(node: Node) -> set[int]:
    """Return the steps that the series of a target have."""
    if isinstance(node, str):
        return {series.step for series in selected(node)}
    if node.name in ("summarize", "smartSummarize", "hitcount"):
        return {seconds(node.argument(1, "intervalString"))}
    if node.name in STEPS:
        place = 2 if node.name.startswith("sin") else 1
        given = node.argument(place, "step")
        return {int(given) if given.isdigit() else STEPS[node.name]}
    keeps_step = node.argument(2, "keepStep").lower() == "true"
    if (node.name in LINES and not keeps_step) or (node.name == "countSeries" and not node.series()):
        return {NO_STEP}
    if node.name == "seriesByTag":
        return {series.step for series in selected(node)}
    return set().union(*(steps(argument) for argument in node.series()))


def _window(site: Site) -> str:
    return site.call.argument(1, "windowSize")


def _is_uneven(site: Site) -> bool:
    """Tell whether a moving window told as a time is no multiple of a step."""
    length = seconds(_window(site))
    return site.call.name in MOVING and length > 0 and any(step and length % step for step in steps(site.first))


def _has_several_steps(site: Site) -> bool:
    return len(steps(site.call if site.call.name == "group" else site.first)) > 1


def _combines_several_steps(site: Site) -> bool:
    given: set[int] = set().union(*(steps(argument) for argument in site.call.series()))
    return site.call.name in COMBINING and len(given - {NO_STEP}) > 1


def _combines_several_starts(site: Site) -> bool:
    """Tell whether series begin elsewhere, as after a look at another range, or where an interval does."""
    if site.call.name not in COMBINING:
        return False
    begins = set()
    gathers = False
    for argument in site.call.series():
        inner = sites(argument, site.asked)
        begins.add(tuple(sorted({one.call.name for one in inner if one.call.name in EVALUATING_TWICE | LINES})))
        gathers |= any(one.is_named("smartSummarize hitcount") and _has_several_steps(one) for one in inner)
    return len(begins) > 1 or gathers


def _summarizes(site: Site) -> bool:
    return site.call.name == "summarize" and site.call.argument(3, "alignToFrom").lower() != "true"


def _summarizes_by_the_zone(site: Site) -> bool:
    interval = seconds(site.call.argument(1, "intervalString"))
    return _summarizes(site) and site.asked.in_zone and bool(interval) and HOUR % interval > 0


def _summarizes_up_to_an_end(site: Site) -> bool:
    """Tell whether a series may end where an interval does."""
    interval = seconds(site.call.argument(1, "intervalString"))
    if not _summarizes(site) or not interval:
        return False
    moved = any(inner.call.name in EVALUATING_TWICE for inner in sites(site.first, site.asked))
    known = steps(site.first) - {NO_STEP}
    ends = [(site.asked.end // step * step + step) % interval for step in known]
    if any(inner.call.name in STEPS for inner in sites(site.first, site.asked)):
        ends.append(site.asked.end % interval)
    return moved or NO_STEP in steps(site.first) or site.is_within(EVALUATING_TWICE) or 0 in ends


def _aligns(site: Site) -> bool:
    if site.call.name == "hitcount":
        return site.call.argument(2, "alignToInterval").lower() == "true"
    given = site.call.argument(3, "alignTo").lower()
    return site.call.name == "smartSummarize" and given not in ("", "true", "false", "none")


def _shifts(site: Site) -> list[int]:
    """Return by how many seconds a call shifts its range into the past."""
    if site.call.name == "timeShift":
        text = site.call.argument(1, "timeShift")
        return [-seconds(text) if text.startswith("+") else seconds(text)]
    if site.call.name != "timeStack":
        return [0]
    unit = seconds(site.call.argument(1, "timeShiftUnit", "1d"))
    first, last = (int(site.call.argument(2, "timeShiftStart", "0")), int(site.call.argument(3, "timeShiftEnd", "7")))
    return [unit * multiple for multiple in range(first, last)]


def _is_silent(series: Series, start: int, end: int) -> bool:
    """Tell whether a series has nothing in a range, the ends of the values it has in all being known."""
    times = [series.start + index * series.step for index, value in enumerate(series.values) if value is not None]
    return end < times[0] or start >= times[-1]


def _looks_where_nothing_is(site: Site) -> bool:
    """Tell whether a series has no value in the range that a call looks at."""
    if site.within:
        return False
    shifts = [0]
    for inner in sites(site.call, site.asked):
        shifts = [one + other for one in shifts for other in _shifts(inner)] or shifts
    shifts += [0]
    start, end = site.asked.start, site.asked.end
    return any(
        _is_silent(series, start - shift, end - shift) for series in selected(site.call) for shift in set(shifts)
    )


TELLING = _names("aggregateLine aliasQuery cactiStyle legendValue nPercentile offsetToZero")
SELECTING = _names(
    "averageAbove averageBelow averageOutsidePercentile currentAbove currentBelow fallbackSeries filterSeries "
    "highest highestAverage highestCurrent highestMax limit lowest lowestAverage lowestCurrent maximumAbove "
    "maximumBelow minimumAbove minimumBelow mostDeviant removeBetweenPercentile removeEmptySeries sortBy "
    "sortByMaxima sortByMinima sortByTotal unique useSeriesAbove"
)
BY_NAME = _names(
    "aggregateWithWildcards aliasByNode aliasSub aliasQuery applyByNode asPercent averageSeriesWithWildcards "
    "exclude grep groupByNode groupByNodes groupByTags map mapSeries multiplySeriesWithWildcards pct reduce "
    "reduceSeries sortByName substr sumSeriesWithWildcards unique useSeriesAbove weightedAverage"
)
BY_NODE = _names("aliasByNode asPercent groupByNode groupByNodes map mapSeries pct weightedAverage")
RENAMING = _names("aliasByTags aliasQuery aliasSub alias cactiStyle legendValue aliasByNode substr")


def _is_of_a_name_that_is_no_target(site: Site) -> bool:
    return site.call.name in BY_NODE and any(inner.call.name in RENAMING for inner in sites(site.first, site.asked))


def _is_by_a_line(site: Site) -> bool:
    given: set[int] = set().union(*(steps(argument) for argument in site.call.series()))
    return NO_STEP in given and (site.call.name in MOVING or (site.call.name in COMBINING and len(given) > 1))


def _tells_of_the_range(site: Site) -> bool:
    goes_on = site.call.name in TELLING or site.call.name.startswith(("holtWinters", "integral", "linearRegression"))
    return goes_on and site.is_within(MOVING)


def _begins_with_the_range(site: Site) -> bool:
    begins = site.call.name in STEPS or site.is_named("hitcount smartSummarize aggregateLine")
    aligns_to_it = site.call.name == "summarize" and not _summarizes(site)
    return (begins or aligns_to_it) and site.is_within(MOVING)


def _has_inner(site: Site, names: Iterable[str]) -> bool:
    return any(inner.call.name in names for inner in sites(site.first, site.asked))


def _hands_on_a_factor(site: Site) -> bool:
    is_given = site.is_named("setXFilesFactor xFilesFactor") or "xFilesFactor" in site.call.keywords
    is_third = site.call.name.startswith("aggregate") and site.call.argument(2, "").replace(".", "").isdigit()
    return bool(site.within) and (is_given or is_third)


def _reference(site: Site) -> Node | None:
    given = site.call.keywords.get("referenceSeries")
    return site.call.arguments[2] if given is None and len(site.call.arguments) > 2 else given


def _has_a_reference_of_other_steps(site: Site) -> bool:
    given = _reference(site)
    return site.call.name == "transformNull" and given is not None and steps(given) != steps(site.first)


DEVIATIONS: tuple[Deviation, ...] = (
    Deviation("series of different starts or steps in one function", POINTS, _combines_several_steps),
    Deviation("series of different starts or steps in one function", POINTS, _combines_several_starts),
    Deviation("`summarize` over days, and by intervals that do not divide an hour", POINTS, _summarizes_by_the_zone),
    Deviation("`summarize` up to a multiple of its interval", POINTS, _summarizes_up_to_an_end),
    Deviation("`smartSummarize` with alignTo, `hitcount` with alignToInterval", POINTS, _aligns),
    Deviation("`constantLine`", ALL, _is_by_a_line),
    Deviation("`exponentialMovingAverage`", POINTS, lambda site: site.is_named("exponentialMovingAverage")),
    Deviation("moving windows that are no multiple of the step", POINTS, _is_uneven),
    Deviation(
        "moving windows in points, over series of several steps",
        POINTS,
        lambda site: site.call.name in MOVING and _has_several_steps(site),
    ),
    Deviation("what begins with the range, within a moving window in points", NAMES | VALUES, _tells_of_the_range),
    Deviation("what begins with the range, within a moving window in points", POINTS, _begins_with_the_range),
    Deviation(
        "`nPercentile` of `constantLine`, `sin` and others that end with the range",
        POINTS,
        lambda site: site.is_named("nPercentile") and _has_inner(site, LINES | STEPS.keys()),
    ),
    Deviation(
        "`round` and `logit` after a moving window",
        VALUES,
        lambda site: site.is_named("round logit") and _has_inner(site, MOVING),
    ),
    Deviation("`setXFilesFactor`, and the xFilesFactor of an aggregate", VALUES, _hands_on_a_factor),
    Deviation(
        "pipes within a function that evaluates its argument twice, such as `movingAverage`",
        ALL,
        lambda site: site.call.is_piped and site.is_within(EVALUATING_TWICE),
    ),
    Deviation("`stdev` after large values", VALUES, lambda site: site.is_named("stdev")),
    Deviation(
        "`linearRegression` and its times in another zone than UTC",
        NAMES | VALUES,
        lambda site: site.is_named("linearRegression") and site.asked.in_zone,
    ),
    Deviation(
        "`stacked` within a function that evaluates its argument twice, such as `movingAverage`",
        VALUES,
        lambda site: site.is_named("stacked") and site.is_within(EVALUATING_TWICE),
    ),
    Deviation(
        "`verticalLine` without a label",
        NAMES,
        lambda site: site.is_named("verticalLine") and len(site.call.arguments) == 1,
    ),
    Deviation(
        "`verticalLine` in another zone than UTC",
        POINTS,
        lambda site: site.is_named("verticalLine") and site.asked.in_zone,
    ),
    Deviation(
        '`legendValue(x, "first")`',
        NAMES,
        lambda site: site.is_named("legendValue") and any(one.strip("\"'") == "first" for one in _texts(site)),
    ),
    Deviation(
        '`aliasSub(x, ".*", "y")`',
        NAMES,
        lambda site: site.is_named("aliasSub") and ".*" in _texts(site)[0].strip("\"'"),
    ),
    Deviation(
        "`timeShift`, `timeStack`, `applyByNode` over series of several steps",
        POINTS,
        lambda site: site.is_named("timeShift timeStack applyByNode") and _has_several_steps(site),
    ),
    Deviation(
        "`timeSlice`",
        VALUES,
        lambda site: site.is_named("timeSlice"),
    ),
    Deviation(
        "`timeSlice`, `integralByInterval`, `time` and `sin` in another zone than UTC",
        ALL,
        lambda site: (
            site.is_named("timeSlice integralByInterval time timeFunction sin sinFunction") and site.asked.in_zone
        ),
    ),
    Deviation("`weightedAverage` where a value is missing", VALUES, lambda site: site.is_named("weightedAverage")),
    Deviation(
        "`asPercent` of series of several steps",
        POINTS,
        lambda site: site.is_named("asPercent pct") and (_has_several_steps(site) or _combines_several_steps(site)),
    ),
    Deviation("`transformNull` with references of other steps", VALUES, _has_a_reference_of_other_steps),
    Deviation(
        "`transformNull(x, referenceSeries=y)`",
        NAMES | VALUES,
        lambda site: site.is_named("transformNull") and "referenceSeries" in site.call.keywords,
    ),
    Deviation("`compressPeriodicGaps`", POINTS, lambda site: site.is_named("compressPeriodicGaps")),
    Deviation("`delay(x, 0)`", POINTS, lambda site: site.is_named("delay") and site.call.argument(1, "steps") == "0"),
    Deviation("series without a value in the range", ALL, _looks_where_nothing_is),
    Deviation(
        "`offsetToZero` of a band",
        frozenset({"tags"}),
        lambda site: (
            site.is_named("offsetToZero")
            and any(inner.call.name.startswith("holtWintersConfidence") for inner in sites(site.first, site.asked))
        ),
    ),
    Deviation("nodes of names that are no target", NAMES, _is_of_a_name_that_is_no_target),
    Deviation(
        "calls with nothing but keywords",
        ALL,
        lambda site: bool(site.call.keywords) and not site.call.arguments,
    ),
    Deviation(
        "`'it\\'s'`, `'it''s'`", NAMES, lambda site: any(re.search(r"\\[\"']|''", text[1:-1]) for text in _texts(site))
    ),
)
# These are told by what the answer says, rather than by what is asked.
IN_FIGURES = "figures in names and tags"
ERRORS = {
    "is not a target:": "what follows a complete target, and a call that is never closed",
    "verticalLine: ts is": "calls with nothing but keywords",
    "seasonality has to be": "`holtWintersForecast` and its kin with a seasonality of less than two steps",
}


def _texts(site: Site) -> list[str]:
    """Return the literal texts among the arguments of a call, in their quotes."""
    given = [*site.call.arguments, *site.call.keywords.values()]
    return [one for one in given if isinstance(one, str) and one[:1] in ("'", '"')] or ["''"]


def sites(node: Node, asked: Asked) -> list[Site]:
    """List the calls of a target."""
    return [Site(call, within, asked) for call, within in calls(node)]


def reach(aspects: frozenset[str], within: tuple[Call, ...]) -> frozenset[str]:
    """Return in what an answer may differ when a call does so in some aspects, with the calls around it."""
    for outer in reversed(within):
        if aspects & POINTS and outer.name in TELLING:
            aspects |= NAMES
        if (aspects & POINTS and outer.name in SELECTING) or (aspects & NAMES and outer.name in BY_NAME):
            aspects |= ALL
        if "times" in aspects or outer.name in EVALUATING_TWICE:
            aspects |= VALUES if aspects & POINTS else frozenset()
    return aspects


@dataclass
class Explanation:
    """Which deviations a target has, and all in which they may make its answer differ."""

    aspects: frozenset[str] = frozenset()
    rows: list[str] = field(default_factory=list)


def explain(target: str, asked: Asked) -> Explanation:
    """Return how the answer of the default mode may differ from graphite-web's."""
    explanation = Explanation()
    for site in sites(read(target.strip()), asked):
        for deviation in DEVIATIONS:
            if deviation.concerns(site):
                explanation.aspects |= reach(deviation.aspects, site.within)
                explanation.rows.append(deviation.what)
    return explanation


def explained(target: str, asked: Asked, differs: Iterable[str]) -> str | None:
    """Return the rows that explain why an answer differs in some aspects, if they explain all of these."""
    explanation = explain(target, asked)
    if not set(differs) <= explanation.aspects:
        return None
    return "; ".join(sorted(set(explanation.rows))) or IN_FIGURES


def explained_error(message: str) -> str | None:
    """Return the row that explains why there is an error where graphite-web has an answer."""
    return next((what for text, what in ERRORS.items() if text in message), None)


def undocumented(page: str) -> list[str]:
    """List the deviations that the documentation has no row of."""
    rows = {line.split(" | ")[0].removeprefix("| ").strip() for line in page.splitlines() if line.startswith("| ")}
    named = [*(deviation.what for deviation in DEVIATIONS), IN_FIGURES, *ERRORS.values()]
    return sorted({what for what in named if what not in rows})

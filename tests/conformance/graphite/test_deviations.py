"""What the documented deviations explain, and above all what they do not."""

from __future__ import annotations

import pytest
from compare import ASPECTS, compare, differences_beyond_figures
from dataset import DAY, END, HOUR
from deviations import Asked, explained, explained_error, undocumented
from expressions import table
from targets import Call, read, selected

HOURS = Asked(END - HOUR, END, in_zone=False)
BERLIN = Asked(END - 2 * DAY, END - 600, in_zone=True)


@pytest.mark.parametrize(
    ("target", "asked", "differs"),
    [
        ("exponentialMovingAverage(min.app.requests,10)", HOURS, ["times", "values"]),
        ("sumSeries(ten.*.cpu.user,min.app.requests)", HOURS, ["times", "values"]),
        ('summarize(min.app.requests,"1d")', BERLIN, ["values"]),
        ('alias(time("x"),"y")', BERLIN, ["values"]),
        ("highestCurrent(exponentialMovingAverage(ten.*.cpu.user,10),2)", HOURS, ["names", "tags"]),
        ('timeShift(ten.web1.cpu.user,"1d")', HOURS, list(ASPECTS)),
    ],
)
def test_what_is_documented_is_explained(target: str, asked: Asked, differs: list[str]) -> None:
    assert explained(target, asked, differs)


@pytest.mark.parametrize(
    ("target", "asked", "differs"),
    [
        ("min.app.requests", HOURS, ["values"]),
        ("scale(min.app.requests,2)", BERLIN, ["names"]),
        ("sumSeries(ten.*.cpu.user)", HOURS, ["values"]),
        ("sumSeries(ten.*.cpu.user,min.app.requests)", HOURS, ["names"]),
        ("exponentialMovingAverage(min.app.requests,10)", HOURS, ["tags"]),
        ('alias(scale(min.app.requests,2),"x")|offset(1)', HOURS, ["values"]),
        ('movingAverage(min.app.requests,"10min")', HOURS, ["values"]),
        ('summarize(min.app.requests,"7min",alignToFrom=true)', BERLIN, ["values"]),
        ('alias(time("x"),"y")', HOURS, ["values"]),
        ("highestCurrent(ten.*.cpu.user,2)", HOURS, ["names"]),
        ('timeShift(min.app.requests,"1d")', HOURS, ["values"]),
        ("stdev(min.app.requests,5)", HOURS, ["times"]),
    ],
)
def test_nothing_else_is_explained(target: str, asked: Asked, differs: list[str]) -> None:
    assert explained(target, asked, differs) is None


def test_most_of_the_table_has_to_be_equal() -> None:
    exact = [target for target in table() if explained(target, HOURS, ["values"]) is None]
    assert len(exact) > 0.85 * len(table())


def test_an_error_is_explained_by_what_it_says() -> None:
    assert explained_error('applyByNode: "sumSeries(a" is not a target: it is not closed')
    assert explained_error("unknown function scael") is None


def test_only_figures_in_names_may_have_other_last_digits() -> None:
    def answer(name: str, value: float) -> list[dict[str, object]]:
        return [{"target": name, "tags": {"name": "a"}, "datapoints": [[value, 60]]}]

    def beyond(ours: list[dict[str, object]], theirs: list[dict[str, object]]) -> list[str]:
        return differences_beyond_figures(ours, theirs, compare(ours, theirs))

    assert beyond(answer("a (max: 9.0)", 1), answer("a (max: 9)", 1)) == []
    assert beyond(answer("a (avg: 0.30000000000000004)", 1), answer("a (avg: 0.3)", 1)) == []
    assert beyond(answer("a (avg: 0.31)", 1), answer("a (avg: 0.3)", 1)) == ["names"]
    assert beyond(answer("b", 2), answer("a", 1)) == ["names", "values"]


def test_a_deviation_needs_a_row() -> None:
    assert "`constantLine`" in undocumented("| what | graphite-web |\n")
    assert "`constantLine`" not in undocumented("| `constantLine` | three points |\n")


def test_a_target_is_read_as_a_tree() -> None:
    tree = read('a.b|f(x=1,y="z, (")|g(2)')
    assert tree == Call("g", [Call("f", ["a.b"], {"x": "1", "y": '"z, ("'}), "2"])
    assert {series.name for series in selected(read("scale(ten.web[12].cpu.user,.5)"))} == {
        "ten.web1.cpu.user",
        "ten.web2.cpu.user",
    }

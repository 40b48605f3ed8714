"""Both answers to one target side by side, with a mark at what differs."""

from __future__ import annotations

import json
from typing import Any

from compare import equal_values, read

# Rows of a series that are equal are left out beyond these.
EQUAL_ROWS = 3


def _cell(point: list[Any] | None) -> str:
    return "-" if point is None else "null" if point[0] is None else f"{point[0]:.10g}"


def _points(answer: list[dict[str, Any]], index: int) -> dict[int, list[Any]]:
    return {point[1]: point for point in answer[index]["datapoints"]} if index < len(answer) else {}


def side_by_side(answers: dict[str, tuple[int, str]], origin: int) -> list[str]:
    """Lay out what each one answered; times are in seconds from `origin`."""
    lines = []
    read_answers: dict[str, list[dict[str, Any]]] = {}
    for who, (status, body) in answers.items():
        lines.append(f"{who:>22}: {status}" + ("" if status == 200 else f" {' '.join(body.split())[-300:]}"))
        if status == 200:
            read_answers[who] = read(body)
    if not read_answers:
        return lines
    first = next(iter(read_answers))
    for index in range(max(len(answer) for answer in read_answers.values())):
        for aspect in ("target", "tags"):
            texts = {
                who: json.dumps(answer[index][aspect], sort_keys=True) if index < len(answer) else "-"
                for who, answer in read_answers.items()
            }
            if len(set(texts.values())) == 1:
                lines.append(f"  {index} {aspect}: {texts[first]}")
            else:
                lines += [f"! {index} {aspect} {who:>20}: {text}" for who, text in texts.items()]
        columns = {who: _points(answer, index) for who, answer in read_answers.items()}
        shown = 0
        lines.append("    " + "".join(f"{text:>22}" for text in ("seconds", *columns)))
        for time in sorted(set().union(*columns.values())):
            points = [column.get(time) for column in columns.values()]
            same = all(
                (point is None) == (points[0] is None) and (point is None or equal_values(point[0], points[0][0]))
                for point in points
            )
            shown += same
            if not same or shown <= EQUAL_ROWS:
                cells = "".join(f"{_cell(point):>22}" for point in points)
                lines.append(f"{' ' if same else '!'}   {time - origin:>22}{cells}")
        lines.append(f"    {shown} equal rows, of {', '.join(str(len(column)) for column in columns.values())}")
    return lines

"""The picture of docs/performance.md shows the figures beside it, and no other."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

from benchmarks import growth

FIGURES = json.loads(growth.FIGURES.read_text(encoding="utf-8"))


def test_the_picture_is_drawn_from_the_figures():
    assert growth.draw(FIGURES) == growth.PICTURE.read_text(encoding="utf-8")


def test_another_figure_is_another_picture():
    changed = json.loads(json.dumps(FIGURES))
    changed["10000000"]["whole_table"]["newest as_of 1"]["cpu_s"] *= 3
    assert growth.draw(changed) != growth.draw(FIGURES)


def test_every_line_has_a_point_for_each_size_that_was_measured():
    drawn = ET.fromstring(growth.draw(FIGURES))
    circles = drawn.findall("{http://www.w3.org/2000/svg}circle")
    cases = [growth._LINES[name] for name in growth._LINES]
    measured = [1 for size in FIGURES.values() for part, case in cases if case in size[part]]
    assert len(circles) == len(measured) > 2 * len(cases)

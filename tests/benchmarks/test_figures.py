from __future__ import annotations

import math

from benchmarks.figures import Report, figure, number, percentile, ratios
from benchmarks.report import missed


def test_a_figure_is_judged_by_its_median_and_a_strict_one_by_every_round() -> None:
    assert not figure("rate", [4.0, 6.0, 7.0], at_least=6.0).missed
    assert figure("rate", [4.0, 5.0, 7.0], at_least=6.0).missed
    assert figure("lost", [0.0, 0.0, 1.0], at_most=0, strict=True).missed
    assert not figure("rate", 3.0).missed


def test_missed_figures_are_named() -> None:
    reports = [Report("ingest (x)", (figure("ratio", 3.0, "x", at_least=6.0), figure("other", 1.0)))]
    assert missed(reports) == ["ingest: ratio: 3 x, target >= 6"]


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 0.999, 1.0)] == [1, 50, 99, 100, 100]
    assert math.isnan(percentile([], 0.5))


def test_ratios_pair_the_rounds() -> None:
    assert ratios([10.0, 30.0], [5.0, 10.0]) == [2.0, 3.0]


def test_numbers_are_short() -> None:
    assert [number(value) for value in (12345.6, 0.61234, 6.0, 0.0)] == ["12,346", "0.612", "6", "0"]

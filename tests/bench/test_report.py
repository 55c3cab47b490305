"""What the bench makes of figures."""

from bench.report import Bound, Row, ratio, tables

RATES = Row(
    "GET, per second",
    {"ours": [10.0, 30.0, 20.0], "theirs": [5.0, 10.0, 20.0]},
    (Bound("theirs", at_least=2),),
)


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    assert ratio(RATES, "theirs") == 2.0


def test_a_missed_target_says_by_how_much() -> None:
    slow = Row("start, s", {"ours": [1.5]}, (Bound(at_most=1),), digits=1)

    assert tables([slow, RATES], ["ours"]).splitlines()[:4] == [
        "|  | ours | ratios | target |",
        "| --- | ---: | --- | --- |",
        "| start, s | 1.5 |  | ≤ 1: **not met** (1.50) |",
        "| GET, per second | 20 | 2.00× theirs (10) | ≥ 2× theirs: met |",
    ]

"""A short trial on each store; `make chaos` has the long ones."""

from pathlib import Path

import pytest

from tests.chaos.checker import judge
from tests.chaos.history import read
from tests.chaos.story import Story
from tests.chaos.summary import summary
from tests.chaos.trial import Plan, carry_out

SECONDS = 12
SEED = 20_261_122


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_random_kills_of_everything_break_no_promise(tmp_path: Path, store: str) -> None:
    plan = Plan(store=store, seed=SEED, seconds=SECONDS, rate=25, clients=24, every_s=1.5)

    story = Story(read(carry_out(plan, tmp_path)))

    assert judge(story) == {}, summary(story, judge(story))
    assert len(story.accepted) > 20
    assert story.harms

"""Each framework in each way that it can ask, killed in each way, on both stores: minutes, by `make test-frameworks`.

All runs of one framework play together. Those of the first test have the worker's death in common; those of the second
see nothing but deaths of the worker, one of them with its server.
"""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import pytest

from tests.frameworks.casts import CLOCK, EVERYONE, TWINS
from tests.frameworks.play import Play
from tests.frameworks.stage import Clerk, standing
from tests.frameworks.story import AGENTS_AND_WORKER, ALONE, CALLING, WORKER_ONLY, Case
from tests.postgres import Postgres

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

FRAMEWORKS = {
    script.removesuffix("_agent"): tuple(clerks)
    for script, clerks in groupby(EVERYONE.values(), key=lambda clerk: clerk.script)
}
each_framework = pytest.mark.parametrize("clerks", FRAMEWORKS.values(), ids=FRAMEWORKS)


@each_framework
def test_killed_agents_and_a_killed_worker(
    keeper: Postgres | None, clerks: tuple[Clerk, ...], tmp_path: Path
) -> None:
    kills_and_tasks = ((AGENTS_AND_WORKER, ALONE), (AGENTS_AND_WORKER, TWINS), (CALLING, ALONE))
    cases = [Case(clerk, kills, tasks) for clerk in clerks for kills, tasks in kills_and_tasks]

    _play([*cases, Case(clerks[0], tasks=CLOCK)], tmp_path, keeper)


@each_framework
def test_killed_workers_and_a_killed_server(
    keeper: Postgres | None, clerks: tuple[Clerk, ...], tmp_path: Path
) -> None:
    cases = [Case(clerk, WORKER_ONLY, tasks) for clerk in clerks for tasks in (ALONE, TWINS)]

    _play(cases, tmp_path, keeper)


def _play(cases: Sequence[Case], root: Path, database: Postgres | None) -> None:
    """Play them, and see that each call was paid once and each run ended well."""
    agents = {case.clerk.name: case.clerk for case in cases}
    with standing(root, list(agents.values()), database) as stage:
        outcomes = Play(stage, cases).outcomes()

    for case in cases:
        outcome = outcomes[case.name]
        print(f"{case.name}: {outcome.paid} of {case.ideal} paid, {outcome.lost} lost, {outcome.diverged}")  # noqa: T201
        assert (outcome.status, outcome.result) == ("succeeded", case.answer)
        assert (outcome.attempts, outcome.ends) == (4, 1)
        if case.tells_the_time:
            assert outcome.paid > case.ideal
            assert outcome.diverged
        else:
            assert (outcome.paid, outcome.diverged) == (case.ideal + outcome.lost, ())

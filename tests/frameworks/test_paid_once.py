"""Runs of every framework are killed three times, and pay for each of their model calls once.

The frameworks play together on one stage for each store: first a run's agent is killed in the middle of a call, then
the worker between two calls of everybody, then the agent again between two calls.
"""

from collections.abc import Iterable, Iterator

import pytest

from tests.frameworks.casts import ON_POSTGRES, ON_SQLITE
from tests.frameworks.play import Play
from tests.frameworks.stage import standing
from tests.frameworks.story import Case, Outcome
from tests.postgres import Postgres

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

Outcomes = dict[str, Outcome]
CASES = [("sqlite", case) for case in ON_SQLITE] + [("postgres", case) for case in ON_POSTGRES]


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcomes]:
    """What became of the cases on SQLite."""
    with standing(tmp_path_factory.mktemp("stage"), [case.clerk for case in ON_SQLITE]) as stage:
        yield Play(stage, ON_SQLITE).outcomes()


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[Outcomes]:
    """What became of the cases on PostgreSQL."""
    agents = [case.clerk for case in ON_POSTGRES]
    with standing(tmp_path_factory.mktemp("stage"), agents, postgres) as stage:
        yield Play(stage, ON_POSTGRES).outcomes()


@pytest.fixture
def outcome(store: str, case: Case, request: pytest.FixtureRequest) -> Outcome:
    """What became of this case; the first that asks for a store has them all played."""
    outcomes: Outcomes = request.getfixturevalue("sqlite" if store == "sqlite" else "far")
    print(f"{store} {case.name}: {outcomes[case.name].paid} of {case.ideal} paid")  # noqa: T201
    return outcomes[case.name]


def each(cases: Iterable[tuple[str, Case]]) -> pytest.MarkDecorator:
    """The test for each of these."""
    return pytest.mark.parametrize(
        ("store", "case"), [pytest.param(store, case, id=f"{store}-{case.name}") for store, case in cases]
    )


@each(CASES)
def test_a_run_of_any_framework_ends_well_after_three_kills(case: Case, outcome: Outcome) -> None:
    assert (outcome.status, outcome.result) == ("succeeded", case.answer)
    assert (outcome.attempts, outcome.ends) == (4, 1)


@each((store, case) for store, case in CASES if not case.tells_the_time)
def test_each_call_is_paid_once(case: Case, outcome: Outcome) -> None:
    assert outcome.paid == case.ideal + outcome.lost
    assert (outcome.live, outcome.diverged) == (case.ideal, ())
    assert outcome.replayed > 0


@each((store, case) for store, case in CASES if case.tells_the_time)
def test_a_clock_in_the_prompt_costs_calls_and_is_named(case: Case, outcome: Outcome) -> None:
    assert outcome.paid > case.ideal
    assert set(outcome.diverged) <= {"input[0].content", "messages[1].content"}
    assert len(outcome.diverged) == 3

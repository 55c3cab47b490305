"""The order of steps, and what each is shown: crews at work with agents that only repeat what they hear."""

import asyncio

import pytest

from outlast.runners.builtin.agents_yaml import parse
from outlast.runners.builtin.compose import user_text
from outlast.runners.builtin.crew import Task
from outlast.runners.builtin.flow import Flow
from outlast.runners.builtin.scope import Scope
from outlast.runners.protocol import AgentFailed


class Played:
    """A crew played through: every task answers with `answers[its name]`, in turn, else with the message it got."""

    def __init__(self, yaml: str, **answers: list[str]) -> None:
        self.crew = parse(yaml)
        self.heard: list[str] = []
        self.logs: list[str] = []
        self.at_work = self.most_at_work = 0
        self._answers = answers
        self.scope = Scope("PROMPT", self.crew.variables)

    async def run(self) -> str:
        await Flow(self._perform, self.logs.append).run(self.crew.steps, self.scope)
        return self.scope.text

    async def _perform(self, task: Task, scope: Scope) -> str:
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        heard = user_text(self.crew, task, scope)
        self.heard.append(heard)
        await asyncio.sleep(0)
        self.at_work -= 1
        answers = self._answers.get(task.name)
        if answers and answers[0] == "FAIL":
            raise AgentFailed("broken", "It broke.")
        return answers.pop(0) if answers else heard


AGENTS = "agents: {a: {role: A}, b: {role: B}}\n"


async def test_a_route_takes_the_first_branch_whose_word_was_said() -> None:
    yaml = AGENTS + (
        "steps:\n  - {name: sort, agent: a, action: 'Sort {{input}}'}\n"
        "  - route: {tech: [{agent: b, action: Fix.}], art: [{agent: b, action: Paint.}], default: [b]}\n"
    )
    played = Played(yaml, sort=["This is ART."])

    result = await played.run()

    assert played.heard == ["Sort PROMPT", "Paint.\n\nOutput of sort:\nThis is ART."]
    assert result == played.heard[-1]
    assert played.logs == ["route takes art."]


async def test_a_route_without_a_fitting_branch_takes_its_default_or_nothing() -> None:
    steps = "steps:\n  - {name: sort, agent: a}\n  - route: {tech: [b]DEFAULT}\n"
    with_default = Played(AGENTS + steps.replace("DEFAULT", ", default: b"), sort=["hm"])
    without = Played(AGENTS + steps.replace("DEFAULT", ""), sort=["hm"])

    assert await with_default.run() == "PROMPT\n\nOutput of sort:\nhm"
    assert await without.run() == "hm"
    assert (with_default.logs, without.logs) == (["route takes default."], ["route takes nothing."])


async def test_parallel_steps_do_not_see_each_other_and_join_in_order() -> None:
    yaml = AGENTS + (
        "steps:\n  - {agent: a, action: 'First {{input}}'}\n"
        "  - name: both\n    parallel: [{name: x, agent: a, action: X.}, {name: y, agent: b, action: Y.}]\n"
        "  - {agent: a, action: 'Join {{x_output}} {{parallel_outputs}}.', context: [y]}\n"
    )
    played = Played(yaml, a=["one", "end"], x=["xx"], y=["yy"])

    await played.run()

    assert played.heard == [
        "First PROMPT",
        "X.\n\nOutput of a:\none",
        "Y.\n\nOutput of a:\none",
        'Join xx ["xx","yy"].\n\nOutput of y:\nyy',
    ]
    assert played.scope.outputs[1].text == "xx\n\nyy"
    assert played.most_at_work == 2


async def test_the_first_failure_ends_what_is_at_work_beside_it() -> None:
    played = Played(AGENTS + "steps: [{parallel: [{name: x, agent: a}, b, b]}]", x=["FAIL"])

    with pytest.raises(AgentFailed, match="It broke"):
        await played.run()


async def test_a_loop_runs_its_steps_for_each_item_apart_from_each_other() -> None:
    yaml = AGENTS + (
        "variables: {books: [{title: One}, {title: Two}]}\n"
        "steps:\n  - loop: {over: books, var_name: book}\n    output_variable: reviews\n    steps:\n"
        "      - {name: read, agent: a, action: 'Read {{book.title}} for {{input}}'}\n"
        "      - {agent: b, action: 'Review {{previous_output}} ({{loop_index}})'}\n"
        "  - {agent: a, action: 'Sum up {{reviews}}', context: []}\n"
    )
    played = Played(yaml, read=["I", "II"], b=["good", "bad"], a=["fine"])

    assert await played.run() == "fine"
    assert played.heard == [
        "Read One for PROMPT",
        "Review I (0)",
        "Read Two for PROMPT",
        "Review II (1)",
        "Sum up good\n\nbad",
    ]
    assert played.scope.values["loop_outputs"] == ["good", "bad"]


async def test_a_parallel_loop_works_on_no_more_items_than_it_may() -> None:
    yaml = (
        AGENTS
        + "variables: {n: [1, 2, 3, 4, 5, 6]}\nsteps: [{agent: a, loop: {over: n, parallel: true, max_workers: 2}}]"
    )
    played = Played(yaml)

    await played.run()

    assert len(played.heard) == 6
    assert played.most_at_work == 2


@pytest.mark.parametrize("said", ['["x", "y"]', '```json\n["x", "y"]\n```'])
async def test_a_loop_may_go_over_a_list_that_a_model_wrote(said: str) -> None:
    yaml = AGENTS + (
        "steps:\n  - {name: plan, agent: a, output_variable: topics}\n"
        "  - {agent: b, action: 'About {{item}}', loop: {over: topics}}\n"
    )
    played = Played(yaml, plan=[said])

    await played.run()

    assert [heard.splitlines()[0] for heard in played.heard[1:]] == ["About x", "About y"]


async def test_a_loop_over_no_list_fails() -> None:
    yaml = AGENTS + "steps: [{name: plan, agent: a, output_variable: t}, {agent: b, loop: {over: t}}]"

    with pytest.raises(AgentFailed) as failed:
        await Played(yaml, plan=["no list"]).run()

    assert failed.value.code == "not_a_list"


async def test_a_repeat_ends_when_the_word_is_said_or_the_turns_are_used_up() -> None:
    yaml = AGENTS + "steps: [{agent: a, action: Improve., repeat: {until: approved, max_iterations: 3}}]"
    approved = Played(yaml, a=["draft", "APPROVED: nice"])
    never = Played(yaml, a=["1", "2", "3"])

    assert await approved.run() == "APPROVED: nice"
    assert await never.run() == "3"
    assert approved.heard == ["Improve.\n\nPROMPT", "Improve.\n\nPROMPT\n\nOutput of a:\ndraft"]
    assert never.logs == ["repeat ended after 3 turns without 'approved'."]


async def test_what_a_prompt_brings_with_it_is_not_replaced() -> None:
    played = Played(
        AGENTS + "variables: {x: '{{input}}'}\nsteps: [{agent: a, action: '{{input}} {{x}} {x} {y}'}]"
    )
    played.scope = Scope("{{x}} {topic}", played.crew.variables)

    assert await played.run() == "{{x}} {topic} {{input}} {{input}} {y}"

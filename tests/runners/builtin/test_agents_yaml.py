"""Both forms of agents.yaml as a crew, and everything that is refused, with its line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from outlast.errors import InvalidAgentYaml
from outlast.runners.builtin import keys
from outlast.runners.builtin.agents_yaml import parse
from outlast.runners.builtin.crew import Agent, Llm, Loop, Named, Parallel, Repeat, Route, Task

CLASSIC = """
framework: praisonai
topic: cats
roles:
  researcher:
    role: Researcher
    goal: Find facts about {topic}
    backstory: You are exact.
    tools: ['', search]
    tasks:
      research:
        description: Research {topic}.
        expected_output: Facts.
"""

CANONICAL = """
framework: praisonai
input: cats
agents:
  researcher:
    role: Researcher
    goal: Find facts about {topic}
    instructions: You are exact.
    tools: [search]
    steps:
      research:
        action: Research {topic}.
        expected_output: Facts.
"""


def test_all_aliases_mean_the_same() -> None:
    classic, canonical = parse(CLASSIC), parse(CANONICAL)

    assert classic == canonical
    assert classic.agents == {
        "researcher": Agent(
            key="researcher",
            name="researcher",
            role="Researcher",
            goal="Find facts about {topic}",
            instructions="You are exact.",
            tools=("search",),
        )
    }
    assert classic.steps == (
        Task(
            id=0,
            name="research",
            agent="researcher",
            action="Research {topic}.",
            expected_output="Facts.",
            context=(),
        ),
    )
    assert classic.tools == (Named("search", 9),)


def test_tasks_of_the_classic_form_see_all_outputs_before_them_or_those_they_name() -> None:
    crew = parse(
        """
roles:
  a: {role: A, tasks: {one: {description: x}, two: {description: x}}}
  b: {role: B, tasks: {three: {description: x}, four: {description: x, context: [two]}, five: {context: []}}}
"""
    )

    tasks = [task for task in crew.steps if isinstance(task, Task)]
    assert [(task.name, task.agent, task.context) for task in tasks] == [
        ("one", "a", ()),
        ("two", "a", (0,)),
        ("three", "b", (0, 1)),
        ("four", "b", (1,)),
        ("five", "b", ()),
    ]


def test_agents_without_tasks_each_get_the_prompt() -> None:
    crew = parse("agents: {a: {role: A}, b: {name: Bea, role: B}}")

    assert crew.steps == (Task(id=0, name="a", agent="a"), Task(id=1, name="b", agent="b"))


def test_a_single_agent_may_stand_at_the_top() -> None:
    crew = parse("agent: {name: Ann, instructions: Help., llm: gpt-4o}")

    assert crew.agents["agent"] == Agent(
        key="agent", name="Ann", instructions="Help.", llm=Llm(model="gpt-4o")
    )


def test_all_four_patterns_are_read() -> None:
    crew = parse(
        """
variables: {topics: [x, y]}
agents: {a: {role: A}, b: {role: B}}
steps:
  - {name: sort, agent: a, action: 'Sort {{input}}', output_variable: kind}
  - name: choose
    route:
      technical: [a, {agent: b, action: Check.}]
      default: b
  - parallel:
      - {agent: a, action: One.}
      - {agent: b, action: Two.}
    max_workers: 2
  - agent: a
    action: 'About {{item}}'
    loop: {over: topics, parallel: true}
  - loop: {over: '{{topics}}', var_name: topic_name}
    steps:
      - {agent: a, action: 'Write {{topic_name}}'}
      - {agent: b, action: 'Check {{previous_output}}'}
  - agent: b
    action: Judge.
    repeat: {until: approved, max_iterations: 3}
"""
    )

    assert [type(step) for step in crew.steps] == [Task, Route, Parallel, Loop, Loop, Repeat]
    route, parallel, one, many, repeat = crew.steps[1:]
    assert isinstance(route, Route)
    assert [(word, len(steps)) for word, steps in route.branches] == [("technical", 2)]
    assert route.default is not None
    assert isinstance(parallel, Parallel)
    assert (len(parallel.steps), parallel.at_once) == (2, 2)
    assert isinstance(one, Loop)
    assert (one.over, one.item, one.at_once, len(one.steps)) == ("topics", "item", 10, 1)
    assert isinstance(many, Loop)
    assert (many.over, many.item, many.at_once, len(many.steps)) == ("topics", "topic_name", 1, 2)
    assert isinstance(repeat, Repeat)
    assert (repeat.until, repeat.max_iterations) == ("approved", 3)


def test_a_workflow_block_may_hold_variables_steps_and_the_default_model() -> None:
    crew = parse(
        "agents: {a: {role: A}, b: {role: B, llm: {temperature: 1}}}\n"
        "workflow: {default_llm: openai/m, variables: {x: '1'}, steps: [{agent: a}]}"
    )

    assert crew.variables == {"x": "1"}
    assert [step.name for step in crew.steps] == ["a"]
    assert [agent.llm for agent in crew.agents.values()] == [Llm("m"), Llm("m", temperature=1.0)]


def test_variables_keep_their_text_and_their_shape() -> None:
    crew = parse("agents: {a: {role: A}}\nvariables: {n: 5, flag: yes, list: [1, {b: c}], none: }")

    assert crew.variables == {"n": "5", "flag": "yes", "list": ["1", {"b": "c"}], "none": ""}


@pytest.mark.parametrize(
    ("yaml", "prompted"),
    [
        ("agents: {a: {role: A}}\nsteps: [{action: Go.}, {action: On.}]", {0}),
        ("agents: {a: {role: 'A for {topic}'}}\nsteps: [{action: Go.}]", set()),
        ("agents: {a: {role: A}}\nsteps: [{action: Go.}, {action: 'On {{ input }}.'}]", set()),
        ("agents: {a: {role: A}}\nsteps: [{action: Go.}, {}]", set()),
        ("agents: {a: {role: A}}\nvariables: {topic: x}\nsteps: [{action: 'Go {{topic}}.'}]", {0}),
        ("agents: {a: {role: A}}\nsteps: [{action: Go.}, {route: {x: [{action: '{{input}}'}]}}]", {0}),
        ("agents: {a: {role: A}}\nsteps: [{parallel: [{action: Go.}, {action: On.}]}]", {1, 2}),
    ],
)
def test_a_prompt_that_is_never_mentioned_goes_to_the_first_task(yaml: str, prompted: set[int]) -> None:
    assert parse(yaml).prompted == prompted


def test_keys_without_effect_are_noted_with_their_line_and_empty_ones_are_not() -> None:
    crew = parse(
        "agents:\n  a:\n    role: A\n    verbose: true\n    max_iter:\n    cache: false\n    memory: no\n"
        "    tools: []\ndependencies: []\ncontext: true"
    )

    assert crew.notes == (
        "line 10: context has no effect here: outputs are never shortened here; "
        "a model answers with an error where its window is too small.",
        "line 4: verbose has no effect here: a run's log and stream show what happens.",
    )


def test_a_placeholder_without_a_variable_is_noted() -> None:
    crew = parse('agents:\n  a: {role: A}\nsteps:\n  - action: "Use {{nothing}} and {braces} and {{item.x}}"')

    assert crew.notes == (
        "line 4: {{nothing}} stays as it is: there is no such variable.",
        "line 4: {{item}} stays as it is: there is no such variable.",
    )


@pytest.mark.parametrize(
    "mcp",
    ["[clock]", "clock", "{servers: [clock]}", "{servers: {clock: }}", "{servers: {clock: {enabled: true}}}"],
)
def test_mcp_servers_are_named(mcp: str) -> None:
    crew = parse(f"agents: {{a: {{role: A}}, b: {{role: B, mcp: [other]}}}}\nmcp: {mcp}")

    assert crew.agents["a"].mcp == ("clock",)
    assert crew.agents["b"].mcp == ("clock", "other")
    assert crew.mcp == (Named("clock", 2), Named("other", 1))


def test_a_disabled_mcp_server_is_not_named() -> None:
    assert parse("agents: {a: {role: A}}\nmcp: {servers: {clock: {enabled: false}}}").mcp == ()


ONE = "agents:\n  a:\n    role: A\n"


@pytest.mark.parametrize(
    ("yaml", "fault"),
    [
        ("[]", "line 1: the text has to be a mapping, not a list."),
        ("just words", "line 1: the text has to be a mapping, not a word."),
        ("name: x", "line 1: there are no agents; name at least one under agents."),
        ("agents: {}\nroles: {}", "line 1: there are no agents"),
        ("agents: {a: {role: A}}\nroles: {b: {role: B}}", "line 2: the text has both agents and roles"),
        ("agents: [a]", "line 1: agents of the text has to be a mapping, not a list."),
        ("agents:\n  a: words", "line 2: agent a has to be a mapping, not a word."),
        (
            ONE + "    instrutions: x",
            "line 4: agent a has an unknown key instrutions. Did you mean instructions?",
        ),
        (ONE + "    quux: x", "line 4: agent a has an unknown key quux."),
        (ONE + "    instructions: [x]", "line 4: instructions of agent a has to be a text, not a list."),
        (
            ONE + "    memory: true",
            "line 4: agent a has memory, which does not work here: nothing is remembered",
        ),
        (
            ONE + "    llm: {model: x, temperature: hot}",
            "line 4: temperature of llm of agent a has to be a number",
        ),
        (
            ONE + "    llm: {model: x, api_key: sk}",
            "line 4: llm of agent a has api_key, which does not work here",
        ),
        (ONE + "    agent: ImageAgent", "line 4: agent ImageAgent does not work here"),
        (ONE + "steps:\n" + "  - a\n" * 1001, "line 1005: there are more than 1000 steps."),
        (ONE + "steps: 3", "line 4: steps has to be a list of steps, not a word."),
        (ONE + "steps:\n  - agent: b", "line 5: there is no agent b."),
        (
            ONE + "steps:\n  - action: x\n    action_: y",
            "line 6: a step has an unknown key action_. Did you mean action",
        ),
        (ONE + "steps:\n  - action: x\n    description: y", "line 6: a step has both action and description"),
        (
            ONE + "steps:\n  - name: s\n    action: x\n    context: [t]",
            "line 7: context names t, which is no task",
        ),
        (ONE + "steps:\n  - name: s\n    context: [s]", "line 6: context names s, which is no task"),
        (
            ONE + "steps:\n  - output_file: x",
            "line 5: a step has output_file, which does not work here: a run writes",
        ),
        (
            ONE + "steps:\n  - if: {condition: x}",
            "line 5: a step has if, which does not work here: use a route step.",
        ),
        (ONE + "steps:\n  - route: {x: [a]}", "line 5: a route step needs a step before it"),
        (ONE + "steps:\n  - a\n  - route: {x: [c]}", "line 6: there is no agent c."),
        (
            ONE + "steps:\n  - a\n  - route: {x: a}\n    action: y",
            "line 7: action does not belong to a route step.",
        ),
        (ONE + "steps:\n  - parallel: a", "line 5: parallel has to be a list of steps."),
        (
            ONE + "steps:\n  - parallel: [a]\n    on_failure: partial_ok",
            "line 6: on_failure can only be fail_fast",
        ),
        (ONE + "steps:\n  - loop: {over: x}", "line 5: over has to name a list in variables, not x."),
        (
            ONE + "steps:\n  - loop: {from_csv: x}",
            "line 5: loop has from_csv, which does not work here: a run reads",
        ),
        (
            ONE + "steps:\n  - loop: {over: x}\n    repeat: {until: y}",
            "line 6: loop and repeat cannot be one step",
        ),
        (
            ONE + "steps:\n  - repeat: {max_iterations: 0}",
            "line 5: max_iterations of repeat has to be a whole number",
        ),
        (
            ONE + "steps:\n  - repeat: {}\n    max_workers: 3",
            "line 6: max_workers does not belong to a task step.",
        ),
        (
            ONE + "    tasks: {t: {action: x}}\nsteps: [a]",
            "line 4: agent a has tasks of its own, but there are steps",
        ),
        (ONE + "process: hierarchical", "line 4: process hierarchical does not work here"),
        (ONE + "topic: x\ninput: y", "line 5: the text has both topic and input; they mean the same."),
        (ONE + "workflow: {planning: true}", "line 4: workflow has planning, which does not work here"),
        (
            ONE + "includes: [recipe]",
            "line 4: the text has includes, which does not work here: recipes are not",
        ),
        (
            ONE + "steps:\n  - action: 'News of {{today}}'",
            "line 5: {{today}} does not work here, since a resumed run",
        ),
        (
            ONE + "mcp: {servers: {fs: {command: npx}}}",
            "line 4: MCP server fs has command, which does not work here",
        ),
        ("agents: {a: {role: A}, b: {role: B}}\nsteps:\n  - action: x", "line 3: a step names no agent."),
        (
            "roles: {a: {tasks: {t: {action: x}}}, b: {tasks: {t: {action: x}, u: {context: [t]}}}}",
            "line 1: context names t, but 2 tasks are called so.",
        ),
    ],
)
def test_what_cannot_run_is_refused_with_its_line(yaml: str, fault: str) -> None:
    with pytest.raises(InvalidAgentYaml) as refused:
        parse(yaml, "crew.yaml")

    assert str(refused.value).startswith(f"crew.yaml {fault}")


_KEYS = {word for table in keys.ALL.values() for word in table.known}
_VALUES = [
    "a",
    "b",
    "true",
    "3",
    "-1",
    "1e9",
    "x:y",
    "{{input}}",
    "{{today}}",
    "{topic}",
    "approved",
    "clock",
]
_WORDS = st.sampled_from([*sorted(_KEYS), "", *_VALUES])
_NODES = st.recursive(
    _WORDS | st.integers() | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_WORDS, inner, max_size=5),
    max_leaves=25,
)


@given(st.dictionaries(_WORDS, _NODES, max_size=6))
def test_any_tree_is_a_crew_or_refused(tree: dict[str, object]) -> None:
    _parse_or_refuse(tree)


_AGENTS = st.dictionaries(st.sampled_from("ab"), st.dictionaries(_WORDS, _NODES, max_size=3), min_size=1)
_STEPS = st.lists(st.dictionaries(st.sampled_from(sorted(keys.STEP.used)), _NODES, max_size=3), max_size=4)


@given(_AGENTS, _STEPS, st.dictionaries(_WORDS, _NODES, max_size=3))
def test_anything_shaped_like_a_workflow_is_a_crew_or_refused(
    agents: object, steps: object, variables: object
) -> None:
    _parse_or_refuse({"agents": agents, "steps": steps, "variables": variables})


def _parse_or_refuse(tree: object) -> None:
    text = json.encode(tree).decode()  # JSON is YAML
    try:
        parse(text)
    except InvalidAgentYaml:
        pass

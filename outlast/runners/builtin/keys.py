"""Every key of an agents.yaml that we know: what is used, what has no effect here, what is refused and why.

A key that is used is read; one without effect is named in the run's log; one that would make the run differ from
what its author expects is refused at submit. A key in none of these tables is refused as unknown. A null, false or
empty value is the same as no key at all, except for an unknown one (which is likely a slip of the pen).
"""

import msgspec


class Keys(msgspec.Struct, frozen=True):
    """The keys of one kind of mapping."""

    used: frozenset[str]
    no_effect: dict[str, str] = {}
    """Key → the sentence that the log gets."""
    refused: dict[str, str] = {}
    """Key → why, and the way out."""

    @property
    def known(self) -> tuple[str, ...]:
        return (*sorted(self.used), *self.no_effect, *self.refused)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_OUTPUT = "a run's log and stream show what happens"
_RETRIES = "the gateway retries calls, and a submit can ask for `retry`"
_PACE = "the gateway waits where the provider asks for it"
_WHOLE_RUN = "the run's own timeout holds"

_MEMORY = "nothing is remembered between runs here; put what matters into the prompt or into variables"
_PLANNING = "no plan is made before the tasks; write the plan as tasks"
_REFLECTION = "an agent does not review itself here; use a repeat step"
_REASONING = "write it into the instructions, or choose a model that reasons"
_DELEGATION = "agents do not hand work to each other here; use a route step"
_CODE = "an agents.yaml runs no code of its own here"
_PERSON = "nobody is asked during a run here"
_FILES = "a run writes no files here; fetch its result"
_RECIPES = "recipes are not installed here; write their steps in this text"
_OWN_MODEL = "the operator of this server sets address and key of the models"
_STRUCTURED = "a result is text here; say in expected_output what it has to look like"
_WEB = "give the agent a tool or an MCP server for it"
_KNOWLEDGE = "nothing is looked up by itself here; give the agent a tool or an MCP server for it"
_ROUTING = "name one llm for each agent"
_TEMPLATES = "write the whole text into instructions and action"

_TEAM_NO_EFFECT = {
    "verbose": _OUTPUT,
    "output": _OUTPUT,
    "stream": _OUTPUT,
    "streaming": _OUTPUT,
    "output_log_file": _OUTPUT,
    "history": _OUTPUT,
    "cache": "answers are not cached across runs",
    "max_rpm": _PACE,
    "before_rpm_sleep": _PACE,
    "context": "outputs are never shortened here; a model answers with an error where its window is too small",
    "dependencies": "tasks run in the order they are written",
}
_TEAM_REFUSED = {
    "memory": _MEMORY,
    "memory_config": _MEMORY,
    "knowledge": _KNOWLEDGE,
    "embedder": _KNOWLEDGE,
    "planning": _PLANNING,
    "planning_llm": _PLANNING,
    "reasoning": _REASONING,
    "reflection": _REFLECTION,
    "guardrails": _CODE,
    "hooks": _CODE,
    "callbacks": _CODE,
    "crew_callbacks": _CODE,
    "approval": _PERSON,
    "autonomy": "agents do the tasks they are given, no others",
    "router": _ROUTING,
    "routing_strategy": _ROUTING,
    "manager_llm": "there is no manager here; say in steps who does what",
    "web": _WEB,
}

ROOT = Keys(
    used=_words(
        "framework name description topic input process process_type agents roles agent steps tasks variables "
        "workflow mcp"
    ),
    no_effect={
        **_TEAM_NO_EFFECT,
        "metadata": "it describes the file",
        "version": "it describes the file",
        "author": "it describes the file",
        "tags": "it describes the file",
        "approve": "tools here need no approval",
    },
    refused={
        **_TEAM_REFUSED,
        "models": _ROUTING,
        "providers": _OWN_MODEL,
        "include": _RECIPES,
        "includes": _RECIPES,
        "inputs": "rename it to variables",
        "type": "only agents work here",
        "schedule": "submit a run when it is due",
        "deploy": "the operator of this server has deployed it already",
    },
)

WORKFLOW = Keys(
    used=_words("name description default_llm variables steps"),
    no_effect=_TEAM_NO_EFFECT,
    refused=_TEAM_REFUSED,
)

AGENT = Keys(
    used=_words("name role goal instructions backstory llm model tools mcp tasks steps agent"),
    no_effect={
        "verbose": _OUTPUT,
        "stream": _OUTPUT,
        "streaming": _OUTPUT,
        "output": _OUTPUT,
        "cache": "answers are not cached across runs",
        "max_iter": "a task may ask its model 50 times",
        "max_rpm": _PACE,
        "max_execution_time": _WHOLE_RUN,
        "tool_timeout": _WHOLE_RUN,
        "tool_retry_policy": "a failed tool call is shown to the model, which decides",
        "max_retry_limit": _RETRIES,
        "min_reflect": _REFLECTION,
        "max_reflect": _REFLECTION,
        "min_iterations": _REFLECTION,
        "max_iterations": _REFLECTION,
        "reflect_llm": _REFLECTION,
        "context": _TEAM_NO_EFFECT["context"],
    },
    refused={
        "function_calling_llm": "tool calls go to the agent's llm",
        "llm_routing": _ROUTING,
        "llm_models": _ROUTING,
        "allow_delegation": _DELEGATION,
        "handoff": _DELEGATION,
        "handoffs": _DELEGATION,
        "reflection": _REFLECTION,
        "self_reflect": _REFLECTION,
        "planning": _PLANNING,
        "planning_tools": _PLANNING,
        "reasoning": _REASONING,
        "memory": _MEMORY,
        "knowledge": _KNOWLEDGE,
        "embedder": _KNOWLEDGE,
        "guardrail": _CODE,
        "guardrails": _CODE,
        "hooks": _CODE,
        "skills": _CODE,
        "code_execution": _CODE,
        "runtime": _CODE,
        "cli_backend": _CODE,
        "approval": _PERSON,
        "autonomy": _TEAM_REFUSED["autonomy"],
        "web": _WEB,
        "web_fetch": _WEB,
        "system_template": _TEMPLATES,
        "prompt_template": _TEMPLATES,
        "response_template": _TEMPLATES,
        "tool_choice": "the model chooses its tools; say in the instructions which it must use",
        "base_url": _OWN_MODEL,
        "api_key": _OWN_MODEL,
    },
)

LLM = Keys(
    used=_words("model temperature top_p max_tokens seed presence_penalty frequency_penalty"),
    no_effect={"timeout": _WHOLE_RUN, "max_retries": _RETRIES, "stream": _OUTPUT},
    refused={"base_url": _OWN_MODEL, "api_base": _OWN_MODEL, "api_key": _OWN_MODEL, "provider": _OWN_MODEL},
)

STEP = Keys(
    used=_words(
        "name agent action description expected_output context output_variable route parallel loop repeat steps "
        "step max_workers on_failure"
    ),
    no_effect={
        "verbose": _OUTPUT,
        "async_execution": "tasks run in the order they are written; use a parallel step",
        "max_retries": _RETRIES,
        "retry_delay": _RETRIES,
        "quality_check": _REFLECTION,
    },
    refused={
        "tools": "name them at the agent",
        "llm": "name it at the agent",
        "include": _RECIPES,
        "if": "use a route step",
        "when": "use a route step",
        "condition": "use a route step",
        "type": "use a route step",
        "task_type": "use a route step",
        "next_tasks": "tasks run in the order they are written; use a route step",
        "output_file": _FILES,
        "create_directory": _FILES,
        "output_json": _STRUCTURED,
        "output_pydantic": _STRUCTURED,
        "images": "a prompt is text here",
        "callback": _CODE,
        "guardrail": _CODE,
        "guardrails": _CODE,
        "handler": _CODE,
        "human_input": _PERSON,
        "skip_on_failure": "a failed task fails its run, so that nobody takes half a result for a whole one",
        "memory": _MEMORY,
    },
)

LOOP = Keys(
    used=_words("over var_name parallel max_workers output_variable steps step"),
    refused={
        "from_csv": "a run reads no files here; put the list into variables",
        "from_file": "a run reads no files here; put the list into variables",
    },
)

REPEAT = Keys(used=_words("until max_iterations"))

MCP = Keys(used=frozenset(["servers"]))

MCP_SERVER = Keys(
    used=frozenset(["enabled"]),
    no_effect={"description": "it describes the server"},
    refused=dict.fromkeys(
        ("command", "args", "env", "url", "tools", "transport", "headers"),
        "this text may only name a server that the operator has set up as [mcp.NAME] in outlast.toml: mcp: [NAME]",
    ),
)

ALL = {
    "the top": ROOT,
    "workflow": WORKFLOW,
    "an agent": AGENT,
    "llm": LLM,
    "a step or task": STEP,
    "loop": LOOP,
    "repeat": REPEAT,
    "mcp": MCP,
    "an MCP server": MCP_SERVER,
}

"""The built-in runner's second face: runs one attempt, in an agent process. Nothing here outlives its run.

A task is one agent asked once: a system message if the agent has any texts, a user message, and as many calls as
its tools need. The result is the last step's output. Model output is told live as it comes. Cancellation passes
through untouched; every failure that has a name is an `AgentFailed`.
"""

from collections.abc import AsyncIterable, Sequence

from pydantic_ai import Agent, AgentRetries, UsageLimits
from pydantic_ai.exceptions import AgentRunError, UnexpectedModelBehavior, UserError
from pydantic_ai.messages import AgentStreamEvent, PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.tools import RunContext
from pydantic_ai.toolsets import AbstractToolset

from outlast.errors import InvalidAgentYaml
from outlast.runners.builtin.agents_yaml import parse
from outlast.runners.builtin.compose import system_text, user_text
from outlast.runners.builtin.crew import Crew, Llm, Task
from outlast.runners.builtin.failures import as_failure
from outlast.runners.builtin.flow import Flow
from outlast.runners.builtin.model import Models
from outlast.runners.builtin.scope import Scope
from outlast.runners.builtin.tools import Toolbox
from outlast.runners.protocol import AgentFailed, Context, Job
from outlast.runs import Progress

MAX_REQUESTS = 50
"""Model calls of one task; a task with tools makes one more than it makes rounds of tool calls."""

EMPTY = "The model gave an empty answer."
RETRIES: AgentRetries = {"tools": 3, "output": 1}
"""How often a model may correct a tool call that does not fit the tool, or say something after it said nothing."""
NO_RETRIES: AgentRetries = {"tools": 0, "output": 0}
"""Without tools nothing is said to a model but what the user wrote, not even that its answer was empty."""


async def run(job: Job, context: Context) -> object:
    """The result's text."""
    if job.request.config:
        context.log("config has no effect on the built-in runner.")
    if job.request.agent_yaml is None:
        return _said(await _ask(context, Models(job).get(Llm(), with_tools=False), job.request.prompt))
    crew = _crew(job.request.agent_yaml, job.request.agent_file or "agents.yaml")
    for note in crew.notes:
        context.log(note)
    async with Toolbox(job, context.log) as toolbox:
        return await _Work(job, context, crew, toolbox).result()


def _said(text: str) -> str:
    if not text.strip():
        raise AgentFailed("empty_result", EMPTY)
    return text


def _crew(text: str, source: str) -> Crew:
    try:
        return parse(text, source)
    except InvalidAgentYaml as error:
        # Accepted by the version that took the submit, refused by this one.
        raise AgentFailed(error.code, error.detail) from error


class _Work:
    """A crew at work on one prompt."""

    def __init__(self, job: Job, context: Context, crew: Crew, toolbox: Toolbox) -> None:
        self._context = context
        self._crew = crew
        self._toolbox = toolbox
        self._models = Models(job)
        self._scope = Scope(job.request.prompt, crew.variables)
        self._flow = Flow(self._perform, context.log)
        self._done = 0

    async def result(self) -> str:
        for step in self._crew.steps:
            self._progress(step.name)
            await self._flow.run((step,), self._scope)
            self._done += 1
        text = _said(self._scope.text)
        self._progress(None)
        return text

    async def _perform(self, task: Task, scope: Scope) -> str:
        agent = self._crew.agents[task.agent]
        self._context.log(f"Task {task.name} starts.")
        self._progress(task.name)
        toolsets = self._toolbox.of(agent)
        return await _ask(
            self._context,
            self._models.get(agent.llm, with_tools=bool(toolsets)),
            user_text(self._crew, task, scope),
            instructions=system_text(self._crew, agent, scope),
            toolsets=toolsets,
        )

    def _progress(self, name: str | None) -> None:
        total = len(self._crew.steps)
        self._context.progress(
            Progress(
                percentage=round(100 * self._done / total, 1),
                current_step=name,
                steps_completed=self._done,
                steps_total=total,
            )
        )


async def _ask(
    context: Context,
    model: OpenAIChatModel,
    prompt: str,
    *,
    instructions: str | None = None,
    toolsets: Sequence[AbstractToolset[object]] = (),
) -> str:
    teller = _Teller(context)
    try:
        answer = await Agent(model, instructions=instructions, toolsets=toolsets).run(
            prompt,
            retries=RETRIES if toolsets else NO_RETRIES,
            usage_limits=UsageLimits(request_limit=MAX_REQUESTS),
            event_stream_handler=teller.tell,
            infer_name=False,
        )
    except (AgentRunError, UserError) as error:
        if type(error) is UnexpectedModelBehavior and not teller.has_told:
            raise AgentFailed("empty_result", EMPTY) from error
        raise as_failure(error) from error
    return answer.output


class _Teller:
    """Passes model output on as it comes."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.has_told = False

    async def tell(self, _: RunContext[object], events: AsyncIterable[AgentStreamEvent]) -> None:
        async for event in events:
            match event:
                case PartStartEvent(part=TextPart(content=text)) if text:
                    self._say(text)
                case PartDeltaEvent(delta=TextPartDelta(content_delta=text)) if text:
                    self._say(text)
                case _:
                    pass

    def _say(self, text: str) -> None:
        self.has_told = True
        self._context.token(text)

"""Which agents there are, and which of them play where."""

from tests.frameworks.stage import Clerk
from tests.frameworks.story import CALLING, Case

TWINS = ("the north", "the north", "the south")
"""Three agents at the same time, two of them with the same prompt."""
CLOCK = ("it is {now}",)

TOGETHER = (
    Clerk("openai_agents"),
    Clerk("openai_agents", ("stream",)),
    Clerk("openai_agents", ("chat",)),
    Clerk("openai_agents", ("chat", "stream")),
    Clerk("pydantic_ai_agent"),
    Clerk("pydantic_ai_agent", ("stream",)),
    Clerk("pydantic_ai_agent", ("chat",)),
    Clerk("pydantic_ai_agent", ("chat", "stream")),
    Clerk("langgraph_agent"),
    Clerk("langgraph_agent", ("stream",)),
    Clerk("langgraph_agent", ("responses",)),
    Clerk("langgraph_agent", ("responses", "stream")),
    Clerk("praisonai_agent"),
    Clerk("praisonai_agent", ("stream",)),
    Clerk("autogen_agent"),
    Clerk("autogen_agent", ("stream",)),
)
"""The frameworks that share an environment, in each way that they can ask."""
CREWAI = (
    Clerk("crewai_agent", (), "crewai"),
    Clerk("crewai_agent", ("stream",), "crewai"),
)
EVERYONE = {clerk.name: clerk for clerk in (*TOGETHER, *CREWAI)}

ON_SQLITE = (
    Case(EVERYONE["openai-agents-stream"]),
    Case(EVERYONE["pydantic-ai-chat"], tasks=TWINS),
    Case(EVERYONE["langgraph-stream"]),
    Case(EVERYONE["praisonai"]),
    Case(EVERYONE["autogen-stream"]),
    Case(EVERYONE["pydantic-ai"], CALLING),
    Case(EVERYONE["pydantic-ai-stream"], tasks=CLOCK),
)
ON_POSTGRES = (
    Case(EVERYONE["openai-agents"], tasks=TWINS),
    Case(EVERYONE["pydantic-ai-stream"]),
    Case(EVERYONE["langgraph-responses"]),
    Case(EVERYONE["praisonai-stream"]),
    Case(EVERYONE["autogen"]),
    Case(EVERYONE["pydantic-ai-chat-stream"], CALLING),
)
"""For every day: each framework on each store, streamed on one of them, and each endpoint; the rest is `-m long`."""

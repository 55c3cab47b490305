"""The models of a run: reached through the gateway only, over one HTTP client for all runs of the process."""

import asyncio
from weakref import WeakKeyDictionary

import openai
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIChatModelSettings
from pydantic_ai.providers.openai import OpenAIProvider

from outlast.runners.builtin.crew import Llm
from outlast.runners.protocol import Job

GATEWAYS_CHOICE = "default"
"""What the gateway knows the server's own model by, for a run that was submitted where there was none."""
_PATIENCE = openai.Timeout(None, connect=10.0)
"""The gateway knows how long a provider may take, and the run's own timeout holds over all."""

# A client of its own costs each run 826 KiB, a shared one 7. It belongs to the loop it was made in.
_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, openai.DefaultAsyncHttpxClient] = WeakKeyDictionary()


def shared_client() -> openai.DefaultAsyncHttpxClient:
    """The process's client, made when the first run asks for it. Proxies of the environment are not for loopback."""
    loop = asyncio.get_running_loop()
    client = _clients.get(loop)
    if client is None:
        client = _clients[loop] = openai.DefaultAsyncHttpxClient(timeout=_PATIENCE, trust_env=False)
    return client


async def close_shared_client() -> None:
    """Close it, if there is one; the next run makes another."""
    client = _clients.pop(asyncio.get_running_loop(), None)
    if client is not None:
        await client.aclose()


class PlainChatModel(OpenAIChatModel):
    """For conversations without tools: what is said is what is sent.

    Pydantic AI puts notes beside texts that look like its own frames (`<system>`), since a tool's output could forge
    them. Without tools there is only what the user wrote, and a bare prompt has to be the only message.
    """

    def prepare_messages(
        self,
        messages: list[ModelMessage],
        model_request_parameters: ModelRequestParameters | None = None,
    ) -> list[ModelMessage]:
        return messages


class Models:
    """The models one run may ask. Retries are the gateway's, so the client makes none."""

    def __init__(self, job: Job) -> None:
        self._default = job.request.model or GATEWAYS_CHOICE
        self._client = openai.AsyncOpenAI(
            base_url=job.base_url,
            api_key=job.token or "",
            http_client=shared_client(),
            timeout=_PATIENCE,
            max_retries=0,
        )

    def get(self, llm: Llm, *, with_tools: bool) -> OpenAIChatModel:
        """The model somebody asked for, else the run's."""
        name = llm.model or self._default
        kind = OpenAIChatModel if with_tools else PlainChatModel
        return kind(name, provider=OpenAIProvider(openai_client=self._client), settings=_settings(llm))


def _settings(llm: Llm) -> OpenAIChatModelSettings:
    settings: OpenAIChatModelSettings = {}
    if llm.temperature is not None:
        settings["temperature"] = llm.temperature
    if llm.top_p is not None:
        settings["top_p"] = llm.top_p
    if llm.max_tokens is not None:
        settings["max_tokens"] = llm.max_tokens
    if llm.seed is not None:
        settings["seed"] = llm.seed
    if llm.presence_penalty is not None:
        settings["presence_penalty"] = llm.presence_penalty
    if llm.frequency_penalty is not None:
        settings["frequency_penalty"] = llm.frequency_penalty
    return settings

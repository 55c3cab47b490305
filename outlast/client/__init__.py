"""The client: talks to an Outlast server over HTTP, blocking (`Client`) or in asyncio (`AsyncClient`).

An island: it imports nothing else of Outlast, so it can be used, copied or replaced alone.

from outlast.client import Client

with Client() as outlast:
    run = outlast.submit("What is 2+2?")
    print(outlast.wait(run.job_id).status)
    print(outlast.result(run.job_id).result)
"""

from typing import TYPE_CHECKING

from outlast.client.blocking import Client
from outlast.client.calls import Task
from outlast.client.errors import (
    AnsweredError,
    ClientError,
    Conflict,
    Invalid,
    Misconfigured,
    NotFound,
    RequestError,
    RunActive,
    RunFinished,
    RunNotSucceeded,
    ServerError,
    Unauthorized,
    Unreachable,
    WaitTimedOut,
)
from outlast.client.models import (
    Accepted,
    Cancelled,
    Event,
    ModelCall,
    ModelCalls,
    Page,
    Progress,
    Result,
    Run,
    Schedule,
    SchedulePage,
    Step,
    StepPage,
    Usage,
    Worker,
    Workers,
)

if TYPE_CHECKING:
    from outlast.client.asynchronous import AsyncClient

__all__ = [
    "Accepted",
    "AnsweredError",
    "AsyncClient",
    "Cancelled",
    "Client",
    "ClientError",
    "Conflict",
    "Event",
    "Invalid",
    "Misconfigured",
    "ModelCall",
    "ModelCalls",
    "NotFound",
    "Page",
    "Progress",
    "RequestError",
    "Result",
    "Run",
    "RunActive",
    "RunFinished",
    "RunNotSucceeded",
    "Schedule",
    "SchedulePage",
    "ServerError",
    "Step",
    "StepPage",
    "Task",
    "Unauthorized",
    "Unreachable",
    "Usage",
    "WaitTimedOut",
    "Worker",
    "Workers",
]


def __getattr__(name: str) -> type["AsyncClient"]:
    # asyncio is a fifth of this package's import time, and the command line has no use for it.
    if name == "AsyncClient":
        from outlast.client.asynchronous import AsyncClient

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

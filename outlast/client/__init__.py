"""The client: talks to an Outlast server over HTTP, blocking (`Client`) or in asyncio (`AsyncClient`).

An island: it imports nothing else of Outlast, so it can be used, copied or replaced alone.

from outlast.client import Client

with Client() as outlast:
    run = outlast.submit("What is 2+2?")
    print(outlast.wait(run.job_id).status)
    print(outlast.result(run.job_id).result)
"""

from outlast.client.asynchronous import AsyncClient
from outlast.client.blocking import Client
from outlast.client.errors import (
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
from outlast.client.models import Accepted, Cancelled, Event, Page, Progress, Result, Run, Usage

__all__ = [
    "Accepted",
    "AsyncClient",
    "Cancelled",
    "Client",
    "ClientError",
    "Conflict",
    "Event",
    "Invalid",
    "Misconfigured",
    "NotFound",
    "Page",
    "Progress",
    "RequestError",
    "Result",
    "Run",
    "RunActive",
    "RunFinished",
    "RunNotSucceeded",
    "ServerError",
    "Unauthorized",
    "Unreachable",
    "Usage",
    "WaitTimedOut",
]

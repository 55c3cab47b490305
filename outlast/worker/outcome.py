"""What became of an attempt, said where its code ran: any end of an agent is one frame.

A result is JSON. NaN and infinities become null, a lone surrogate becomes U+FFFD; what has no JSON form fails the
run, as does nothing at all: a missing or blank result is how frameworks hide a failed model call.
"""

import asyncio
import concurrent.futures
import importlib
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import dropwhile

import msgspec

import outlast
from outlast.engine import MAX_RESULT
from outlast.runners.protocol import AgentFailed, Context, Done, Failed, Job, RunFunction, Silence
from outlast.worker.logs import LINE_MAX, presentable

MESSAGE_MAX = 4000


Load = Callable[[], Awaitable[RunFunction]]


async def carry(job: Job, load: Load, context: Context) -> Done | Failed:
    """Run the attempt's code and say how it ended; only a cancellation passes through."""
    try:
        function = await load()
        return _done(job.attempt_id, await function(job, context))
    except AgentFailed as failure:
        return _failed(job.attempt_id, failure.code, str(failure))
    except MemoryError:
        return _failed(
            job.attempt_id, "out_of_memory", "The agent used up the memory that its process may have."
        )
    except SystemExit as left:
        return exited(job.attempt_id, f"called sys.exit({left.code!r})")
    except Exception as error:
        context.log(_trace(error))
        return broken(job.attempt_id, error)


def exited(attempt_id: str, how: str) -> Failed:
    """The end of an agent that left instead of returning."""
    return _failed(attempt_id, "agent_exited", f"The agent {how} and left no result.")


def broken(attempt_id: str, error: BaseException) -> Failed:
    """The end of an agent that raised."""
    name, words = type(error).__name__, _words(error)
    said = f"{name}: {words}" if words.strip() else f"The agent raised {name}, without a message."
    return _failed(attempt_id, "agent_error", said)


def loaded(entry: str) -> RunFunction:
    """The function that `module:name` says; imports the module."""
    module, _, name = entry.partition(":")
    function: RunFunction = getattr(importlib.import_module(module), name)
    return function


def _done(attempt_id: str, result: object) -> Done | Failed:
    if isinstance(result, Silence):
        return Done(attempt_id, b'""')
    if result is None or (isinstance(result, str) and not result.strip()):
        return Failed(attempt_id, "empty_result", "The agent returned nothing.")
    try:
        encoded = _encode(result)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        words = f"The agent's result of type {type(result).__name__} has no JSON form: {_words(error)}"
        return Failed(attempt_id, "result_not_json", presentable(words, MESSAGE_MAX))
    if len(encoded) > MAX_RESULT:
        words = f"The result has {len(encoded)} bytes; the most a run may return is {MAX_RESULT}."
        return Failed(attempt_id, "result_too_large", words)
    return Done(attempt_id, encoded)


def _encode(result: object) -> bytes:
    try:
        return msgspec.json.encode(result, enc_hook=_plain)
    except UnicodeEncodeError:
        built = msgspec.to_builtins(result, str_keys=True, enc_hook=_plain)
        return msgspec.json.encode(_readable(built))


def _plain(value: object) -> object:
    dump = getattr(value, "model_dump", None)  # a Pydantic model
    if callable(dump):
        return dump(mode="json")
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _readable(value: object) -> object:
    """The same value with every lone surrogate replaced."""
    match value:
        case str():
            return presentable(value, None)
        case Mapping():
            return {_readable(key): _readable(item) for key, item in value.items()}
        case Sequence() if not isinstance(value, bytes):
            return [_readable(item) for item in value]
        case _:
            return value


def _failed(attempt_id: str, code: str, message: str) -> Failed:
    return Failed(attempt_id, presentable(code, 100), presentable(message, MESSAGE_MAX))


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its message cannot be shown)"


def _trace(error: BaseException) -> str:
    """The traceback's end, which names the cause; it begins with the agent's own code."""
    text = "".join(_of_the_agent(traceback.TracebackException.from_exception(error)).format()).rstrip()
    return text if len(text) <= LINE_MAX // 4 else f"…{text[-LINE_MAX // 4 :]}"


_CARRIERS = tuple(f"{place}/" for m in (outlast, asyncio, concurrent.futures) for place in m.__path__)
"""Where the frames are that lead to every agent."""


def _of_the_agent(trace: traceback.TracebackException) -> traceback.TracebackException:
    """Without the frames above the agent's own, in what caused it too; untouched where none is the agent's."""
    own = list(dropwhile(lambda frame: frame.filename.startswith(_CARRIERS), trace.stack))
    if own:
        trace.stack = traceback.StackSummary.from_list(own)
    for inner in (trace.__cause__, trace.__context__):
        if inner is not None:
            _of_the_agent(inner)
    return trace

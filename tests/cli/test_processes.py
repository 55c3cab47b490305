"""The program as a process: signals, terminals, start-up."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.client.scripted import ScriptedServer, answer, events
from tests.client.test_requests import ACCEPTED, RUN, STATUS, SUBMIT, status
from tests.client.test_stream import QUEUED, STREAM

DEADLINE_S = 30
HALFWAY = answer(status("running", progress={"percentage": 50, "current_step": "Researching"}))


def start(
    server: ScriptedServer, *args: str, out: int = subprocess.PIPE, err: int = subprocess.PIPE
) -> subprocess.Popen[bytes]:
    keep = {
        name: value for name, value in os.environ.items() if not name.startswith(("OUTLAST_", "NO_COLOR"))
    }
    # What this process ignores, its child would too: a suite started in the background has Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(
        [sys.executable, "-m", "outlast", *args],
        env={**keep, "OUTLAST_URL": server.url, "TERM": "xterm", "COLUMNS": "80"},
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
    )


def until_asked(server: ScriptedServer, route: str, times: int = 1) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while len(server.sent(route)) < times:
        assert time.monotonic() < deadline, f"{route} was not asked for {times} times: {server.requests}"
        time.sleep(0.01)


def read_terminal(terminal: int) -> str:
    """All that was written to a terminal whose writers are gone."""
    pieces = []
    try:
        while piece := os.read(terminal, 65_536):
            pieces.append(piece)
    except OSError:  # Linux's way of saying end of file
        pass
    os.close(terminal)
    return b"".join(pieces).decode()


@pytest.mark.parametrize("command", [["submit", "x", "--wait"], ["result", RUN, "--wait"]])
def test_ctrl_c_ends_the_waiting_and_says_how_to_end_the_run(
    server: ScriptedServer, command: list[str]
) -> None:
    server.on(SUBMIT, answer(ACCEPTED, 202))
    server.on(STATUS, HALFWAY)
    process = start(server, *command)
    until_asked(server, STATUS)

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=DEADLINE_S)

    assert (process.returncode, out) == (130, b"")
    assert f"outlast cancel {RUN}" in err.decode()
    assert b"Traceback" not in err


def test_ctrl_c_ends_a_stream_alike(server: ScriptedServer) -> None:
    server.on(STATUS, HALFWAY)
    server.on(STREAM, events(QUEUED, cut=True), events(": alive"))
    process = start(server, "stream", RUN)
    until_asked(server, STREAM, 2)

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=DEADLINE_S)

    assert (process.returncode, out) == (130, b"queued\n")
    assert f"outlast cancel {RUN}" in err.decode()


def test_a_terminal_sees_a_live_line_that_leaves_nothing(server: ScriptedServer) -> None:
    server.on(SUBMIT, answer(ACCEPTED, 202))
    server.on(STATUS, HALFWAY, HALFWAY, answer(status("succeeded")))
    server.on(f"{STATUS}/result", answer(status("succeeded", result="4")))
    ours, theirs = pty.openpty()

    process = start(server, "submit", "x", "--wait", err=theirs)
    os.close(theirs)
    out, _ = process.communicate(timeout=DEADLINE_S)
    shown = read_terminal(ours)

    assert (process.returncode, out) == (0, b"4\n")
    assert "\r\x1b[K0s  running  50%  Researching" in shown
    assert shown.endswith("\r\x1b[K")


def test_no_terminal_no_live_line(server: ScriptedServer) -> None:
    server.on(STATUS, HALFWAY, answer(status("succeeded")))
    server.on(f"{STATUS}/result", answer(status("succeeded", result="4")))

    out, err = start(server, "result", RUN, "--wait").communicate(timeout=DEADLINE_S)

    assert (out, err) == (b"4\n", b"")


@pytest.mark.parametrize(("no_color", "colored"), [("", True), ("1", False)])
def test_a_terminal_gets_colors_unless_no_color_is_set(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, no_color: str, colored: bool
) -> None:
    server.on(STATUS, HALFWAY)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "outlast", "status", RUN],
        env={**os.environ, "OUTLAST_URL": server.url, "NO_COLOR": no_color},
        stdout=theirs,
    )
    os.close(theirs)
    assert process.wait(DEADLINE_S) == 0

    assert ("\x1b[33mrunning" in read_terminal(ours)) is colored


def test_a_pipe_gets_a_result_byte_for_byte_and_a_terminal_no_escapes(server: ScriptedServer) -> None:
    result = "a\x1b]0;title\x07b\r\n\ttab"
    server.on(f"{STATUS}/result", answer(status("succeeded", result=result)))
    ours, theirs = pty.openpty()

    piped, _ = start(server, "result", RUN).communicate(timeout=DEADLINE_S)
    process = start(server, "result", RUN, out=theirs)
    os.close(theirs)
    process.communicate(timeout=DEADLINE_S)

    assert piped == f"{result}\n".encode()
    assert read_terminal(ours) == "a]0;titleb\r\n\ttab\r\n"


def test_the_exit_code_is_the_processs(server: ScriptedServer) -> None:
    process = start(server, "status", "run_unknown")

    _, err = process.communicate(timeout=DEADLINE_S)

    assert process.returncode == 3
    assert b"Nothing is scripted" in err


@pytest.mark.parametrize("args", [["--help"], ["version"], ["run", "--help"]])
def test_help_loads_neither_the_client_nor_the_server(args: list[str], tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from outlast.cli import main\n"
        "sys.argv = ['outlast', *sys.argv[1:]]\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    heavy = {'httpx', 'msgspec', 'asyncio', 'starlette', 'pydantic_ai', 'uvicorn'} & set(sys.modules)\n"
        "    assert not heavy, heavy\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        cwd=tmp_path,
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, b"")


def test_a_client_command_does_not_load_the_server(server: ScriptedServer) -> None:
    server.on(STATUS, HALFWAY)
    code = (
        "import sys\n"
        "from outlast.cli import main\n"
        "sys.argv = ['outlast', 'status', 'run_01k']\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    ours = {name for name in sys.modules if name.startswith('outlast.')}\n"
        "    assert not ours & {'outlast.app', 'outlast.engine', 'outlast.config'}, ours\n"
        "    heavy = {'pydantic_ai', 'asyncio', 'rich', 'starlette'} & set(sys.modules)\n"
        "    assert not heavy, heavy\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OUTLAST_URL": server.url},
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, b"")

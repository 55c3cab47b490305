"""Agents for the `function` runner, as an operator would name them in outlast.toml."""

import os
import subprocess
import time

from outlast.runners.protocol import Context

SLEEP = "/bin/sleep"


def start_family() -> None:
    """A process of each kind that likes to stay: a child, one in a session of its own, two daemons."""
    subprocess.Popen([SLEEP, "3600"])
    subprocess.Popen([SLEEP, "3601"], start_new_session=True)
    daemonise([SLEEP, "3602"], dict(os.environ))
    daemonise([SLEEP, "3603"], {})


def daemonise(command: list[str], env: dict[str, str]) -> None:
    """The classic: fork, new session, fork again, with every descriptor closed."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    os.closerange(0, 256)
    os.execve(command[0], command, env)


def stays(prompt: str, run: Context) -> str:
    """Starts its family and works for ever, the second time for a moment only."""
    start_family()
    run.log("ready")
    time.sleep(3600 if os.environ["OUTLAST_ATTEMPT"] == "1" else 0.5)
    return f"attempt {os.environ['OUTLAST_ATTEMPT']}"

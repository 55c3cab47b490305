"""`outlast exec` with real programs and real signals."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.worker import marks, processes
from tests import invariants
from tests.live import descendants, wait_until

pytestmark = pytest.mark.slow
DEADLINE_S = 60
PYTHON = sys.executable


class Exec:
    """`outlast exec` in a folder and with a data folder of its own; what was started ends with the test."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data_dir = root / "data"
        self.env = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        self.env["OUTLAST_DATA_DIR"] = str(self.data_dir)
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *args: str | bytes, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        # What this process ignores, its child would too: a suite started in the background has Ctrl-C ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        process = subprocess.Popen(
            [PYTHON, "-m", "outlast", "exec", *args],
            cwd=self.root,
            env=self.env,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._started.append(process)
        return process

    def run(self, *args: str | bytes, stdin: bytes | None = None) -> tuple[int, bytes, str]:
        """Exit code, stdout, stderr."""
        process = self.start(*args, stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE)
        out, err = process.communicate(stdin, timeout=DEADLINE_S)
        return process.returncode, out, err.decode("utf-8", "replace")

    @property
    def folders(self) -> list[Path]:
        return sorted((self.data_dir / "exec").glob("run_*"))

    @property
    def run_id(self) -> str:
        """Of the one run there is."""
        (folder,) = self.folders
        return folder.name

    def status(self, run_id: str | None = None) -> dict[str, object]:
        code, out, err = self.run("--status", run_id or self.run_id, "--json")
        assert code == 0, err
        found: dict[str, object] = json.loads(out)
        return found

    def file(self, name: str, timeout_s: float = 20) -> str:
        """What a program has written into this file, once it is there."""
        path = self.root / name
        wait_until(
            lambda: path.exists() and bool(path.read_text()), timeout_s, lambda: f"{name}; {self.said()}"
        )
        return path.read_text()

    def said(self) -> str:
        return "".join(path.read_text() for path in self.data_dir.glob("exec/*/*.log"))

    def left(self) -> set[int]:
        """The living processes that bear the mark of one of the runs."""
        pids = {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
        folders = [marks.folder_id(folder) for folder in self.folders]
        return {
            pid for pid in pids if not processes.is_dead(pid) and any(marks.bears(pid, f) for f in folders)
        }

    def kill_everything(self, process: subprocess.Popen[bytes]) -> None:
        for pid in (process.pid, *descendants(process.pid)):
            processes.send(pid, signal.SIGKILL)
        process.communicate(timeout=DEADLINE_S)

    def end(self) -> None:
        for process in self._started:
            if process.poll() is None:
                self.kill_everything(process)
        for folder in self.folders:
            processes.sweep(marks.folder_id(folder))
            invariants.check(folder / "outlast.db")


@pytest.fixture
def outlast(tmp_path: Path) -> Iterator[Exec]:
    here = Exec(tmp_path)
    yield here
    here.end()


ODD = ["a b", "$HOME", "'\"", "-d", "--", "", "é"]
ECHO = """
import os, sys
sys.stdout.buffer.write(b"\\xff\\0bin" + sys.stdin.buffer.read() + os.fsencode(repr(sys.argv[1:])))
sys.stderr.write(os.getcwd())
sys.exit(3)
"""


def test_input_output_arguments_and_exit_code_pass_through_unchanged(outlast: Exec) -> None:
    code, out, err = outlast.run("--", PYTHON, "-c", ECHO, *ODD, b"caf\xe9", stdin=b"typed\xfe\n")

    assert code == 3
    assert out == b"\xff\0bintyped\xfe\n" + os.fsencode(repr([*ODD, "caf\udce9"]))
    assert err.splitlines()[0] == f"outlast: this is {outlast.run_id}"
    assert str(outlast.root) in err.splitlines()[1]
    status = outlast.status()
    assert (status["status"], status["error_code"]) == ("failed", "exit_code")
    assert status["argv"] == [PYTHON, "-c", ECHO, *ODD, "caf?"]


SEES = "import json, os; print(json.dumps(dict(os.environ)))"


def test_a_program_has_its_users_environment_but_for_the_keys_and_needs_no_model(outlast: Exec) -> None:
    outlast.env |= {
        "OPENAI_API_KEY": "sk-secret", "MY_OTHER_NAME_FOR_IT": "sk-secret", "ANTHROPIC_AUTH_TOKEN": "sk-other",
        "MINE": "kept", "TMPDIR": str(outlast.root), "LANGSMITH_TRACING": "true",
    }  # fmt: skip

    code, out, _ = outlast.run(PYTHON, "-c", SEES)

    seen = json.loads(out)
    assert code == 0
    assert "sk-secret" not in seen.values()
    assert "sk-other" not in seen.values()
    assert seen["OPENAI_API_KEY"].startswith("sk-outlast-")
    assert seen["OPENAI_BASE_URL"].startswith("http://127.0.0.1:")
    assert (seen["MINE"], seen["TMPDIR"], seen["LANGSMITH_TRACING"]) == ("kept", str(outlast.root), "true")
    assert (seen["OUTLAST_RUN_ID"], seen["CREWAI_DISABLE_TELEMETRY"]) == (outlast.run_id, "true")
    assert "OUTLAST_PROMPT" not in seen
    assert b"sk-secret" not in b"".join(f.read_bytes() for f in outlast.folders[0].iterdir() if f.is_file())


def test_a_program_may_say_nothing(outlast: Exec) -> None:
    assert outlast.run("--", "true")[:2] == (0, b"")
    assert outlast.status()["status"] == "succeeded"


def test_what_cannot_be_done_is_said(outlast: Exec) -> None:
    assert outlast.run("--", "no-such-program")[0] == 127
    assert not outlast.folders
    code, _, err = outlast.run("--resume", "run_unknown")
    assert (code, "There is no run run_unknown" in err) == (3, True)
    assert outlast.run("--list", "true")[0] == 2
    code, _, err = outlast.run("--data-dir", "/dev/null", "--", "true")
    assert (code, "Not a directory" in err) == (2, True)
    assert outlast.run()[0] == 2


def test_a_program_that_is_killed_is_started_again_until_it_is_given_up(outlast: Exec) -> None:
    code, out, err = outlast.run("sh", "-c", "test $OUTLAST_ATTEMPT -lt 3 && kill -9 $$; echo alive; exit 5")
    assert (code, out) == (5, b"alive\n")
    assert f"attempt 3 of {outlast.run_id} begins" in err

    code, _, err = outlast.run("sh", "-c", "kill -SEGV $$")
    assert code == 128 + signal.SIGSEGV
    assert "it is given up" in err


def test_a_failure_is_tried_again_if_asked_for(outlast: Exec) -> None:
    code, out, _ = outlast.run("--retries", "1", "--", "sh", "-c", "echo $OUTLAST_ATTEMPT; exit 4")

    assert (code, out) == (4, b"1\n2\n")


SLOW = "echo $$ > pid.$OUTLAST_ATTEMPT; test $OUTLAST_ATTEMPT -lt {n} && sleep 1000; echo done"


def test_after_a_kill_of_everything_one_resume_goes_on_and_a_second_is_refused(outlast: Exec) -> None:
    process = outlast.start("--", "sh", "-c", SLOW.format(n=3))
    outlast.file("pid.1")
    outlast.kill_everything(process)
    assert outlast.left() == set()
    assert outlast.status()["status"] == "interrupted"
    (outlast.root / "elsewhere").mkdir()

    first = outlast.start("--resume", outlast.run_id)
    outlast.file("pid.2")
    code, _, err = outlast.run("--resume", outlast.run_id)
    assert (code, err) == (1, f"outlast: Run {outlast.run_id} is running, pid {first.pid}.\n")

    first.kill()
    first.communicate(timeout=DEADLINE_S)
    wait_until(lambda: not outlast.left(), 10, lambda: f"{outlast.left()} to end with it")
    code, out, err = outlast.run("--resume", outlast.run_id)
    assert (code, out) == (0, b"done\n"), err
    assert outlast.status()["attempt"] == 3


TIDY = "trap 'echo bye; exit 9' TERM; echo $$ > pid.$OUTLAST_ATTEMPT; test $OUTLAST_ATTEMPT = 2 || {0}; echo done"


def test_ctrl_c_ends_the_program_and_the_run_stays_resumable(outlast: Exec) -> None:
    process = outlast.start("--", "sh", "-c", TIDY.format("while :; do sleep 0.02; done"))
    outlast.file("pid.1")

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=DEADLINE_S)

    assert (process.returncode, out) == (130, b"bye\n")
    assert err.decode().endswith(
        f"was interrupted. It goes on with: outlast exec --resume {outlast.run_id}\n"
    )
    assert outlast.left() == set()
    assert outlast.run("--resume", outlast.run_id)[:2] == (0, b"done\n")


def test_a_detached_program_goes_on_by_itself_and_can_be_followed(outlast: Exec) -> None:
    code, out, _ = outlast.run(
        "-d", "--", "sh", "-c", "echo one; until test -e go; do sleep 0.02; done; echo two"
    )
    run_id = out.decode().strip()
    assert (code, run_id) == (0, outlast.run_id)
    wait_until(lambda: "one" in outlast.said(), 20, outlast.said)
    assert outlast.status()["status"] == "running"

    follow = outlast.start("--logs", run_id, "-f")
    (outlast.root / "go").touch()
    out, _ = follow.communicate(timeout=DEADLINE_S)

    assert out == b"one\ntwo\n"
    wait_until(
        lambda: outlast.status()["pid"] is None if "pid" in outlast.status() else True, 10, outlast.said
    )
    assert outlast.status()["status"] == "succeeded"
    assert (outlast.folders[0] / "output.log").read_text() == f"outlast: this is {run_id}\none\ntwo\n"
    code, out, _ = outlast.run("--list")
    assert out.decode().splitlines()[1].split()[:2] == [run_id, "succeeded"]


def test_a_cancel_leaves_nothing_behind_whoever_has_the_run(outlast: Exec) -> None:
    family = "(setsid sleep 1000 &); echo $$ > pid.$OUTLAST_ATTEMPT; sleep 1000"
    outlast.run("-d", "--", "sh", "-c", family)
    outlast.file("pid.1")

    assert outlast.run("--cancel", outlast.run_id)[0] == 0

    assert outlast.left() == set()
    assert outlast.status()["status"] == "cancelled"
    assert outlast.run("--cancel", outlast.run_id)[0] == 3

    (folder,) = outlast.folders
    process = outlast.start("--resume", folder.name)  # it has ended: another one of the same
    wait_until(lambda: outlast.status(folder.name)["status"] == "running", 20, outlast.said)
    outlast.kill_everything(process)
    assert outlast.run("--cancel", folder.name)[0] == 0
    assert outlast.status(folder.name)["status"] == "cancelled"
    assert outlast.folders == [folder]


def test_a_cancelled_foreground_program_says_so(outlast: Exec) -> None:
    process = outlast.start("--timeout", "1000", "--", "sh", "-c", "echo $$ > pid; sleep 1000")
    outlast.file("pid")

    assert outlast.run("--cancel", outlast.run_id)[0] == 0

    _, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, err.decode().splitlines()[1:]) == (
        1,
        [f"outlast: {outlast.run_id} was cancelled."],
    )


def test_the_time_of_a_program_can_be_limited(outlast: Exec) -> None:
    code, _, err = outlast.run("--timeout", "1", "--", "sleep", "1000")

    assert code == 124
    assert "used up its 1 s" in err
    assert outlast.left() == set()


def test_output_without_end_of_lines_or_measure_passes_through_and_is_kept_in_part(outlast: Exec) -> None:
    size = 10_000_000
    code, out, _ = outlast.run(
        PYTHON, "-c", f"import os; [os.write(1, (b'y' * 99 + b'\\n') * 100) for _ in range({size // 10_000})]"
    )

    assert (code, len(out)) == (0, size)
    assert (outlast.folders[0] / "outlast.db").stat().st_size < size / 2
    lines = outlast.run("--logs", outlast.run_id)[1].splitlines()
    assert any(b"lines dropped" in line for line in lines)


def test_a_reader_that_goes_away_does_not_end_the_program(outlast: Exec) -> None:
    process = outlast.start("--", "sh", "-c", "yes | head -n 100000; echo done > mark")
    assert process.stdout is not None
    process.stdout.read(2)
    process.stdout.close()

    assert outlast.file("mark") == "done\n"
    assert process.wait(DEADLINE_S) == 0
    assert process.stderr is not None
    process.stderr.close()


ONCE = """
import os, time
from outlast import tool

@tool(effect="once")
def pay(euros):
    with open("paid", "a") as file:
        file.write("paid\\n")
    while not os.path.exists("go"):
        time.sleep(0.01)
    return euros

print("got", pay(5))
"""


def test_a_step_that_may_have_been_done_waits_for_a_word(outlast: Exec) -> None:
    process = outlast.start("--", PYTHON, "-c", ONCE)
    outlast.file("paid")
    outlast.kill_everything(process)
    (outlast.root / "go").touch()

    code, out, err = outlast.run("--resume", outlast.run_id)
    assert (code, out) == (75, b"")
    assert "--step retry|skip|fail" in err
    assert outlast.status()["status"] == "waiting"

    code, out, err = outlast.run("--resume", outlast.run_id, "--step", "retry")
    assert (code, out) == (0, b"got 5\n"), err
    assert outlast.file("paid") == "paid\n" * 2


def test_a_run_whose_folder_is_removed_ends_and_says_so(outlast: Exec) -> None:
    process = outlast.start("--", "sh", "-c", "echo begun; exec sleep 100")
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    run_id = outlast.run_id
    below = descendants(process.pid)

    shutil.rmtree(outlast.data_dir / "exec" / run_id)

    _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2
    assert f"The folder of {run_id}" in err.decode()
    assert "removed while it ran" in err.decode()
    wait_until(
        lambda: not any(Path(f"/proc/{pid}").exists() for pid in below), 10, lambda: "its processes to end"
    )


def test_a_detached_run_is_seen_running_at_once(outlast: Exec) -> None:
    code, out, _ = outlast.run("-d", "--", "sleep", "100")
    run_id = out.decode().strip()

    _, status, _ = outlast.run("--status", run_id, "--json")

    assert (code, json.loads(status)["status"]) == (0, "running")
    assert outlast.run("--cancel", run_id)[0] == 0

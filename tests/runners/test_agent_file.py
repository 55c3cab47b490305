"""Agent files come from below the agent root, and only text does."""

import os
from pathlib import Path

import pytest

from outlast.errors import AgentFileRefused
from outlast.runners.agent_file import MAX_BYTES, framework_in, read, read_default


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret.yaml").write_text("outside")
    root = tmp_path / "root"
    (root / "teams").mkdir(parents=True)
    (root / "agents.yaml").write_text("inside: ä")
    (root / "teams" / "a.yml").write_text("deeper")
    return root.resolve()


@pytest.mark.parametrize(
    ("name", "text"),
    [("agents.yaml", "inside: ä"), ("./teams/../agents.yaml", "inside: ä"), ("teams/a.yml", "deeper")],
)
def test_a_file_below_the_root_is_read(root: Path, name: str, text: str) -> None:
    assert read(root, name) == text
    assert read(root, str(root / name)) == text


def test_a_link_that_stays_inside_is_followed(root: Path) -> None:
    (root / "link.yaml").symlink_to("agents.yaml")

    assert read(root, "link.yaml") == "inside: ä"


def test_a_byte_order_mark_is_not_part_of_the_text(root: Path) -> None:
    (root / "bom.yaml").write_bytes(b"\xef\xbb\xbfa: 1")

    assert read(root, "bom.yaml") == "a: 1"


@pytest.mark.parametrize(
    "name",
    [
        "../secret.yaml",
        "/etc/hostname",
        "/etc/passwd.yaml",
        "teams/../../secret.yaml",
        "out.yaml",
        "out/secret.yaml",
        "missing.yaml",
        "teams",
        "folder.yaml",
        "pipe.yaml",
        "latin.yaml",
        "large.yaml",
        ".env",
        "a\0.yaml",
        "x" * 5000 + ".yaml",
        "",
    ],
)
def test_anything_else_is_refused_in_a_sentence(root: Path, name: str) -> None:
    (root / "out.yaml").symlink_to(root.parent / "secret.yaml")
    (root / "out").symlink_to(root.parent)
    (root / "folder.yaml").mkdir()
    os.mkfifo(root / "pipe.yaml")
    (root / "latin.yaml").write_bytes("ä".encode("latin-1"))
    (root / "large.yaml").write_bytes(b"a" * (MAX_BYTES + 1))
    (root / ".env").write_text("KEY=1")

    with pytest.raises(AgentFileRefused) as refused:
        read(root, name)

    assert refused.value.detail.endswith(".")
    assert str(root) not in refused.value.detail


def test_the_default_file_may_be_absent(root: Path) -> None:
    assert read_default(root) == "inside: ä"
    (root / "agents.yaml").unlink()
    assert read_default(root) is None


@pytest.mark.parametrize(
    ("text", "framework"),
    [
        ("framework: crewai\n", "crewai"),
        ("topic: x\nroles:\n  a:\n    framework: inner\nframework: 'ag2'\n", "ag2"),
        ("{topic: [a, b], framework: langgraph}", "langgraph"),
        ("topic: framework\nname: crewai\n", None),
        ("roles: {framework: inner}\n", None),
        ("a: &x 1\nb: *x\nframework: crewai\n", "crewai"),
        ("framework:\n", None),
        ("framework: [a]\n", None),
        ("just text", None),
        ("", None),
        ("a: [1\n", None),
        ("\t", None),
        ("!!python/object/apply:os.system [ls]\n", None),
    ],
)
def test_the_framework_is_found_at_the_top_level_only(text: str, framework: str | None) -> None:
    assert framework_in(text) == framework


def test_a_text_that_unfolds_without_end_is_not_unfolded() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]

    assert framework_in("\n".join([*lines, "framework: crewai"])) == "crewai"


def test_a_text_longer_than_a_file_may_be_is_not_searched_for_its_framework() -> None:
    assert framework_in(f"a: {'x' * (MAX_BYTES - 30)}\nframework: crewai") == "crewai"
    assert framework_in(f"a: {'x' * MAX_BYTES}\nframework: crewai") is None

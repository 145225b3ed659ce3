"""What a bare checkout relies on: the locks, `./run`, and the image's list of files."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.txt", "requirements-dev.txt")


def pins(lock: str) -> dict[str, str]:
    """Return each requirement line of a lock with the lines that belong to it."""
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    return {line.split()[0]: line for line in text.splitlines() if line.strip()}


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(ROOT / "run"), *words], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def bare_path(tmp_path: Path) -> str:
    """A PATH with the few POSIX tools that ./run uses, and no Python."""
    for tool in ("sh", "dirname", "cat", "cksum"):
        found = next(Path(folder, tool) for folder in ("/usr/bin", "/bin") if Path(folder, tool).exists())
        (tmp_path / tool).symlink_to(found)
    return str(tmp_path)


def checkout_in(folder: Path) -> Path:
    """Return a checkout without .venv."""
    (folder / ".ci").mkdir(parents=True)
    for name in ("run", ".ci/prepare_venv.py", *LOCKS):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    (folder / "run").chmod(0o755)
    return folder / "run"


class TestTheLocks:
    @pytest.mark.parametrize("lock", LOCKS)
    def test_pin_everything_by_hash(self, lock: str) -> None:
        for pin, line in pins(lock).items():
            assert "==" in pin
            assert "--hash=sha256:" in line

    @pytest.mark.parametrize("lock", LOCKS)
    def test_name_no_address(self, lock: str) -> None:
        text = (ROOT / lock).read_text()
        assert "://" not in text
        assert not re.search(r"^-|^\s*--(?!hash=sha256:)", text, re.MULTILINE)

    def test_agree_so_that_the_tests_run_what_is_deployed(self) -> None:
        assert pins("requirements.txt").items() <= pins("requirements-dev.txt").items()

    def test_hold_every_dependency_that_the_project_names(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        named = {re.split(r"[\[<>=;~! ]", text)[0].lower() for text in project["dependencies"]}
        assert named <= {pin.partition("==")[0] for pin in pins("requirements.txt")}


class TestRun:
    def test_knows_each_command_it_lists_and_the_makefile_offers(self) -> None:
        script = (ROOT / "run").read_text()
        listed = set(re.findall(r"^\./run (\w+)", script, re.MULTILINE))
        handled = {
            word for case in re.findall(r"^    ([a-z-][\w |-]*)\)$", script, re.MULTILINE) for word in case.split(" | ")
        } - {"help", "-h", "--help"}
        offered = set(re.findall(r"^([a-z ]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        assert listed == handled
        assert listed - {"sentinel"} == {word for line in offered for word in line.split()} - {"help"}

    def test_refuses_what_it_does_not_know(self) -> None:
        answer = run("frobnicate", PATH=os.environ["PATH"])
        assert answer.returncode == 1
        assert "no command 'frobnicate'" in answer.stderr
        assert answer.stdout == ""

    def test_says_so_when_there_is_no_python(self, tmp_path: Path, bare_path: str) -> None:
        script = checkout_in(tmp_path / "checkout")
        answer = subprocess.run([script, "demo"], env={"PATH": bare_path}, capture_output=True, text=True, check=False)
        assert answer.returncode == 1
        assert "Python 3.11 or later is needed and was not found." in answer.stderr

    def test_says_which_package_is_missing_where_python_has_no_venv(self, tmp_path: Path, bare_path: str) -> None:
        script = checkout_in(tmp_path / "checkout")
        python = Path(bare_path, "python3")
        python.write_text("#!/bin/sh\ncase $2 in *ensurepip*) exit 1;; *print*) echo python3.11-venv;; esac\n")
        python.chmod(0o755)
        answer = subprocess.run([script, "demo"], env={"PATH": bare_path}, capture_output=True, text=True, check=False)
        assert answer.returncode == 1
        assert "apt-get install python3.11-venv" in answer.stderr


class TestTheImage:
    def test_is_sent_every_file_that_it_copies(self) -> None:
        sent = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
        copied: set[str] = set()
        for line in re.findall(r"^COPY (?!--from)(.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE):
            copied |= {source.removeprefix("./") for source in line.split()[:-1]}
        assert copied == sent

    def test_does_not_run_as_root(self) -> None:
        last_stage = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
        assert re.search(r"^USER (?!root|0)\w+$", last_stage, re.MULTILINE)

"""Prepare .venv from a hashed lock; called by ./run, uses the standard library alone.

    python -I .ci/prepare_venv.py {runtime,dev} STAMP

One process at a time works on .venv: the others wait, find the stamp and go on. A mark stands in .venv while packages
are being put into it; where one is found, the work was cut short and begins from nothing. The stamp is written last.
The project itself is not installed but found through a `.pth` file: that needs no network and no build tool, and what
is edited is what runs.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
INCOMPLETE = VENV / ".incomplete"
PYTHON = VENV / "bin" / "python"
LOCKS = {"runtime": "requirements.txt", "dev": "requirements-dev.txt"}
PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet")
INSTALL = ("install", "--no-user", "--require-hashes", "--only-binary", ":all:", "--root-user-action", "ignore")
COMMAND = """#!/bin/sh
exec "$(dirname -- "$0")/python" -m app "$@"
"""


def main(kind: str, wanted: str) -> int:
    """Prepare .venv and return the exit status."""
    wait_for_turn()
    if PYTHON.exists() and not INCOMPLETE.exists() and stamp_of(kind) == wanted:
        return 0  # another ./run did it while we waited
    unwritable = next((path for path in (VENV, ROOT) if path.exists() and not os.access(path, os.W_OK)), None)
    if unwritable is not None:
        say(f"{unwritable} cannot be written by this user (uid {os.geteuid()}), and .venv must be prepared in it.")
        say("Run this as the owner of the checkout, or make a checkout of your own.")
        return 1
    version = ".".join(map(str, sys.version_info[:3]))
    say(f"Preparing .venv with Python {version}: this happens once and takes about a minute …")
    began = time.monotonic()
    try:
        if INCOMPLETE.exists() or not works():
            clear()
            run(sys.executable, "-m", "venv", str(VENV))
        INCOMPLETE.touch()
        run(str(PYTHON), "-I", *PIP, *cache_options(), *INSTALL, "-r", str(ROOT / LOCKS[kind]))
        link_project()
    except subprocess.CalledProcessError as error:
        say(f"Preparing .venv failed (status {error.returncode}); what went wrong stands above.")
        say("Behind a proxy or a mirror, pip's own settings apply. Nothing needs to be removed: just start again.")
        return 1
    for name in LOCKS:
        if pins(name) <= pins(kind):  # the development lock holds all of the other
            (VENV / f".installed-{name}").write_text(wanted)
    INCOMPLETE.unlink()
    say(f"Ready after {time.monotonic() - began:.0f} s.")
    return 0


def wait_for_turn() -> None:
    """Lock the checkout's folder, for us and the programs we start; the kernel frees it when the last has ended."""
    folder = os.open(ROOT, os.O_RDONLY)
    os.set_inheritable(folder, True)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("Another ./run is preparing .venv; waiting for it …")
        fcntl.flock(folder, fcntl.LOCK_EX)


def stamp_of(kind: str) -> str:
    """Return what .venv says it holds."""
    try:
        return (VENV / f".installed-{kind}").read_text()
    except OSError:
        return ""


def works() -> bool:
    """Return whether .venv has a Python that is new enough, and pip."""
    try:
        return run(str(PYTHON), "-Ic", "import sys, pip; sys.exit(sys.version_info < (3, 11))", check=False) == 0
    except OSError:
        return False


def clear() -> None:
    """Empty .venv, which may itself be a link to a folder elsewhere, but for the mark."""
    VENV.mkdir(exist_ok=True)
    INCOMPLETE.touch()
    for path in VENV.iterdir():
        if path == INCOMPLETE:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def run(*words: str, check: bool = True) -> int:
    """Run a program and return its status; what it says on standard error is shown if its status matters."""
    errors = None if check else subprocess.DEVNULL
    return subprocess.run(
        words, cwd=ROOT, stdin=subprocess.DEVNULL, stderr=errors, close_fds=False, check=check
    ).returncode


def cache_options() -> tuple[str, ...]:
    """Return pip's options where there is no home folder to keep downloads in."""
    home = Path("~").expanduser()
    return () if os.access(home, os.W_OK) else ("--no-cache-dir",)


def link_project() -> None:
    """Make `import app` and the command `sentinel` find this checkout."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.run([PYTHON, "-Ic", code], check=True, capture_output=True, text=True).stdout.strip()
    Path(packages, "pharmacy_sentinel.pth").write_text(f"{ROOT}\n")
    command = VENV / "bin" / "sentinel"
    command.write_text(COMMAND)
    command.chmod(0o755)


def pins(kind: str) -> set[str]:
    """Return the pinned packages of a lock, with their markers."""
    lines = (ROOT / LOCKS[kind]).read_text().splitlines()
    return {line.rstrip("\\ ") for line in lines if "==" in line and not line.startswith(" ")}


def say(words: str) -> None:
    """Tell the person at the terminal; standard output belongs to the command that follows."""
    sys.stderr.write(f"{words}\n")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

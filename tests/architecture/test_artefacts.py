"""Nothing in the checkout names the place where it was made; nothing real is said about anybody."""

import re
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT, published

# Each is put together from pieces, so that this file does not find itself.
FORBIDDEN = {
    "a folder of somebody's machine": "|".join(
        ["/wo" + "rk/", "/tm" + "p/design", "/home" + "/[a-z]", "/Us" + "ers/", r"\.\./sha" + "red", "/tm" + "p/bash_"]
    ),
    "the address of a package registry": "|".join(
        [
            r"py" + r"pi\.",
            "pythonho" + "sted",
            "simple/ind" + "ex",
            "artifac" + "tory",
            "--index" + "-url",
            "--extra-ind" + "ex",
        ]
    ),
    "a paper that is not in the checkout": "|".join(
        ["HOU" + r"SE\.md", "DOM" + r"AIN\.md", "CONT" + r"RACT\.md", "DES" + r"IGN\.md"]
    ),
    "how the work was shared out": "|".join(
        [
            r"\bissue" + r" ?#?\d",
            r"\bsub" + "-?agents?\\b",
            "Cla" + "ude",
            "Anthr" + "opic",
            r"\bhelper " + "[A-F]\\b",
            "TO" + "DO",
            "FIX" + "ME",
        ]
    ),
    "a key": "|".join(["-----BEG" + "IN [A-Z ]*PRIV" + "ATE KEY", r"\bAKIA[0-9A-Z]{16}\b"]),
}
# The lock's own generator writes its options into ./run; the address itself is nowhere.
NOT_ADDRESSES = {"run", ".ci/prepare_venv.py"}


def text_of(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


class TestThePublishedFiles:
    @pytest.mark.parametrize("what", FORBIDDEN)
    def test_do_not_mention(self, what: str) -> None:
        pattern = re.compile(FORBIDDEN[what])
        found = {
            f"{path.relative_to(ROOT)}: {match.group()}"
            for path in published()
            if not (what.startswith("the address") and path.relative_to(ROOT).as_posix() in NOT_ADDRESSES)
            for match in pattern.finditer(text_of(path))
        }
        assert not found

    def test_were_looked_at(self) -> None:
        seen = {path.relative_to(ROOT).as_posix() for path in published()}
        assert {"run", "pyproject.toml", ".ci/run", "app/main.py", "docs/privacy.md", "tests/conftest.py"} <= seen
        assert not any(name.startswith(".venv") for name in seen)

    def test_are_text_in_utf_8_with_unix_lines(self) -> None:
        strange = set()
        for path in published():
            data = path.read_bytes()
            try:
                data.decode("utf-8")
            except UnicodeDecodeError:
                strange.add(path.name)
            if b"\r\n" in data:
                strange.add(path.name)
        assert not strange

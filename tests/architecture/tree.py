"""The checkout as the tests of this folder read it: modules with their syntax trees, and documents."""

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

CHAPTERS = (
    "core",
    "audit",
    "divisions",
    "auth",
    "people",
    "catalogue",
    "pharmacies",
    "webhooks",
    "imports",
    "regimes",
    "questionnaires",
    "registrations",
    "sales",
    "cases",
    "matching",
    "rewards",
    "alerts",
    "capture",
    "histories",
    "reports",
)
"""In the order in which they are told; each uses only those before it."""


@dataclass(frozen=True, slots=True)
class Module:
    """A Python file of the checkout."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """The path from the root, for messages."""
        return self.path.relative_to(ROOT).as_posix()


def modules(*folders: str) -> list[Module]:
    """Return every Python file below these folders."""
    found = []
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            found.append(Module(path, text, ast.parse(text)))
    assert found
    return found


def documents() -> list[Path]:
    """Return every Markdown file that is published."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def published() -> Iterator[Path]:
    """Yield every text file of the checkout; what tools leave behind lies in folders that begin with a dot."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [
            name for name in folders if name == ".ci" or not (name.startswith((".", "__")) or name.endswith("-info"))
        ]
        for name in files:
            path = Path(folder, name)
            if path.suffix not in (".pyc", ".xlsx", ".png", ".new", ".log"):
                yield path


def dotted(node: ast.AST) -> str:
    """Return `a.b.c` for a chain of attributes; the empty string for anything else."""
    if isinstance(node, ast.Attribute):
        head = dotted(node.value)
        return f"{head}.{node.attr}" if head else node.attr
    return node.id if isinstance(node, ast.Name) else ""

"""Who acts is always known: a verb that writes takes `actor` and leaves an entry in the audit trail."""

import ast
from collections.abc import Iterator

import pytest

from tests.architecture.tree import CHAPTERS, ROOT, Module, dotted, modules

EXEMPT = {
    "audit.record": "it is the trail",
    "audit.patrol_chain": "changes nothing but its own place; what it finds is told beside the trail",
    "people.ensure_people": "part of a recording verb, which says who acts",
    "registrations.record_registrations": "each submission says who sent it; one entry per key and pharmacy",
    "matching.rematch": "follows from facts that were recorded with their actors; a match keeps its rule and its evidence",
    "matching.follow_reviews": "follows from a review that was recorded with its actor",
    "capture.judge_purchases": "follows from facts that were recorded with their actors; an alert keeps what it led to",
    "alerts.raise_alerts": "follows from facts that were recorded with their actors; an alert keeps every step",
    "rewards.evaluate_cases": "the service's own act: `changes.py` writes the entries in the name of the system",
}
"""Verbs without an actor, and why."""

NOT_AUDITED = {
    *(
        "audit.record",
        "audit.patrol_chain",
        "people.ensure_people",
        "matching.rematch",
        "matching.follow_reviews",
        "alerts.raise_alerts",
    ),
    "capture.judge_purchases",
}
TRAIL = {"audit.record", "audit.record_all"}
WRITES = {"insert", "update", "delete", "session.add", "session.add_all", "session.delete"}


def arguments(verb: ast.AsyncFunctionDef) -> set[str]:
    return {argument.arg for argument in (*verb.args.args, *verb.args.kwonlyargs)}


def functions(chapter: str) -> dict[str, list[ast.AST]]:
    """Return a chapter's functions and methods by name."""
    found: dict[str, list[ast.AST]] = {}
    for module in modules(f"app/{chapter}"):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found.setdefault(node.name, []).append(node)
    return found


def reached(chapter: str, verb: ast.AST) -> set[str]:
    """Return every dotted name that a verb calls, itself or through functions of its chapter."""
    known = functions(chapter)
    seen: set[str] = set()
    waiting = [verb]
    while waiting:
        for node in ast.walk(waiting.pop()):
            name = dotted(node.func) if isinstance(node, ast.Call) else ""
            if name and name not in seen:
                seen.add(name)
                waiting += known.get(name.rpartition(".")[2], [])
    return seen


def verbs() -> Iterator[tuple[str, ast.AsyncFunctionDef]]:
    """Yield the public verbs of all chapters: what takes a session, outside of look-ups and machinery."""
    for chapter in CHAPTERS[1:]:
        rooms = [
            name
            for name in ("service", "imports", "rosters", "reviews")
            if (ROOT / "app" / chapter / f"{name}.py").exists()
        ]
        for room in rooms:
            module: Module
            [module] = [one for one in modules(f"app/{chapter}") if one.path.stem == room]
            public = [
                node for node in module.tree.body if isinstance(node, ast.AsyncFunctionDef) and node.name[0] != "_"
            ]
            yield from ((chapter, verb) for verb in public if "session" in arguments(verb))


VERBS = {f"{chapter}.{verb.name}": (chapter, verb) for chapter, verb in verbs()}
WRITING = sorted(name for name, (_, verb) in VERBS.items() if "now" in arguments(verb))
READING = sorted(set(VERBS) - set(WRITING) - {"audit.record_all", "audit.chain_entries"})


class TestAVerb:
    @pytest.mark.parametrize("name", WRITING)
    def test_that_writes_says_who_acts(self, name: str) -> None:
        assert ("actor" in arguments(VERBS[name][1])) != (name in EXEMPT and name != "audit.record")

    @pytest.mark.parametrize("name", [name for name in WRITING if name not in NOT_AUDITED])
    def test_that_writes_leaves_an_entry(self, name: str) -> None:
        assert reached(*VERBS[name]) & TRAIL

    @pytest.mark.parametrize("name", READING)
    def test_without_a_time_only_reads(self, name: str) -> None:
        assert not reached(*VERBS[name]) & WRITES

    def test_on_the_list_of_exceptions_exists(self) -> None:
        assert {*EXEMPT, *NOT_AUDITED} <= set(WRITING)

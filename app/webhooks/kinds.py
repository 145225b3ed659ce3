"""Kinds of event: each is declared once, by the chapter that publishes it, and can then be subscribed to."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_NAME = re.compile(r"^[a-z_]+\.[a-z_]+$")


@dataclass(frozen=True, slots=True)
class EventKind:
    """A kind of event: its name (`noun.past_participle`) and what it tells, in one sentence for the documentation."""

    name: str
    meaning: str


_declared: dict[str, EventKind] = {}


def declare(name: str, meaning: str) -> EventKind:
    """Declare a kind of event; call it at module level, beside the code that publishes.

    Raises:
        ValueError: the name is taken, or is not `noun.past_participle` of at most 64 characters.
    """
    if name in _declared or len(name) > 64 or not _NAME.match(name):
        raise ValueError(f"event kind {name!r} is declared twice, or is no noun.past_participle")
    _declared[name] = EventKind(name, meaning)
    return _declared[name]


def declared_kinds() -> Mapping[str, EventKind]:
    """Return all kinds that the imported chapters have declared, by name."""
    return dict(_declared)


TESTED = declare("subscription.tested", "A test event that somebody asked for; it concerns nothing else.")

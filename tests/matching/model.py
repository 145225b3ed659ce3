"""What must come out, by the words of the domain: a model that looks at every pair of a purchase and a case.

It knows nothing of hashes, blocks, batches or order. Its people are very few, so that names, phones and documents collide; how they
sound, look and lie next to each other is told here by hand. All of them are synthetic.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from app.core.clock import CHINA
from tests.factories.divisions import SHATOU
from tests.factories.identities import old_form, resident_number

CONFIRMED_ON = date(2026, 2, 15)
A, B = resident_number(1), resident_number(2)
BORN = "1970-01-01"
"""When A was."""
ELSEWHERE = "440106"
"""A district of another city than that of all pharmacies."""
_SLIPPED = old_form(A)[:13] + "9" + old_form(A)[14:]


@dataclass(frozen=True)
class Paper:
    """What is shown, the document that it is, and the text in which a slip could hide; None where a check catches it."""

    kind: str
    number: str
    document: str
    slips_in: str | None


PAPERS = {
    "A": Paper("resident_id", A, "A", None),
    "A before 1999": Paper("resident_id", old_form(A), "A", old_form(A)),
    "A with a slip": Paper("resident_id", _SLIPPED, "A'", _SLIPPED),
    "A on an insurance card": Paper("medical_insurance_card", A, "A", None),
    "B": Paper("resident_id", B, "B", None),
    "passport": Paper("passport", "E12345678", "passport", "E12345678"),
    "passport, turned": Paper("passport", "E12354678", "passport'", "E12354678"),
    "another passport": Paper("passport", "E12344478", "passport''", "E12344478"),
    "permit": Paper("hk_macau_permit", "H1234567800", "permit", "H12345678"),
    "permit renewed": Paper("hk_macau_permit", "H1234567801", "permit", "H12345678"),
    "permit, mistyped": Paper("hk_macau_permit", "H1234567901", "permit'", "H12345679"),
    "card": Paper("medical_insurance_card", "E12345678", "card", "E12345678"),
}
SOUNDS = {"王小样": 1, "汪晓阳": 1, "wang xiaoyang": 1, "李己未": 2, "李已未": 3}
LOOKS = {"王小样": 1, "汪晓阳": 2, "wang xiaoyang": 3, "李己未": 4, "李已未": 4}


@dataclass(frozen=True)
class Shown:
    """What somebody shows or what a list tells of somebody."""

    name: str | None
    phone: str | None
    paper: str | None
    told_birth: str | None = None

    def as_json(self) -> dict[str, Any]:
        paper = PAPERS[self.paper] if self.paper else None
        document = None if paper is None else {"type": paper.kind, "number": paper.number}
        return {"name": self.name, "phone": self.phone, "document": document, "birth_date": self.told_birth}

    def excerpt(self) -> "Shown":
        """Return what a list tells that knows one thing only."""
        if self.paper:
            return Shown(None, None, self.paper)
        return Shown(None, self.phone, None) if self.phone else Shown(self.name, None, None)

    def joined(self, told: "Shown") -> "Shown":
        """Return this with what it lacks and another list tells."""
        paper = self.paper or told.paper
        if paper == "A before 1999" and told.document == "A" and told.paper != paper:
            paper = "A"  # told once with its check character
        return Shown(
            self.name or told.name,
            self.phone or told.phone,
            paper,
            self.told_birth or told.told_birth,
        )

    @property
    def is_somebody(self) -> bool:
        return bool(self.name or self.phone or self.paper)

    @property
    def document(self) -> str | None:
        return PAPERS[self.paper].document if self.paper else None

    @property
    def is_resident(self) -> bool:
        return self.document in ("A", "A'", "B")

    @property
    def birth(self) -> str | None:
        return {"A": BORN, "A'": BORN, "B": BORN}.get(self.document or "", self.told_birth)

    @property
    def known_by(self) -> tuple[str | None, ...]:
        if self.document:
            return (self.document,)
        return (self.phone, self.name) if self.phone and self.name else ("born", self.birth, self.name)


def _people(name: str | None, phone: str | None, paper: str | None, birth: str | None) -> Shown:
    tells = paper is not None and PAPERS[paper].document in ("A", "A'", "B")
    return Shown(name, phone, paper, None if tells else birth)


PEOPLE = st.builds(
    _people,
    st.sampled_from([None, *["王小样"] * 6, *SOUNDS]),
    st.sampled_from([None, *["13800138000"] * 3, "13800138001"]),
    st.sampled_from([None, None, None, "A", "B", *PAPERS]),
    st.sampled_from([None, BORN, BORN, "1970-01-02"]),
).filter(lambda shown: shown.is_somebody)


@dataclass(frozen=True)
class Purchase:
    at: datetime
    buyer: Shown
    patient: Shown | None

    @property
    def people(self) -> Iterator[tuple[str, Shown]]:
        yield "buyer", self.buyer
        if self.patient:
            yield "patient", self.patient


@dataclass
class Known:
    """A case as the model knows it."""

    person: Shown
    classification: str
    onset_on: date | None
    division: str = SHATOU

    def is_near(self, at: datetime) -> bool:
        confirmed_on = CONFIRMED_ON if self.classification == "confirmed" else None
        anchor = self.onset_on or confirmed_on
        day = at.astimezone(CHINA).date()
        return anchor is None or anchor - timedelta(days=14) <= day <= anchor + timedelta(days=30)


def one_slip(one: str, other: str) -> bool:
    """Say whether two texts are one slip apart, by trying every slip."""
    letters = set(one + other)
    slips = {one[:at] + letter + one[at + 1 :] for at in range(len(one)) for letter in letters}
    slips |= {one[:at] + one[at + 1] + one[at] + one[at + 2 :] for at in range(len(one) - 1)}
    return other in slips - {one}


def are_near(one: Shown, other: Shown) -> bool:
    if one.paper is None or other.paper is None or one.document == other.document:
        return False
    mine, theirs = PAPERS[one.paper], PAPERS[other.paper]
    residents = [paper.number[:6] == A[:6] for paper in (mine, theirs)]
    if all(residents):
        if mine.slips_in is None and theirs.slips_in is None:
            return False
        forms = [paper.number if len(paper.number) == 15 else old_form(paper.number) for paper in (mine, theirs)]
        return one_slip(*forms)
    if any(residents) or mine.kind != theirs.kind:
        return False
    assert mine.slips_in is not None
    assert theirs.slips_in is not None
    return one_slip(mine.slips_in, theirs.slips_in)


def found_by(one: Shown, other: Shown, same_city: bool) -> tuple[str, str] | None:
    """Return the pass that finds two people, and its strength."""
    if one.document and one.document == other.document:
        return "document/1", "certain"
    if one.name is None or other.name is None:
        return None
    same_name = one.name == other.name
    same_phone = one.phone is not None and one.phone == other.phone
    two_people = one.is_resident and other.is_resident
    if same_name and same_phone and not two_people:
        return "phone_name/1", "strong"
    if same_name and are_near(one, other):
        return "near_document/1", "possible"
    if two_people:
        return None
    if same_name and same_city and one.birth and one.birth == other.birth:
        return "name_birth_city/1", "possible"
    if same_name or not same_phone:
        return None
    if SOUNDS[one.name] == SOUNDS[other.name]:
        return "phone_sound/1", "possible"
    return ("phone_shape/1", "possible") if LOOKS[one.name] == LOOKS[other.name] else None


Match = tuple[int, int, str, str, str, str]
"""Index of the purchase, number of the case, role, pass, strength, status."""

_WORTH = ("certain", "strong", "possible")


@dataclass
class Model:
    """All facts, and what reviewers said."""

    purchases: list[Purchase | None] = field(default_factory=list)
    """None is one that was voided."""
    cases: dict[int, Known] = field(default_factory=dict)
    said: dict[object, tuple[str, str]] = field(default_factory=dict)
    """The last act on two people, and the strength of the match that was judged."""

    def pair(self, index: int, number: int, role: str) -> object:
        """Return of whom a review of this match speaks."""
        purchase = self.purchases[index]
        assert purchase is not None
        one, other = dict(purchase.people)[role].known_by, self.cases[number].person.known_by
        return (index, role, one) if one == other else frozenset((one, other))

    def matches(self) -> Iterator[Match]:
        """Look at every pair."""
        for index, purchase in enumerate(self.purchases):
            for number, case in self.cases.items():
                if purchase is None or case.classification == "discarded" or not case.is_near(purchase.at):
                    continue
                for role, person in purchase.people:
                    found = found_by(person, case.person, case.division == SHATOU)
                    if found:
                        status = self._status(found[1], self.said.get(self.pair(index, number, role)))
                        yield index, number, role, *found, status

    @staticmethod
    def _status(strength: str, said: tuple[str, str] | None) -> str:
        act, judged = said or ("reopen", "")
        if act == "reject" and _WORTH.index(strength) >= _WORTH.index(judged):
            return "rejected"
        if strength != "possible":
            return "counted"
        return "confirmed" if act == "confirm" else "possible"

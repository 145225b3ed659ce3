"""The courses that cases take: where they go while ill, what they show there, how they come to be listed.

Most cases take the usual course, which chance decides. The table gives the others, each for something that the service must get right;
they are dealt out first. Whoever takes one of them buys nothing else in the story, so that its outcome is known for certain.
"""

from collections.abc import Callable
from dataclasses import dataclass

from app.demo.city import City


@dataclass(frozen=True, slots=True)
class Visit:
    """A visit to a pharmacy on a day between two, counted from the `story`'s start, the `onset` or the day confirmed (`confirm`).

    `place` names a pharmacy by its part; `manner` says what is special about the purchase.
    """

    since: str
    first: int
    last: int
    place: str = "near"
    manner: str = "complete"


@dataclass(frozen=True, slots=True)
class Course:
    """A course and how many cases take it at scale 1.

    `onsets` are the days on which such a case may fall ill; `confirm` the days of the story on which it may be confirmed (None: two
    to four days after onset); `path` how it comes to the list; `list_paper` whether the list has a document.
    """

    name: str
    count: int
    onsets: range
    visits: tuple[Visit, ...] = ()
    confirm: range | None = None
    path: str = "confirmed"
    list_paper: bool = True
    who: str = "adult"
    told_onset: bool = True


_ILL = Visit("onset", 0, 1)
_TYPICAL = range(2, 16)

COURSES = (
    # Those that few can take, because few fall ill at the right time.
    Course("cap", 6, range(8, 13), (Visit("onset", 0, 0, "hub"),), confirm=range(13, 14)),
    Course("list before till", 2, range(4, 8), (Visit("story", 6, 7, "long outage"),), confirm=range(8, 9)),
    Course("nothing kept", 1, range(3, 9), (Visit("story", 4, 6, "counted"),), confirm=range(9, 12)),
    Course("late", 2, range(6, 10), (Visit("story", 8, 8, "short outage"),), confirm=range(11, 13)),
    # One criterion each is the first that is not met.
    Course("sanctioned pharmacy", 2, range(8, 12), (Visit("story", 10, 11, "suspended"),), confirm=range(13, 16)),
    Course("too early", 2, range(12, 15), (Visit("story", 1, 1),), confirm=range(17, 19)),
    Course(
        "no listed drug",
        2,
        range(9, 14),
        (Visit("story", 11, 13, "all registered", "unlisted"),),
        confirm=range(15, 17),
    ),
    Course("after confirmation", 2, _TYPICAL, (Visit("confirm", 1, 1),)),
    Course("incomplete", 2, _TYPICAL, (Visit("onset", 0, 1, manner="no address"),)),
    Course("no temperature", 1, _TYPICAL, (Visit("onset", 0, 1, manner="no temperature"),)),
    Course("own staff", 2, _TYPICAL, (Visit("onset", 0, 1, "employer"),)),
    Course("second reporter", 4, _TYPICAL, (Visit("onset", 0, 0), Visit("onset", 1, 1))),
    Course("suspected only", 3, _TYPICAL, (_ILL,), path="suspected"),
    Course("suspected without onset", 1, _TYPICAL, (_ILL,), path="suspected", told_onset=False),
    # Withdrawals.
    Course(
        "withdrawn after payment",
        1,
        range(5, 11),
        (Visit("onset", 0, 1, "remote"),),
        confirm=range(12, 14),
        path="withdrawn after payment",
    ),
    Course("withdrawn when proposed", 1, range(4, 13), (_ILL,), path="withdrawn"),
    Course("withdrawn when suspected", 1, range(4, 14), (_ILL,), path="withdrawn when suspected"),
    # Identity.
    Course("known by phone and name", 4, _TYPICAL, (Visit("onset", 0, 1, manner="no papers"),), who="steady adult"),
    Course("listed without papers", 3, _TYPICAL, (_ILL,), list_paper=False, who="steady adult"),
    Course(
        "another document", 2, _TYPICAL, (Visit("onset", 0, 1, manner="other paper"),), who="steady adult of two papers"
    ),
    Course("phone alone", 2, _TYPICAL, (Visit("onset", 0, 1, manner="phone alone"),), who="steady adult"),
    Course("patient of a parent", 4, _TYPICAL, (Visit("onset", 0, 1, manner="by another"),), who="child"),
    Course("carer", 2, _TYPICAL, (Visit("onset", 0, 1, manner="for another"),), who="carer"),
    Course("listed by name first", 2, _TYPICAL, (_ILL,), path="by name first"),
    # Second thoughts and others.
    Course("not for sale", 1, range(11, 15), (Visit("story", 13, 14, "closed off"),), confirm=range(16, 18)),
    Course("complete at last", 2, _TYPICAL, (Visit("onset", 0, 0, manner="no address"), Visit("onset", 1, 1, "again"))),
    Course("no purchase", 8, _TYPICAL, who="anybody"),
    Course("never found", 4, range(8, 18), (_ILL,), path="never"),
)


def _steady(city: City, resident: int) -> bool:
    return city.is_grown_up(resident) and city.residents[resident].next_phone is None


WHO: dict[str, Callable[[City, int], bool]] = {
    "anybody": lambda city, resident: True,
    "adult": lambda city, resident: city.is_grown_up(resident),
    "steady adult": _steady,
    "steady adult of two papers": lambda city, resident: (
        _steady(city, resident) and len(city.residents[resident].papers) > 1
    ),
    "child": lambda city, resident: not city.is_grown_up(resident) and bool(city.grown_ups_beside(resident)),
    "carer": lambda city, resident: city.is_grown_up(resident) and len(city.household_of(resident).members) > 1,
}
"""Who can take a course: a steady adult keeps one phone throughout."""

"""The health authority's list: twice a day what is new, in pieces that overlap, with the slips of busy people.

Each list repeats what the one before had brought. Now and then a row is mistyped and comes right with the next list, an old piece is sent
once more after the case has gone on, or a copy says another onset.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from random import Random

from app.demo.casting import USUAL, Illness
from app.demo.city import STREETS, City
from app.demo.papers import Hand, Kind, Paper, check_character
from app.demo.script import DAYS, Action, Calendar, Hour, Json, Reclassify, Row, UploadCases
from app.demo.stage import DISEASE

AUTHORITY = "440304-CDC"
LIST_HOURS = (11, 18)
LIST_MINUTE = 30
"""Between the hours in which tills send: what had been sent before is matched by then, so it is known who is told of what."""
PIECE_ROWS = 6
MISTYPED, STALE, CONTRADICTED = 2, 2, 2
"""Cases at scale 1 whose row is mistyped at first, sent again as it once was, and sent with another onset."""


@dataclass(frozen=True, slots=True)
class KnownCase:
    """A case as the authority's list has it when the story ends.

    `listed` are the lists that classified it, from the first that told more than a name.
    """

    number: str
    resident: int
    course: str
    classification: str
    onset_day: int | None
    confirmed_at: datetime | None
    was_confirmed_at: datetime | None
    paper: Paper | None
    phone: str | None
    paid_before: bool
    listed: tuple[tuple[datetime, str], ...]


@dataclass(slots=True)
class _File:
    """A case's folder: its illness, its number and the rows it goes through, with the list from which on each holds."""

    illness: Illness
    number: str
    rows: list[tuple[datetime, Json]]
    spoilt: Json | None = None

    def row_at(self, instant: datetime) -> Json | None:
        """Return the row as it stands at a list, or None before the first and after a withdrawal."""
        withdrawn_at = self.illness.withdrawn_at
        if withdrawn_at is not None and withdrawn_at <= instant:
            return None
        rows = [row for since, row in self.rows if since <= instant]
        return rows[-1] if rows else None


class CaseLists:
    """Writes the lists and keeps what they add up to."""

    def __init__(self, rng: Random, city: City, calendar: Calendar, illnesses: list[Illness], scale: float) -> None:
        """Open a file for each case that is found before the last list."""
        self._rng = rng
        self._city = city
        self._calendar = calendar
        self._hand = Hand(rng, 0.1)
        times = [calendar.at(day, hour, LIST_MINUTE) for day in range(DAYS + 1) for hour in LIST_HOURS]
        self._times = [time for time in times if time <= calendar.last_hour]
        self._files = self._open_files(illnesses)
        self._extra: dict[datetime, list[Row]] = {}
        self._make_mistakes(scale)

    def hours(self) -> list[Hour]:
        """Return the uploads and the withdrawals."""
        hours = []
        before: datetime | None = None
        for time in self._times:
            rows = list(self._rows(before, time))
            if rows:
                hours.append(Hour(time, True, tuple(self._pieces(rows))))
            before = time
        for file in self._files:
            withdrawn_at = file.illness.withdrawn_at
            if withdrawn_at is not None and withdrawn_at <= self._calendar.last_hour:
                body: Json = {
                    "classification": "discarded",
                    "reason": "Second test negative (synthetic)",
                    "confirmed_at": None,
                }
                hours.append(Hour(withdrawn_at, True, (Reclassify(AUTHORITY, file.number, body),)))
        return hours

    def known(self) -> list[KnownCase]:
        """Return every case on the list, as it stands at the end."""
        cases = []
        for file in self._files:
            illness = file.illness
            row = file.rows[-1][1]
            discarded = illness.withdrawn_at is not None and illness.withdrawn_at <= self._calendar.last_hour
            listed_confirmed = illness.confirmed_at if row["classification"] == "confirmed" else None
            cases.append(
                KnownCase(
                    file.number,
                    illness.resident,
                    illness.course,
                    "discarded" if discarded else row["classification"],
                    illness.infection.onset_day if illness.told_onset else None,
                    None if discarded else listed_confirmed,
                    listed_confirmed,
                    illness.paper if row["person"]["document"] else None,
                    illness.phone if row["person"]["phone"] else None,
                    illness.paid_before,
                    tuple((time, row["classification"]) for time, row in file.rows if _tells_more_than_a_name(row)),
                )
            )
        return cases

    def _open_files(self, illnesses: list[Illness]) -> list[_File]:
        found = []
        for illness in illnesses:
            listed = [
                (time, classification)
                for since, classification in illness.stages
                if (time := self._list_after(since)) is not None
            ]
            if listed:
                found.append((listed, illness))
        found.sort(key=lambda entry: (entry[0][0][0], entry[1].resident))
        numbers: Counter[str] = Counter()
        files = []
        for listed, illness in found:
            day = f"{listed[0][0]:%Y-%m%d}"
            numbers[day] += 1
            number = f"{day}-{numbers[day]:03d}"
            person = self._person(illness)
            rows: list[tuple[datetime, Json]] = []
            for place, (time, classification) in enumerate(listed):
                bare = illness.by_name_first and place == 0
                shown = {**person, "document": None, "phone": None} if bare else person
                # Two stages between two lists: only the later one is ever listed.
                rows = [entry for entry in rows if entry[0] != time]
                rows.append((time, self._row(illness, number, classification, shown)))
            files.append(_File(illness, number, rows))
        return files

    def _list_after(self, instant: datetime) -> datetime | None:
        return next((time for time in self._times if time > instant), None)

    def _person(self, illness: Illness) -> Json:
        name = self._city.residents[illness.resident].name
        document = None
        if illness.paper is not None:
            document = {"type": illness.paper.kind.value, "number": self._hand.document(illness.paper)}
        return {"name": self._hand.name(name), "document": document, "phone": self._hand.phone(illness.phone)}

    def _row(self, illness: Illness, number: str, classification: str, person: Json) -> Json:
        confirmed_at = illness.confirmed_at if classification == "confirmed" else None
        onset = self._calendar.on(illness.infection.onset_day).isoformat() if illness.told_onset else None
        return {
            "authority": AUTHORITY,
            "case_number": number,
            "disease": DISEASE,
            "classification": classification,
            "person": person,
            "onset_on": onset,
            "confirmed_at": confirmed_at.isoformat() if confirmed_at else None,
            "division": STREETS[self._city.street_of(illness.resident)].code,
        }

    def _rows(self, before: datetime | None, time: datetime) -> Iterator[Row]:
        """Give what is new since the list before, then once more what that one had brought."""
        index = self._times.index(time)
        earlier = self._times[index - 2] if index > 1 else None
        for file in self._files:
            if file.spoilt is not None and file.rows[0][0] == self._times[min(index + 1, len(self._times) - 1)] != time:
                yield Row(file.spoilt, ("invalid",))
            now, then = file.row_at(time), file.row_at(before) if before else None
            if now is None:
                continue
            if then is None:
                yield Row(now, ("created",))
            elif now != then:
                yield Row(now, ("updated",))
            elif earlier is not None and file.row_at(earlier) != now:
                yield Row(now, ("duplicate",))
        yield from self._extra.get(time, [])

    def _pieces(self, rows: list[Row]) -> Iterator[Action]:
        """Give the rows in pieces; each piece begins with the last row of the one before."""
        last: Row | None = None
        for start in range(0, len(rows), PIECE_ROWS):
            piece = rows[start : start + PIECE_ROWS]
            more = start + PIECE_ROWS < len(rows)
            if last is not None:
                piece = [last, *piece]
            if more and piece[-1].expected in (("created",), ("updated",)):
                piece[-1] = Row(piece[-1].body, (*piece[-1].expected, "duplicate"))
            last = piece[-1]
            yield UploadCases(tuple(piece))

    def _make_mistakes(self, scale: float) -> None:
        usual = [
            file for file in self._files if file.illness.course == USUAL and file.rows[-1][0] < self._calendar.at(16, 0)
        ]
        fresh = [file for file in usual if len(file.rows) == 1 and _is_checked(file.illness.paper)]
        for file in self._sample(fresh, MISTYPED, scale):
            first, row = file.rows[0]
            following = self._times[self._times.index(first) + 1]
            spoilt = {"type": Kind.RESIDENT_ID.value, "number": _mistype(file.illness.paper)}
            file.spoilt = {**row, "person": {**row["person"], "document": spoilt}}
            file.rows = [(following, row)]
        upgraded = [file for file in usual if len(file.rows) > 1]
        for file in self._sample(upgraded, STALE, scale):
            self._add_conflict(file, file.rows[0][1])
        settled = [file for file in usual if file.spoilt is None and len(file.rows) == 1 and file.illness.told_onset]
        for file in self._sample(settled, CONTRADICTED, scale):
            row = file.rows[0][1]
            other = self._calendar.on(file.illness.infection.onset_day - 1).isoformat()
            self._add_conflict(file, {**row, "onset_on": other})

    def _add_conflict(self, file: _File, row: Json) -> None:
        time = self._times[self._times.index(file.rows[-1][0]) + 3]
        self._extra.setdefault(time, []).append(Row(row, ("conflict",)))

    def _sample(self, files: list[_File], count: int, scale: float) -> list[_File]:
        return self._rng.sample(files, min(len(files), max(1, round(count * scale))))


def _tells_more_than_a_name(row: Json) -> bool:
    return row["person"]["document"] is not None or row["person"]["phone"] is not None


def _is_checked(paper: Paper | None) -> bool:
    return paper is not None and paper.kind is Kind.RESIDENT_ID


def _mistype(paper: Paper | None) -> str:
    """Return the number with the wrong check character."""
    assert paper is not None
    right = check_character(paper.number[:17])
    return paper.number[:17] + ("1" if right == "0" else "0")

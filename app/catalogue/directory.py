"""The catalogue in memory: every list, and the resolver of a place on a day."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from app.catalogue.rules import Entry, Resolver, in_force
from app.catalogue.vocabulary import AliasKind, DrugKind
from app.catalogue.wording import Wording

_MOST_PLACES = 10_000


@dataclass(frozen=True, slots=True)
class Limit:
    """How many packs one purchase may hold, and one buyer may buy within so many days; None: any number."""

    most_per_purchase: int | None
    most_per_buyer: int | None
    within_days: int | None


@dataclass(frozen=True, slots=True)
class Drug:
    """A listed drug."""

    id: UUID
    list_id: UUID
    list_code: str
    wording: str
    meaning: Wording
    kind: DrugKind
    name_en: str
    syndrome: str
    confirmed: bool
    source_url: str | None
    aliases: tuple[tuple[AliasKind, str], ...]
    limit: Limit | None


@dataclass(frozen=True, slots=True)
class Listing:
    """One version of a list."""

    id: UUID
    code: str
    version: int
    name: str
    division: str
    valid_from: date
    valid_to: date | None
    published_size: int | None
    source: str
    drugs: tuple[Drug, ...]


@dataclass(frozen=True, slots=True)
class Edition:
    """What holds at a place on a day: the lists, narrowest and newest first; a resolver; a fingerprint of it all."""

    lists: tuple[Listing, ...]
    resolver: Resolver
    fingerprint: str


class Directory:
    """Every list that was ever loaded. Immutable but for its memory of editions, which changes no answer."""

    def __init__(self, lists: Sequence[Listing]) -> None:
        self._lists = sorted(lists, key=_preference)
        self.drugs: Mapping[UUID, Drug] = {drug.id: drug for listing in self._lists for drug in listing.drugs}
        self._entries: dict[tuple[str, str], list[UUID]] = {}
        for drug in self.drugs.values():
            self._entries.setdefault((drug.list_code, drug.wording), []).append(drug.id)
        limits = [drug.limit for drug in self.drugs.values() if drug.limit is not None]
        self.limits_purchases = any(limit.most_per_purchase for limit in limits)
        self.limits_buyers = any(limit.most_per_buyer for limit in limits)
        self._places: dict[tuple[str, date], Edition] = {}
        self._editions: dict[tuple[UUID, ...], Edition] = {}

    def edition(self, division: str, day: date) -> Edition:
        """Return what holds in a division on a calendar day in China."""
        place = (division, day)
        known = self._places.get(place)
        if known is None:
            holding = tuple(
                listing
                for listing in self._lists
                if in_force(division, day, listing.division, listing.valid_from, listing.valid_to)
            )
            key = tuple(listing.id for listing in holding)
            known = self._editions.get(key) or self._editions.setdefault(key, _edition(holding))
            if len(self._places) >= _MOST_PLACES:
                self._places.clear()
            self._places[place] = known
        return known

    def resolver_for(self, division: str, day: date) -> Resolver:
        """Return the resolver for a division on a calendar day in China."""
        return self.edition(division, day).resolver

    def drug(self, drug_id: UUID) -> Drug:
        """Return a listed drug by its id.

        Raises:
            KeyError: there is none.
        """
        return self.drugs[drug_id]

    def versions_of(self, drug_id: UUID) -> Sequence[UUID]:
        """Return the ids that an entry has in the versions of its list; those with another wording are other entries."""
        drug = self.drugs[drug_id]
        return self._entries[drug.list_code, drug.wording]

    def newest_of(self, drug_id: UUID) -> UUID:
        """Return one id for an entry, whichever version of its list it stands in."""
        return self.versions_of(drug_id)[0]


def _preference(listing: Listing) -> tuple[int, int, str, int]:
    return (-len(listing.division), -listing.valid_from.toordinal(), listing.code, -listing.version)


def _edition(lists: tuple[Listing, ...]) -> Edition:
    drugs = [drug for listing in lists for drug in listing.drugs]
    resolver = Resolver(
        [Entry(drug.id, drug.meaning, drug.kind) for drug in drugs],
        ((drug.id, kind, value) for drug in drugs for kind, value in drug.aliases),
    )
    content = (
        [(str(listing.id), str(listing.valid_to)) for listing in lists],
        [(str(drug.id), drug.aliases, drug.limit) for drug in drugs],
    )
    return Edition(lists, resolver, hashlib.sha256(repr(content).encode()).hexdigest()[:32])

"""The shipped lists as a resolver sees them, without a database."""

import csv
from functools import cache
from importlib.resources import files
from uuid import NAMESPACE_URL, UUID, uuid5

from app.catalogue.rules import Entry, Resolver
from app.catalogue.vocabulary import AliasKind, DrugKind
from app.catalogue.wording import parse_wording


@cache
def rows() -> tuple[dict[str, str], ...]:
    text = (files("app.catalogue") / "data" / "catalogue.csv").read_text("utf-8")
    return tuple(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))


def drug_id(wording: str) -> UUID:
    return uuid5(NAMESPACE_URL, wording)


def entry(wording: str, kind: DrugKind = DrugKind.CHEMICAL) -> Entry:
    return Entry(drug_id(wording), parse_wording(wording), kind)


def resolver(*lists: str, aliases: tuple[tuple[str, AliasKind, str], ...] = ()) -> Resolver:
    entries = [entry(row["wording"], DrugKind(row["kind"])) for code in lists for row in rows() if row["list"] == code]
    return Resolver(entries, [(drug_id(wording), kind, value) for wording, kind, value in aliases])


def words(found: UUID | None) -> str | None:
    return next((row["wording"] for row in rows() if drug_id(row["wording"]) == found), None)

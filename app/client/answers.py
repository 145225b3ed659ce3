"""What the service answers, and what can go wrong. Members that a later version adds are passed over."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with, or noteworthy about, one field: a JSON pointer into what was sent, and a stable code."""

    pointer: str
    code: str
    detail: str


class ClientError(Exception):
    """Whatever this client raises. Its text never holds anything of a purchase."""


class Problem(ClientError):
    """The service has refused the request: problem details (RFC 9457) with a stable `code`."""

    def __init__(self, status: int, document: Json) -> None:
        self.status = status
        self.code = str(document["code"])
        self.title = str(document.get("title", ""))
        self.detail = str(document.get("detail", ""))
        self.errors = _field_errors(document.get("errors", ()))
        self.request_id = str(document.get("request_id", ""))
        super().__init__(f"{status} {self.code}")


class Unavailable(ClientError):
    """No answer, or one that says "later", as often as was tried. `code` is the problem's, or the kind of network error."""

    def __init__(self, code: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        self.code = code
        self.status = status
        self.retry_after = retry_after
        super().__init__(code if status is None else f"{status} {code}")


class UnexpectedAnswer(ClientError):
    """Somebody answered, but hardly the service: a proxy, a login page of the network, another version."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"an answer with status {status} that is not the service's")


@dataclass(frozen=True, slots=True)
class Advice:
    """What the clerk must do now; `text` is in the client's language."""

    code: str
    zh: str
    en: str
    text: str


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What a line of the receipt resolved to."""

    status: str
    drug_id: str | None
    drug: str | None


@dataclass(frozen=True, slots=True)
class Registered:
    """The answer to one purchase. `is_new` is false if it had been kept before; `raw` is all that was answered."""

    id: str
    is_new: bool
    received_at: datetime
    revision: int
    items: tuple[ItemResult, ...]
    flags: tuple[str, ...]
    advice: tuple[Advice, ...]
    warnings: tuple[FieldError, ...]
    raw: Json


@dataclass(frozen=True, slots=True)
class RowResult:
    """What became of one row: `created`, `duplicate`, `conflict`, `invalid` or `not_required`. `id` is there if it is kept."""

    index: int
    status: str
    id: str | None
    errors: tuple[FieldError, ...]


@dataclass(frozen=True, slots=True)
class Resolved:
    """The listed drug that a product is; without a drug it is unlisted."""

    drug_id: str | None
    drug: str | None
    resolved_by: str | None
    warnings: tuple[str, ...]
    unknown_codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListedDrug:
    """A drug whose purchase must be registered, with what it is known by."""

    id: str
    list: str
    wording: str
    syndrome: str
    gtins: tuple[str, ...]
    approval_numbers: tuple[str, ...]
    trace_prefixes: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The listed drugs at a place on a day, and the tag by which to ask whether they still hold."""

    etag: str
    drugs: tuple[ListedDrug, ...]
    raw: Json


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask the buyer. `type` is `yes_no`, `number`, `single_choice` or `multiple_choice`; `raw` has bounds and choices."""

    code: str
    type: str
    zh: str
    en: str
    required: bool
    raw: Json


@dataclass(frozen=True, slots=True)
class Questionnaires:
    """What to ask at a place on a day, disease by disease, and the tag by which to ask whether it still holds."""

    etag: str
    questions: tuple[Question, ...]
    raw: Json


def _field_errors(errors: Iterable[Json]) -> tuple[FieldError, ...]:
    return tuple(
        FieldError(str(error["pointer"]), str(error["code"]), str(error.get("detail", ""))) for error in errors
    )


def registered(body: Json, *, is_new: bool) -> Registered:
    return Registered(
        id=str(body["id"]),
        is_new=is_new,
        received_at=datetime.fromisoformat(body["received_at"]),
        revision=int(body["revision"]),
        items=tuple(ItemResult(item["status"], item["drug_id"], item["drug"]) for item in body["items"]),
        flags=tuple(body["flags"]),
        advice=tuple(
            Advice(advice["code"], advice["zh"], advice["en"], advice.get("text", advice["zh"]))
            for advice in body["advice"]
        ),
        warnings=_field_errors(body["warnings"]),
        raw=body,
    )


def row_results(body: Json, count: int) -> tuple[RowResult, ...]:
    results = tuple(
        RowResult(row["index"], str(row["status"]), row["id"], _field_errors(row["errors"])) for row in body["results"]
    )
    if [result.index for result in results] != list(range(count)):
        raise ValueError("not one result per row")
    return results


def resolved(item: Json) -> Resolved:
    drug = item["drug"] or {"id": None, "wording": None}
    return Resolved(
        drug["id"], drug["wording"], item["resolved_by"], tuple(item["warnings"]), tuple(item["unknown_codes"])
    )


def catalogue(body: Json, etag: str) -> Catalogue:
    kinds: tuple[Literal["gtins", "approval_numbers", "trace_prefixes", "names"], ...]
    kinds = ("gtins", "approval_numbers", "trace_prefixes", "names")
    drugs = tuple(
        ListedDrug(
            drug["id"],
            drug["list"],
            drug["wording"],
            drug["syndrome"],
            *(tuple(drug["aliases"][kind]) for kind in kinds),
        )
        for drug in body["drugs"]
    )
    return Catalogue(etag, drugs, body)


def questionnaires(body: Json, etag: str) -> Questionnaires:
    questions = {
        question["code"]: Question(
            question["code"], question["type"], question["zh"], question["en"], bool(question["required"]), question
        )
        for one in body["questionnaires"]
        for question in one["questions"]
    }
    return Questionnaires(etag, tuple(questions.values()), body)

"""Many rows in one body: a JSON array, or one JSON object a line (NDJSON); one result per row.

Each row is read on its own: what cannot be read becomes the result of that row and never refuses the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from fastapi import Request
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from app.core.errors import AppError, FieldError, InvalidRequest, UnsupportedMediaType
from app.core.http import header
from app.core.schemas import FieldErrorOut, RowResult, RowStatus
from app.core.validation import BODY, field_errors, refusal

JSON = "application/json"
NDJSON = "application/x-ndjson"
MAX_ROWS = 10_000
MAX_BYTES = 32 * 1024 * 1024
ROWS_PER_TRANSACTION = 1_000

Row = TypeVar("Row", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that does not have the form that it should have."""

    errors: tuple[FieldError, ...]


class RowReader(Generic[Row]):
    """Reads rows of one kind straight from bytes, without building the intermediate objects of `json.loads`."""

    def __init__(self, row: type[Row]) -> None:
        self._row = TypeAdapter(row)
        bounds = Field(min_length=1, max_length=MAX_ROWS)
        sound: Any = Annotated[list[row], bounds]  # type: ignore[valid-type]
        # Nearly every batch is sound and is read in one go; only one that is not is read again, row by row.
        self._sound: TypeAdapter[list[Row]] = TypeAdapter(sound)
        one: Any = Annotated[row, WrapValidator(_read_or_note)]
        many: Any = Annotated[list[one], bounds]
        self._rows: TypeAdapter[list[Row | Unreadable]] = TypeAdapter(many)
        self.schema = row.model_json_schema(ref_template="#/components/schemas/{model}")

    async def one(self, request: Request) -> Row:
        """Return the row in a body.

        Raises:
            UnsupportedMediaType: the body is not said to be JSON.
            MalformedBody, InvalidRequest: as `read`.
        """
        return self.read(await self.body(request))

    async def body(self, request: Request) -> bytes:
        """Return a body that is to be read as one row.

        Raises:
            UnsupportedMediaType: it is not said to be JSON.
        """
        _media_type(request, JSON)
        return await request.body()

    def read(self, body: bytes) -> Row:
        """Return the row that a body holds.

        Raises:
            MalformedBody: it is not JSON in UTF-8.
            InvalidRequest: it does not have the form of a row.
        """
        try:
            return self._row.validate_json(body)
        except ValidationError as error:
            raise refusal(error) from None

    async def many(self, request: Request) -> Sequence[Row | Unreadable]:
        """Return the rows of a JSON array or an NDJSON body; blank lines do not count.

        Raises:
            UnsupportedMediaType: the body is said to be neither.
            MalformedBody: a JSON body is not JSON in UTF-8. (A bad line of NDJSON is that row's result.)
            InvalidRequest: there are not 1 to 10,000 rows.
        """
        kind = _media_type(request, JSON, NDJSON)
        body = await request.body()
        if kind == NDJSON:
            return self._lines(body)
        try:
            return self._sound.validate_json(body)
        except ValidationError:
            pass
        try:
            return self._rows.validate_json(body)
        except ValidationError as error:
            raise refusal(error) from None

    def _lines(self, body: bytes) -> Sequence[Row | Unreadable]:
        # Lines are counted before they are split: 32 MiB of line feeds would make a list of a quarter of a gigabyte.
        lines = [] if body.count(b"\n") > 2 * MAX_ROWS else [line for line in body.split(b"\n") if line.strip()]
        if not 1 <= len(lines) <= MAX_ROWS:
            raise InvalidRequest(errors=[FieldError("", "row_count", f"A batch has 1 to {MAX_ROWS} rows")])
        try:
            sound = self._sound.validate_json(b"[" + b",".join(lines) + b"]")
        except ValidationError:
            sound = []
        if len(sound) == len(lines):  # and no line held two rows
            return sound
        rows: list[Row | Unreadable] = []
        for line in lines:
            try:
                rows.append(self._row.validate_json(line))
            except ValidationError as error:
                rows.append(Unreadable(tuple(field_errors(error, within=BODY))))
        return rows

    def documented(self, *, many: bool = False) -> dict[str, Any]:
        """Return what the OpenAPI document must be told, since the body is read by hand."""
        content: dict[str, Any] = {JSON: {"schema": self.schema}}
        if many:
            content = {
                JSON: {"schema": {"type": "array", "minItems": 1, "maxItems": MAX_ROWS, "items": self.schema}},
                NDJSON: {"schema": {"type": "string", "description": "One row of the same form a line"}},
            }
        return {"requestBody": {"required": True, "content": content}}


def refused(index: int, status: RowStatus, errors: Sequence[FieldError]) -> RowResult:
    """Return the result of a row that was not kept."""
    return RowResult(index=index, status=status, id=None, errors=shown(errors))


def refused_by(index: int, status: RowStatus, error: AppError) -> RowResult:
    """Return the result of a row that an error refused."""
    return RowResult(index=index, status=status, id=None, errors=refusals(error))


def refusals(error: AppError) -> list[FieldErrorOut]:
    """Return what a row that an error refused is told: its pointers, or else its code for the row as a whole."""
    return shown(error.errors or (FieldError("", error.code, error.detail or error.title),))


def kept(index: int, status: RowStatus, row_id: UUID) -> RowResult:
    """Return the result of a row that is stored."""
    return RowResult(index=index, status=status, id=row_id, errors=[])


def shown(errors: Sequence[FieldError]) -> list[FieldErrorOut]:
    """Return field errors as they are answered."""
    return [FieldErrorOut(pointer=e.pointer, code=e.code, detail=e.detail) for e in errors]


def _read_or_note(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    try:
        return read(value)
    except ValidationError as error:
        return Unreadable(tuple(field_errors(error, within=BODY)))


def _media_type(request: Request, *allowed: str) -> str:
    kind = header(request, b"content-type").partition(";")[0].strip().lower()
    if kind not in allowed or header(request, b"content-encoding", "identity") != "identity":
        raise UnsupportedMediaType(f"Send {' or '.join(allowed)}, not compressed")
    return kind

"""Declaring what a division requires."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import service as audit
from app.auth.rules import Actor
from app.core.errors import AppError, FieldError, OutOfDivision
from app.core.ids import new_id
from app.core.snapshots import changed
from app.divisions.service import require_known
from app.regimes.models import RegimeState
from app.regimes.queries import REGIMES, states_of
from app.regimes.rules import RequiredField, Span, is_ended_by, overlaps
from app.regimes.schemas import RegimeIn


class RegimeOverlap(AppError):
    """The division already has a state for this disease on some of these days, and not one that this one may simply end."""

    status, code, title = 409, "regime_overlap", "The division already has a state on these days"


async def declare_regime(session: AsyncSession, declared: RegimeIn, *, actor: Actor, now: datetime) -> RegimeState:
    """Put a division into a state for a disease.

    A state until further notice that began earlier ends where the new one begins; it does not come back when the new one
    ends. No other state may share a day with the new one.

    Raises:
        OutOfDivision: the division lies outside the actor's own.
        DivisionUnknown: there is no such division.
        RegimeOverlap: another state shares a day with it.
    """
    if not actor.sees(declared.division):
        raise OutOfDivision(errors=[FieldError("/division", "out_of_division", "Not within your division")])
    await require_known(session, declared.division)
    # Also the lock under which states are compared: whoever declares a state next waits here until this one is committed.
    await changed(session, REGIMES.name)
    new = Span(declared.valid_from, declared.valid_to)
    ended = None
    for state in await states_of(session, declared.division, declared.disease):
        existing = Span(state.valid_from, state.valid_to)
        if not overlaps(existing, new):
            continue
        if not is_ended_by(existing, new):
            raise RegimeOverlap(
                f"There is a state from {state.valid_from} to {state.valid_to or 'further notice'}",
                errors=[FieldError("/valid_from", "regime_overlap", "Another state holds on some of these days")],
            )
        state.valid_to = declared.valid_from
        ended = state
    await (
        session.flush()
    )  # first the earlier state ends, then the new one begins: the exclusion constraint looks at each row
    state = RegimeState(
        id=new_id(),
        division=declared.division,
        disease=declared.disease,
        state=declared.state,
        valid_from=declared.valid_from,
        valid_to=declared.valid_to,
        required=[field.value for field in RequiredField if field in declared.required],
        reason=declared.reason,
        declared_by=actor.account_id,
        declared_at=now,
    )
    session.add(state)
    await session.flush()
    await audit.record(
        session,
        actor=actor,
        now=now,
        action="regime.declared",
        subject=("regime", state.id),
        division=state.division,
        detail={
            "disease": state.disease,
            "state": state.state.value,
            "valid_from": state.valid_from.isoformat(),
            "valid_to": state.valid_to and state.valid_to.isoformat(),
            "required": state.required,
            "ended": ended and str(ended.id),
        },
    )
    return state

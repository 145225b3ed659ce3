"""Is the process alive, can it serve, and how much has it done? The only routes that need no key."""

from collections.abc import Sequence
from typing import Literal

from fastapi import Response
from sqlalchemy import text

from app.core import metrics
from app.core.database import trouble
from app.core.errors import DatabaseUnavailable
from app.core.http import Built, Router, Transaction
from app.core.jobs import QueueState, queue_states
from app.core.schemas import Out

router = Router(tags=["health"])


class Health(Out):
    """The state of the service."""

    status: Literal["ok"]


@router.get("/healthz")
async def check_health() -> Health:
    """Say that the process runs."""
    return Health(status="ok")


@router.get("/readyz", responses={503: {"description": DatabaseUnavailable.title}})
async def check_readiness(session: Transaction) -> Health:
    """Say that the service can answer: its database does, and has its tables."""
    await session.execute(text("SELECT 1 FROM versions LIMIT 1"))
    return Health(status="ok")


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def read_metrics(built: Built) -> Response:
    """Give the figures of this process, and of the queue while the database answers, in Prometheus' text format."""
    queue: Sequence[QueueState] = ()
    try:
        async with built.database.transaction() as session:
            queue = await queue_states(session)
    except Exception as error:
        if trouble(error) is None:
            raise
    return Response(metrics.exposition(queue), media_type="text/plain; version=0.0.4")

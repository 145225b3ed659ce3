"""`python -m app.till`: the till alone. Needs httpx and click, and starts ten times faster than with the service's commands beside it."""

from app.till.command import till

till(prog_name="sentinel till")

"""Logs: one JSON object a line on standard error; never a query string, a body or a database message.

PostgreSQL's messages quote rows ("Key (name)=(…) already exists"), so an exception is logged as its type and the places it
passed through, never by its text.
"""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; extra members of the record become members of the object."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            # Others' first line only: asyncio's next one quotes the exception, and with it the database.
            "message": record.getMessage().partition("\n")[0],
        }
        line.update({key: value for key, value in vars(record).items() if key not in _STANDARD})
        if record.exc_info and record.exc_info[0] is not None:
            error = record.exc_info[1]
            line["exception"] = record.exc_info[0].__name__
            line["cause"] = type(error.__cause__).__name__ if error is not None and error.__cause__ else None
            frames = traceback.extract_tb(record.exc_info[2])
            line["stack"] = [
                f"{frame.filename.rpartition('site-packages/')[2]}:{frame.lineno} {frame.name}" for frame in frames
            ]
        return json.dumps(line, ensure_ascii=False, default=str)


def logger(name: str) -> logging.Logger:
    """Return the logger `sentinel.<name>`."""
    return logging.getLogger(f"sentinel.{name}")


def configure(level: str) -> None:
    """Send every log line of this process to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("sentinel").setLevel(level)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.access").disabled = True  # its lines hold the raw path with its query string

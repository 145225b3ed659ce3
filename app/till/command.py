"""`sentinel till`: the command line of a till."""

import logging
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from app.client.client import Client, Patience
from app.till.folder import Folder, Watch
from app.till.rounds import Keeping, Till
from app.till.sender import Sender, TokenUnreadable
from app.till.spool import Spool, SpoolInUse, alone, is_held
from app.till.status import read_status

REFUSED, USAGE, WAITING = 1, 2, 3
"""Exit statuses: rows were refused; the command or its folder is wrong; something is not sent yet."""
TOKEN_VARIABLE = "SENTINEL_TILL_TOKEN"  # noqa: S105

log = logging.getLogger("sentinel.till")


class _Stopped(BaseException):
    """Somebody asked the till to end. Every step may be cut off, so it does at once."""


folder_option = click.option(
    "--folder",
    "root",
    required=True,
    envvar="SENTINEL_TILL_FOLDER",
    show_envvar=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the POS drops its files; on a disk of this machine.",
)


@click.group(invoke_without_command=True)
@click.option(
    "--folder",
    "root",
    envvar="SENTINEL_TILL_FOLDER",
    show_envvar=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the POS drops its files; on a disk of this machine.",
)
@click.option("--url", envvar="SENTINEL_TILL_URL", show_envvar=True, help="The service: https://…")
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"File that holds the token; read anew for each batch. Without it, the token is in {TOKEN_VARIABLE}.",
)
@click.option("--once", is_flag=True, help="Send what is there, and end.")
@click.option(
    "--poll-seconds", default=2.0, show_default=True, type=click.FloatRange(0.05, 3600), help="Between looks."
)
@click.option(
    "--settle-seconds",
    default=2.0,
    show_default=True,
    type=click.FloatRange(0.05, 3600),
    help="A file is complete when it has not changed for so long.",
)
@click.option(
    "--timeout-seconds",
    default=30.0,
    show_default=True,
    type=click.FloatRange(0.1, 600),
    help="How long the line may be silent before a batch is sent again.",
)
@click.option(
    "--keep-sent-days", default=7, show_default=True, type=click.IntRange(0, 3650), help="Then sent files are deleted."
)
@click.option(
    "--keep-refused-days",
    default=35,
    show_default=True,
    type=click.IntRange(1, 3650),
    help="Then refused rows and files are deleted; the service takes purchases of the last 30 days.",
)
@click.pass_context
def till(
    context: click.Context,
    root: Path | None,
    url: str | None,
    token_file: Path | None,
    once: bool,
    poll_seconds: float,
    settle_seconds: float,
    timeout_seconds: float,
    keep_sent_days: int,
    keep_refused_days: int,
) -> None:
    """Watch a folder and register what a POS drops there, each purchase once, offline days and power cuts notwithstanding.

    With --once the exit status is 0 if all is sent, 1 if rows were refused, 3 if something is not sent yet. Without it the till works
    until SIGTERM or Ctrl-C.
    """
    if context.invoked_subcommand is not None:
        return
    if root is None or url is None:
        raise click.UsageError("--folder and --url are needed.")
    _configure_log()
    try:
        with (
            _stoppable(),
            _client(url, _token_of(token_file), timeout_seconds) as client,
            _till(root, client, settle_seconds, Keeping(keep_sent_days, keep_refused_days)) as made,
        ):
            _work_once(*made) if once else _work(made[0], poll_seconds)
    except _Stopped:
        log.info("ended")


@till.command()
@folder_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(root: Path, as_json: bool) -> None:
    """Show what is pending, what was refused and why, and when the service last answered.

    The exit status is 0 if nothing waits and nothing was refused, 1 if rows were refused, 3 if something is not sent yet.
    """
    folder = Folder(root)
    try:
        found = read_status(folder, is_running=is_held(folder.lock))
    except sqlite3.OperationalError:
        _fail("No till has worked in this folder.")
    click.echo(found.as_json() if as_json else "\n".join(found.lines()))
    if found.pending_rows or found.waiting_files:
        sys.exit(WAITING)
    if found.refused_rows:
        sys.exit(REFUSED)


def _client(url: str, token: Callable[[], str], timeout_seconds: float) -> Client:
    try:
        # One attempt: the sender waits, where the wait is shown and can be interrupted.
        return Client(url, token, patience=Patience(attempts=1), timeout_seconds=timeout_seconds)
    except ValueError as error:
        _fail(str(error))


@contextmanager
def _till(root: Path, client: Client, settle_seconds: float, keeping: Keeping) -> Iterator[tuple[Till, Spool]]:
    def now() -> datetime:
        return datetime.now(UTC)

    folder = Folder(root)
    try:
        folder.prepare()
    except OSError:
        _fail("The folder cannot be written to.")
    try:
        with alone(folder.lock), closing(Spool(folder.spool)) as spool:
            sender = Sender(client, spool, now, time.monotonic)
            yield Till(folder, spool, sender, Watch(settle_seconds), keeping, now, time.monotonic), spool
    except SpoolInUse:
        _fail("Another till works in this folder.")
    except sqlite3.OperationalError:
        _fail("The spool cannot be opened.")
    except sqlite3.DatabaseError:
        _fail(
            "The spool cannot be read. Move .till/spool.sqlite3* away and the files of .till/taken back into the folder: "
            "what was sent already is recognised by its reference."
        )


def _work(made: Till, poll_seconds: float) -> NoReturn:
    recovered = False
    while True:
        try:
            if not recovered:
                made.recover()
                recovered = True
            wait = made.go()
        except (OSError, sqlite3.OperationalError) as error:
            log.error("the folder or the spool cannot be written: %s", type(error).__name__)
            wait = poll_seconds = max(poll_seconds, 1.0)
        time.sleep(min(poll_seconds, wait) if wait > 0 else poll_seconds)


def _work_once(made: Till, spool: Spool) -> None:
    refused = spool.refused_rows()
    try:
        made.recover()
        all_sent = made.until_done(time.sleep)
    except (OSError, sqlite3.OperationalError) as error:
        _fail(f"The folder or the spool cannot be written ({type(error).__name__}).")
    if not all_sent:
        sys.exit(WAITING)
    if spool.refused_rows() > refused:
        sys.exit(REFUSED)


def _token_of(file: Path | None) -> Callable[[], str]:
    if file is None and not os.environ.get(TOKEN_VARIABLE):
        raise click.UsageError(f"Name a --token-file, or set {TOKEN_VARIABLE}.")

    def token() -> str:
        try:
            text = (os.environ[TOKEN_VARIABLE] if file is None else file.read_text("ascii")).strip()
        except (OSError, UnicodeDecodeError):
            raise TokenUnreadable from None
        if not text or not text.isascii() or not text.isprintable() or " " in text:
            raise TokenUnreadable
        return text

    return token


@contextmanager
def _stoppable() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> NoReturn:
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, signal.SIG_IGN)
        raise _Stopped

    before = {one: signal.signal(one, stop) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _configure_log() -> None:
    """One line an event on standard error, as a journal takes it."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(logging.INFO)


def _fail(sentence: str) -> NoReturn:
    click.echo(f"sentinel till: {sentence}", err=True)
    sys.exit(USAGE)

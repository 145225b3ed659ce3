"""The command `sentinel`."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from app import helping, importing, openapi, rematching, serving
from app.audit import service as audit
from app.auth import service as auth
from app.auth.models import ApiKey
from app.auth.rules import DEFAULT_OVERLAP_DAYS, MOST_OVERLAP_DAYS, SYSTEM, Role
from app.core import jobs, processes
from app.core.clock import SystemClock
from app.core.database import Database
from app.core.embedded import EmbeddedPostgresError
from app.core.errors import AppError, NotFound
from app.core.log import configure
from app.core.sealing import Keyring, KeyringInvalid
from app.core.settings import Settings, load_settings
from app.divisions.service import require_known
from app.imports.schemas import ImportOut, ImportResult
from app.main import VERSION
from app.pharmacies.queries import PHARMACIES, get_pharmacy
from app.pharmacies.queries import list_keys as pharmacy_keys
from app.proving import receipts
from app.registrations.imports import RegistrationImporter
from app.till.command import till

WORKER_COMMAND = (sys.executable, "-m", "app", "worker", "--with-parent")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="sentinel")
def cli() -> None:
    """Pharmacy Sentinel: a city's pharmacies are the first to notice an outbreak.

    Settings are environment variables SENTINEL_…; without SENTINEL_DATABASE_URL an embedded PostgreSQL is started.
    """


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="API processes.")
@click.option("--no-worker", is_flag=True, help="Do not start a background worker beside the API.")
def serve(host: str, port: int, workers: int, no_worker: bool) -> None:
    """Serve the API, with one background worker unless --no-worker."""
    settings = _settings()
    with serving.place_of(settings) as place:
        if place.is_embedded:  # nobody else has a hand in it, so it is kept up to date without being asked
            asyncio.run(serving.prepare_database(place.url, SystemClock()))
        asyncio.run(serving.require_schema(place.url))
        with nullcontext() if no_worker else serving.worker_beside(WORKER_COMMAND):
            serving.listen("app.serving:create", host=host, port=port, processes=workers)


@cli.command()
@click.option("--with-parent", is_flag=True, hidden=True)
def worker(with_parent: bool) -> None:
    """Be a background worker; any number may run."""
    if with_parent:
        processes.follow_parent()
    asyncio.run(serving.work(_settings(), SystemClock()))


@cli.command()
@click.option(
    "--once", is_flag=True, help="End after the report; exit status 0 only if every figure agrees with the truth."
)
@click.option("--json", "as_json", is_flag=True, help="The report as JSON on stdout, and nothing else there.")
@click.option(
    "--scale",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, 100, min_open=True),
    help="Multiplies the city: 1 is 60 pharmacies and 3,500 residents.",
)
@click.option("--seed", default=1, show_default=True, help="Another seed tells another story.")
def demo(once: bool, as_json: bool, scale: float, seed: int) -> None:
    """Play a district's outbreak through the real HTTP API, and compare every figure with the known truth.

    On an embedded database of its own. Afterwards the service goes on, with a token for each role, until Ctrl-C.
    """
    from app.demo.play.command import Wish, run_demo  # the other commands start faster without it

    sys.exit(run_demo(Wish(scale, seed, once, as_json)))


@cli.command()
def migrate() -> None:
    """Bring the schema up to date, and load the divisions and drug lists that ship with the package."""
    with serving.place_of(_settings()) as place:
        asyncio.run(serving.prepare_database(place.url, SystemClock()))
    click.echo("The schema is up to date.", err=True)


@cli.command("openapi")
def print_openapi() -> None:
    """Print the OpenAPI document."""
    click.echo(openapi.as_text(openapi.document(serving.blueprint())), nl=False)


cli.add_command(till)
cli.add_command(receipts)


@cli.group()
def keys() -> None:
    """Tokens for tills and people; keys that seal identities."""


@keys.command("create")
@click.option("--role", required=True, type=click.Choice([role.value for role in Role if role is not Role.SYSTEM]))
@click.option(
    "--pharmacy", "pharmacies", type=click.UUID, multiple=True, help="For the role pharmacy; repeat it for a chain."
)
@click.option("--division", help="The division that the account sees, with those below it; all of them if left out.")
@click.option("--name", help="Who it is for. The same name, role and division is the same account.")
def create_key(role: str, pharmacies: tuple[UUID, ...], division: str | None, name: str | None) -> None:
    """Make a token and print it, once, alone on stdout."""
    wanted = Role(role)
    if (wanted is Role.PHARMACY) != bool(pharmacies):
        raise click.UsageError("--pharmacy goes with the role pharmacy, and that role with --pharmacy.")

    async def create(session: AsyncSession, _: Keyring) -> auth.NewKey:
        known = await PHARMACIES.get(session)
        if not known.keys() >= set(pharmacies):
            raise NotFound("There is no such pharmacy")
        if division is not None:
            await require_known(session, division)
        return await auth.create_key(
            session,
            actor=SYSTEM,
            now=SystemClock().now(),
            role=wanted,
            name=name or wanted.value,
            division=division,
            pharmacy_ids=pharmacies,
        )

    made = _transact(create)
    click.echo(f"key {made.id} of account {made.account_id}", err=True)
    click.echo(made.token)


@keys.command("revoke")
@click.argument("key_id", type=click.UUID)
def revoke_key(key_id: UUID) -> None:
    """Make a token useless, by the id that was printed with it."""

    async def revoke(session: AsyncSession, _: Keyring) -> None:
        await auth.revoke_key(session, key_id, actor=SYSTEM, now=SystemClock().now())

    _transact(revoke)


@keys.command("rotate")
@click.argument("key_id", type=click.UUID)
@click.option(
    "--overlap-days",
    default=DEFAULT_OVERLAP_DAYS,
    show_default=True,
    type=click.IntRange(0, MOST_OVERLAP_DAYS),
    help="How long the old token goes on beside the new one.",
)
def rotate_key(key_id: UUID, overlap_days: int) -> None:
    """Make a token that takes another's place, and print it, once, alone on stdout."""

    async def rotate(session: AsyncSession, _: Keyring) -> tuple[auth.NewKey, datetime]:
        overlap, now = timedelta(days=overlap_days), SystemClock().now()
        return await auth.rotate_key(session, key_id, overlap=overlap, actor=SYSTEM, now=now)

    made, ends = _transact(rotate)
    click.echo(f"key {made.id} of account {made.account_id}; the old one ends at {ends:%Y-%m-%d %H:%M} UTC", err=True)
    click.echo(made.token)


@keys.command("list")
@click.option("--pharmacy", type=click.UUID, required=True, help="Whose keys.")
def list_keys(pharmacy: UUID) -> None:
    """List the keys that speak for a pharmacy, the newest first; never their tokens."""

    async def look(session: AsyncSession, _: Keyring) -> list[tuple[ApiKey, int]]:
        await get_pharmacy(session, pharmacy, actor=SYSTEM)
        return await pharmacy_keys(session, pharmacy)

    for key, pharmacies in _transact(look):
        ended = min((at for at in (key.revoked_at, key.expires_at) if at is not None), default=None)
        seen = f"seen {key.last_seen_at:%Y-%m-%d %H}h" if key.last_seen_at else "never seen"
        words = [str(key.id), key.name, f"for {pharmacies}", f"made {key.created_at:%Y-%m-%d}", seen]
        click.echo("  ".join([*words, f"ends {ended:%Y-%m-%d %H:%M} UTC"] if ended else words))


@keys.command("sealing")
@click.option(
    "--id", "identifier", default=1, show_default=True, type=click.IntRange(1, 32767), help="Higher than all before."
)
def sealing_key(identifier: int) -> None:
    """Print a new master key, as SENTINEL_SEALING_KEYS takes it. Keep it: without it no identity can be read again."""
    click.echo(Keyring.generate(identifier).notation())


@cli.group("jobs")
def jobs_group() -> None:
    """Jobs that failed for good and wait for somebody to look at them."""


@jobs_group.command("dead")
@click.option("--kind", help="Of this kind only.")
def list_dead_jobs(kind: str | None) -> None:
    """List dead jobs, the oldest first, a hundred at most: what they were for, when they were made, and what failed."""

    async def look(session: AsyncSession, _: Keyring) -> list[jobs.DeadJob]:
        return await jobs.dead_jobs(session, kind=kind)

    for job in _transact(look):
        made = f"made {job.created_at:%Y-%m-%d %H:%M} UTC"
        click.echo("  ".join([str(job.id), job.kind, made, f"{job.attempts} attempts", job.last_error or ""]))


@jobs_group.command("retry")
@click.argument("job_ids", nargs=-1, type=click.IntRange(1))
@click.option("--kind", help="All dead jobs of this kind, instead of ids.")
def retry_dead_jobs(job_ids: tuple[int, ...], kind: str | None) -> None:
    """Have dead jobs worked on again, once what made them fail is mended."""
    if bool(job_ids) == (kind is not None):
        raise click.UsageError("Name jobs by their ids, or all of a kind with --kind.")

    async def retry(session: AsyncSession, _: Keyring) -> int:
        count = await jobs.retry_dead(session, ids=job_ids or None, kind=kind)
        await audit.record(
            session,
            actor=SYSTEM,
            now=SystemClock().now(),
            action="jobs.retried",
            subject=("jobs", None),
            detail={"count": count, "ids": job_ids, "kind": kind},
        )
        return count

    click.echo(f"{_transact(retry)} jobs will be tried again")


@cli.command("import")
@click.argument("kind", type=click.Choice([*importing.KINDS, *helping.ROW_KINDS]))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--pharmacy", "pharmacies", type=click.UUID, multiple=True, help="Whose registrations; repeat it for a chain."
)
@click.option("--errors", "out", type=click.Path(dir_okay=False, path_type=Path), help="File for refused rows.")
@click.option("--dry-run", is_flag=True, help="Judge every row and keep none.")
def import_file(kind: str, file: Path, pharmacies: tuple[UUID, ...], out: Path | None, dry_run: bool) -> None:
    """Import a table of divisions, drug lists, pharmacies, cases or registrations; the same rules as the API.

    CSV in UTF-8, UTF-16 or GB18030, or XLSX. Good rows are kept whatever the bad ones do. Ends with status 1 if a row was
    refused or there was none, and says which and why. --errors and --dry-run go with cases and registrations.
    """
    if (kind == RegistrationImporter.kind) != bool(pharmacies):
        raise click.UsageError("--pharmacy goes with registrations, and registrations with --pharmacy.")
    if kind in helping.ROW_KINDS:
        sys.exit(_import_rows(kind, file, pharmacies, out, dry_run))
    if out or dry_run:
        raise click.UsageError("--errors and --dry-run go with cases and registrations.")
    records = importing.read_records(file)
    with click.progressbar(records, label=f"{kind}: {file.name}", file=sys.stderr) as bar:

        async def load(session: AsyncSession, keyring: Keyring) -> importing.Report:
            return await importing.KINDS[kind](session, bar, SystemClock().now(), keyring)

        report = _transact(load)
    click.echo(", ".join(f"{count} {what}" for what, count in report.counts.items()), err=True)
    for note in report.notes:
        click.echo(note, err=True)
    for complaint in report.errors:
        click.echo(complaint, err=True)
    if report.errors or not records:
        sys.exit(1)


@cli.command()
def rematch() -> None:
    """Judge all matches anew, after a pass has changed or new marks have come. Otherwise nothing changes.

    Beside a running service, in chunks; rewards and alerts follow what is different.
    """

    async def run(database: Database, keyring: Keyring) -> rematching.Tally:
        work = rematching.Rematch(database, SystemClock(), keyring)
        with click.progressbar(length=await work.count(), label="cases", file=sys.stderr) as bar:
            return await work.run(bar.update)

    tally: rematching.Tally = _with_database(run)
    click.echo(f"{tally.cases} cases looked at, {tally.people} people given new marks", err=True)
    changed = ", ".join(f"{count} now {status}" for status, count in sorted(tally.changed.items()))
    click.echo(f"matches that changed: {changed or 'none'}")


def _import_rows(kind: str, file: Path, pharmacies: tuple[UUID, ...], out: Path | None, dry_run: bool) -> int:
    """Import rows that stand for themselves; return the exit status."""
    size = file.stat().st_size

    async def run(database: Database, keyring: Keyring) -> ImportOut:
        processes.spare_the_collector()
        rows = importing.RowFile(database, SystemClock(), keyring, helping.ROW_KINDS[kind](keyring))
        with click.progressbar(length=size, label=f"{kind}: {file.name}", file=sys.stderr) as bar:

            def told(position: int, whole: int) -> None:
                bar.length = max(whole, 1)
                bar.update(max(0, position - bar.pos))  # what was let go is read again at the end

            done = await rows.bring(file, pharmacies, dry_run=dry_run, told=told)
        if out is not None and (done.rows.conflict or done.rows.invalid):
            descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)  # it holds identities
            with os.fdopen(descriptor, "wb") as refused:
                async for data in rows.refusals(done):
                    refused.write(data)
        return done

    done = _with_database(run)
    told = [f"{count} {what}" for what, count in done.rows.model_dump().items() if count or what == "read"]
    click.echo(f"{done.result}{' (dry run)' if dry_run else ''}: {', '.join(told)}", err=True)
    for error in done.errors:
        click.echo(f"line {error.line}, {error.column or 'row'}: {error.detail} ({error.code})", err=True)
    if done.problem:
        click.echo(done.problem, err=True)
    return 0 if done.result in (ImportResult.COMPLETE, ImportResult.NOT_REQUIRED) else 1


def _transact(verb: Callable[[AsyncSession, Keyring], Any]) -> Any:
    """Run one verb in one transaction of the database that the settings name."""

    async def run(database: Database, keyring: Keyring) -> Any:
        async with database.transaction() as session:
            return await verb(session, keyring)

    return _with_database(run)


def _with_database(work: Callable[[Database, Keyring], Any]) -> Any:
    """Run something with the database that the settings name."""

    async def run(place: serving.Place) -> Any:
        if place.is_embedded:
            await serving.prepare_database(place.url, SystemClock())
        await serving.require_schema(place.url)
        database = Database(place.url)
        try:
            return await work(database, place.keyring)
        finally:
            await database.dispose()

    with serving.place_of(_settings()) as place:
        return asyncio.run(run(place))


def _settings() -> Settings:
    settings = load_settings()
    configure(settings.log_level)
    return settings


def _sentences(error: AppError) -> Iterable[str]:
    yield error.detail or error.title
    for item in error.errors:
        yield f"{item.pointer or '/'}: {item.detail} ({item.code})"


def main() -> None:
    """Run the command line; what an operator can mend is told in a sentence, not in a traceback."""
    try:
        cli(prog_name="sentinel")
    except (serving.NotReady, EmbeddedPostgresError, KeyringInvalid) as error:
        sys.exit(f"sentinel: {error}")
    except AppError as error:
        sys.exit("sentinel: " + "\n  ".join(_sentences(error)))
    except ValidationError as error:
        settings = ", ".join(f"SENTINEL_{str(item['loc'][0]).upper()}: {item['msg']}" for item in error.errors())
        sys.exit(f"sentinel: {settings}")

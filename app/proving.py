"""`sentinel receipts`: whether a pharmacy's receipts are whole, without the service, its database or its keys."""

import sys
from pathlib import Path

import click

from app.registrations.verifying import read_keys, verify


@click.group()
def receipts() -> None:
    """What proves that a registration was received, and when."""


@receipts.command("verify")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--keys",
    "key_file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The public keys, as GET /v1/receipts/keys gives them; a copy that was kept proves most.",
)
@click.option(
    "--first",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="The number with which the file begins; what lies before it is not looked for.",
)
@click.option("--unordered", is_flag=True, help="The lines may stand in any order, as several tills collected them.")
def verify_receipts(file: Path, key_file: Path, first: int, unordered: bool) -> None:
    """Check receipts, one JSON document a line: a removed, changed, displaced or back-dated one is found and named.

    Ends with status 1 if anything is wrong. Nothing is asked of the network.
    """
    try:
        keys = read_keys(key_file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise click.UsageError(f"{key_file}: {error}") from None
    with file.open(encoding="utf-8", errors="replace") as lines:
        report = verify(lines, keys, first=first, is_ordered=not unordered)
    for finding in report.findings:
        click.echo(str(finding))
    for pharmacy, (begin, end) in sorted(report.pharmacies.items()):
        click.echo(f"pharmacy {pharmacy}: numbers {begin} to {end} looked at", err=True)
    click.echo(
        f"{len(report.findings)} findings; {report.contents} contents held against their receipts. "
        "Whether more came after the last number, the file cannot tell.",
        err=True,
    )
    if report.findings or not report.pharmacies:
        sys.exit(1)

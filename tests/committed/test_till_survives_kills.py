"""`sentinel till` under fire: killed at random moments, over a line that loses answers, while a POS drops thousands of rows.

At the end every good row is in the database once, and every refused one in the list of refused rows. Everybody is synthetic.
"""

import asyncio
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

from sqlalchemy import select

from app.core.database import Database
from app.core.sealing import Keyring
from app.registrations.models import Registration
from tests.committed.test_till import _no_till_left, drop, once, refused, till
from tests.conftest import SettableClock
from tests.factories.serving import bad_line, breaks_off_the_answer, loses_the_answer, resets, says, serving
from tests.factories.world import World, a_person, build_world

KILLS = 15
FILES, ROWS = 60, 60
BAD_EVERY, UNNUMBERED_EVERY = 50, 7

__all__ = ["_no_till_left"]


def rows_of(world: World, rng: random.Random) -> list[list[dict[str, Any]]]:
    """Files full of purchases; some rows have no reference, some are refused, some files stand twice."""
    files = []
    for number in range(FILES * ROWS):
        phone = f"x{number}" if number % BAD_EVERY == 7 else f"138{number:08d}"
        row = world.purchase(buyer=a_person(phone=phone, document=None))
        if number % UNNUMBERED_EVERY == 3:
            del row["client_reference"]
        if number % ROWS == 0:
            files.append([row])
        else:
            files[-1].append(row)
    return files + rng.sample(files, 5)


def is_bad(row: dict[str, Any]) -> bool:
    return str(row["buyer"]["phone"]).startswith("x")


def left_behind(folder: Path) -> list[Path]:
    return [path for place in (folder, folder / ".till" / "taken") for path in place.iterdir() if path.is_file()]


async def drop_all(folder: Path, files: list[list[dict[str, Any]]], seconds: float) -> None:
    """Be the POS: drop the files over some time, some renamed into place, some written line by line under our eyes."""
    for number, rows in enumerate(files):
        if number % 3:
            drop(folder, f"{number}.jsonl", *rows)
        else:
            await asyncio.to_thread(write_slowly, folder / f"{number}.ndjson", rows)
        await asyncio.sleep(seconds / len(files))


def write_slowly(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w") as file:
        for at, row in enumerate(rows):
            file.write(json.dumps(row) + "\n")
            if at % 20 == 10:
                file.flush()
                time.sleep(0.01)


async def kill_again_and_again(folder: Path, url: str, token: str, rng: random.Random) -> None:
    for _ in range(KILLS):
        process = await asyncio.to_thread(till, folder, url, token, "--timeout-seconds", "3")
        await asyncio.sleep(rng.uniform(0.3, 1.8))
        process.kill()
        await asyncio.to_thread(process.communicate)
        assert process.returncode == -9


class TestATillThatIsKilled:
    async def test_again_and_again_loses_and_doubles_nothing(
        self, committed: Database, clock: SettableClock, keyring: Keyring, tmp_path: Path
    ) -> None:
        rng = random.Random()
        world = await build_world(committed)
        files = rows_of(world, rng)
        with serving(committed.url, clock, keyring) as url, bad_line(url) as line:
            line.often = (resets, loses_the_answer, breaks_off_the_answer, says(429, **{"Retry-After": "0"}))
            await asyncio.gather(
                drop_all(tmp_path, files, seconds=0.8 * KILLS),
                kill_again_and_again(tmp_path, line.url, world.tills[0], rng),
            )
            line.often = ()
            code, log = await asyncio.to_thread(once, tmp_path, line.url, world.tills[0])
        assert code in (0, 1), log
        good = [row for rows in files[:FILES] for row in rows if not is_bad(row)]
        async with committed.transaction() as session:
            kept = list((await session.execute(select(Registration.client_reference))).scalars())
            people = set((await session.execute(select(Registration.buyer_id))).scalars())
        assert len(people) == len(good)  # each good row has a buyer of its own: every one is there
        assert len(kept) == len(good)  # and none twice, whatever reference it was given
        assert {row["client_reference"] for row in good if "client_reference" in row} <= set(kept)
        listed = Counter(row["client_reference"] for row in refused(tmp_path))
        assert len(listed) == FILES * ROWS - len(good)
        assert not set(listed) & set(kept)
        # Files that were dropped twice may have their refused rows listed twice; nothing else may.
        again = sum(is_bad(row) for rows in files[FILES:] for row in rows)
        assert len(listed) <= listed.total() <= len(listed) + again
        assert left_behind(tmp_path) == []

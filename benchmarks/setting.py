"""The place of a benchmark: a PostgreSQL of its own, a city with pharmacies, API processes, synthetic purchases."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
from sqlalchemy.engine import make_url

from app.auth.rules import SYSTEM, Role
from app.auth.service import create_key
from app.core.clock import CHINA, SystemClock, china_day
from app.core.database import Database
from app.core.embedded import running
from app.people.documents import check_character
from app.pharmacies.rules import uscc_check_character
from app.pharmacies.schemas import PharmacyIn
from app.pharmacies.service import enrol_pharmacy
from app.regimes.schemas import RegimeIn
from app.regimes.service import declare_regime
from app.serving import prepare_database

DIVISION = "440304005"
KEYS = "1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
"""A master key for synthetic identities."""


@dataclass(frozen=True, slots=True)
class City:
    """A database with pharmacies, and the token of each one's till."""

    url: str
    tills: list[str]

    async def copy(self, name: str) -> str:
        """Return the URL of a new database with the same content."""
        url = make_url(self.url)
        admin = await asyncpg.connect(url.set(database="postgres").render_as_string(hide_password=False))
        try:
            await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{url.database}" STRATEGY file_copy')
        finally:
            await admin.close()
        return url.set(database=name).render_as_string(hide_password=False)


@contextmanager
def city(pharmacies: int = 20) -> Iterator[City]:
    """Start an embedded PostgreSQL in a temporary folder and build a city in it."""
    with tempfile.TemporaryDirectory(prefix="sentinel-benchmark-") as folder, running(Path(folder), erase=True) as url:
        yield City(url, asyncio.run(_build(url, pharmacies)))


async def _build(url: str, count: int) -> list[str]:
    clock = SystemClock()
    await prepare_database(url, clock)
    database = Database(url)
    now = clock.now()
    tills = []
    async with database.transaction() as session:
        declared = RegimeIn.model_validate(
            {"division": "4403", "disease": "covid-19", "state": "register", "valid_from": date(2020, 1, 1)}
        )
        await declare_regime(session, declared, actor=SYSTEM, now=now)
    for number in range(count):
        async with database.transaction() as session:
            first = f"91440300MA{number:07d}"
            body = PharmacyIn.model_validate(
                {
                    "name": f"Synthetic pharmacy {number}",
                    "uscc": first + uscc_check_character(first),
                    "licence_number": f"SYN{number:06d}",
                    "division": DIVISION,
                    "address": "Synthetic Road 1",
                    "enrolled_on": date(2020, 1, 1),
                }
            )
            pharmacy = await enrol_pharmacy(session, body, actor=SYSTEM, now=now)
            key = await create_key(
                session, actor=SYSTEM, now=now, role=Role.PHARMACY, name=f"till {number}", pharmacy_ids=[pharmacy.id]
            )
            tills.append(key.token)
    await database.dispose()
    return tills


_SURNAMES = "王李张刘陈杨黄赵周吴徐孙马朱胡郭何高林罗"
_GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超霞平刚"
_PRODUCTS = ("布洛芬缓释胶囊", "连花清瘟胶囊", "感冒清热颗粒", "999感冒灵颗粒", "小柴胡颗粒", "磷酸奥司他韦胶囊")


def purchase(number: int, random: Random) -> dict[str, Any]:
    """Return a complete purchase by a synthetic person whom no other purchase shares."""
    born = date(1940, 1, 1) + timedelta(days=random.randrange(25_000))
    first = f"440304{born:%Y%m%d}{number % 1000:03d}"
    purchased = SystemClock().now().astimezone(CHINA) - timedelta(minutes=random.randrange(600))
    return {
        "client_reference": f"SYN-{number:09d}",
        "purchased_at": purchased.isoformat(timespec="seconds"),
        "buyer": {
            "name": random.choice(_SURNAMES) + random.choice(_GIVEN) + random.choice(_GIVEN),
            "document": {"type": "resident_id", "number": first + check_character(first)},
            "phone": f"13{number:09d}",
            "address": {"division": DIVISION, "line": f"Synthetic Garden {number}"},
        },
        "temperature_c": round(random.uniform(36.0, 37.2), 1),
        "items": [{"name": random.choice(_PRODUCTS), "quantity": random.randint(1, 3)}],
    }


def purchases(count: int, first: int = 0) -> list[bytes]:
    """Return purchases as JSON, the same in every run but for their day."""
    random = Random(china_day(SystemClock().now()).toordinal() + first)
    return [json.dumps(purchase(first + n, random), ensure_ascii=False).encode() for n in range(count)]


@contextmanager
def serving(application: str, environment: dict[str, str], *, processes: int = 1) -> Iterator[int]:
    """Serve an application in processes of its own; give the port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = (
        "from app.core.processes import follow_parent; from app.serving import listen; follow_parent(); "
        f"listen({application!r}, host='127.0.0.1', port={port}, processes={processes})"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", f"if __name__ == '__main__':\n {program}"],
        env={**os.environ, "SENTINEL_SEALING_KEYS": KEYS, "SENTINEL_LOG_LEVEL": "WARNING", **environment},
        stdin=subprocess.PIPE,  # closes when this process is killed, and the child follows
        start_new_session=True,
    )
    try:
        _await_port(port, child)
        yield port
    finally:
        os.killpg(child.pid, signal.SIGTERM)
        child.wait(30)


def _await_port(port: int, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while child.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError("the application did not start")

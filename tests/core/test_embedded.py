"""The embedded PostgreSQL as one command sees it: made, shared, left, refused."""

import fcntl
import json
import os
import socket
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest

from app.core import cluster as cluster_module
from app.core import embedded as embedded_module
from app.core import postgres_programs
from app.core import postmaster as postmaster_module
from app.core.cluster import Cluster
from app.core.embedded import EmbeddedPostgres, EmbeddedPostgresError, client_program, running
from app.core.postgres_programs import Account, Programs, can_enter
from app.core.postmaster import SERVER_OPTIONS, Postmaster, sizes


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "data"
    yield folder
    EmbeddedPostgres(folder).erase()  # as root the cluster lies outside of the test's folder


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder whose server runs through all the tests that only ask it."""
    folder = tmp_path_factory.mktemp("shared")
    with running(folder, erase=True):
        yield folder


def record_of(data_dir: Path) -> dict[str, str]:
    return dict(json.loads((data_dir / "postgres" / "cluster.json").read_text()))


def data_of(data_dir: Path) -> Path:
    return data_dir / "postgres" / record_of(data_dir)["path"]


def move(source: Path, target: Path) -> None:
    source.rename(target)


async def ask(url: str, question: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class TestAServer:
    async def test_keeps_what_is_written_through_a_stop_and_a_start(self, data_dir: Path) -> None:
        with running(data_dir) as url:
            await ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        with running(data_dir) as again:
            assert await ask(again, "SELECT answer FROM kept") == 42
            assert again == url

    async def test_is_durable_checksummed_utf8_and_sorts_the_same_everywhere(self, shared: Path) -> None:
        with running(shared) as url:
            shown = [await ask(url, f"SHOW {name}") for name in ("fsync", "synchronous_commit", "data_checksums")]
            assert shown == ["on", "on", "on"]
            assert await ask(url, "SHOW server_encoding") == "UTF8"
            locale = "SELECT datlocprovider::text || datlocale FROM pg_database WHERE datname = current_database()"
            assert await ask(url, locale) == "bC.UTF-8"

    async def test_has_its_share_of_memory_and_disk(self, shared: Path) -> None:
        with running(shared) as url:
            megabytes = "SELECT pg_size_bytes(current_setting($1)) / 1048576"
            connection = await asyncpg.connect(url)
            buffers, log = [await connection.fetchval(megabytes, name) for name in ("shared_buffers", "max_wal_size")]
            await connection.close()
            assert f"{buffers}MB" == sizes(postmaster_module._memory(), 0)["shared_buffers"]
            assert 1024 <= log <= 8192
            assert await ask(url, "SHOW checkpoint_timeout") == "15min"

    async def test_asks_for_the_password(self, shared: Path) -> None:
        with running(shared) as url:
            password = record_of(shared)["password"]
            assert password in url
            with pytest.raises(asyncpg.InvalidPasswordError):
                await ask(url.replace(password, "guessed"), "SELECT 1")

    async def test_lets_nobody_in_as_superuser(self, shared: Path) -> None:
        with running(shared) as url:
            assert await ask(url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
            with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
                await ask(url.replace("sentinel:", "postgres:", 1), "SELECT 1")

    async def test_lets_its_role_create_databases(self, shared: Path) -> None:
        server = EmbeddedPostgres(shared)
        with server:
            await ask(server.url("postgres"), "CREATE DATABASE another")
            assert await ask(server.url("another"), "SELECT current_database()") == "another"

    def test_tells_its_password_to_nobody_else(self, shared: Path) -> None:
        with running(shared):
            password = record_of(shared)["password"]
            folder = shared / "postgres"
            readable = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.is_file()}
            assert readable == {0o600}
            assert password not in (folder / "server.log").read_text()
            assert stat.S_IMODE(data_of(shared).stat().st_mode) == 0o700
            if Path("/proc").exists():
                pid = (data_of(shared) / "postmaster.pid").read_text().split()[0]
                assert password not in Path(f"/proc/{pid}/cmdline").read_text()

    async def test_logs_no_word_of_a_refused_statement(self, shared: Path) -> None:
        with running(shared) as url:
            await ask(url, "CREATE TABLE people (name text UNIQUE)")
            await ask(url, "INSERT INTO people VALUES ('Synthetic Person')")
            with pytest.raises(asyncpg.UniqueViolationError):
                await ask(url, "INSERT INTO people VALUES ('Synthetic Person')")
            words = (shared / "postgres" / "server.log").read_text()
            assert "duplicate key" in words
            assert "Synthetic" not in words

    async def test_runs_as_nobody_of_importance(self, shared: Path) -> None:
        with running(shared):
            assert data_of(shared).stat().st_uid != 0


class TestUsersOfOneFolder:
    async def test_share_a_server_that_the_last_one_stops(self, data_dir: Path) -> None:
        first, second = EmbeddedPostgres(data_dir), EmbeddedPostgres(data_dir)
        url = first.start()
        assert second.start() == url
        port = int(url.rpartition(":")[2].partition("/")[0])
        first.stop()
        assert await ask(url, "SELECT 1") == 1
        second.stop()
        assert not answers(port)

    def test_start_one_server_however_many_come_at_once(self, data_dir: Path) -> None:
        servers = [EmbeddedPostgres(data_dir) for _ in range(6)]
        gate = threading.Barrier(len(servers))

        def start(server: EmbeddedPostgres) -> str:
            gate.wait()
            return server.start()

        with ThreadPoolExecutor(len(servers)) as pool:
            urls = set(pool.map(start, servers))
        assert len(urls) == 1
        log = (data_dir / "postgres" / "server.log").read_text()
        assert log.count("ready to accept connections") == 1
        with ThreadPoolExecutor(len(servers)) as pool:
            list(pool.map(EmbeddedPostgres.stop, servers))
        assert not (data_of(data_dir) / "postmaster.pid").exists()

    def test_may_start_and_stop_twice(self, data_dir: Path) -> None:
        server = EmbeddedPostgres(data_dir)
        server.stop()
        assert server.start() == server.start()
        server.stop()
        server.stop()
        with pytest.raises(EmbeddedPostgresError, match="not started"):
            server.url()

    def test_cannot_erase_it_under_each_other(self, data_dir: Path) -> None:
        with running(data_dir), pytest.raises(EmbeddedPostgresError, match="in use"):
            EmbeddedPostgres(data_dir).erase()

    def test_leave_nothing_behind_when_they_erase_it(self, data_dir: Path) -> None:
        with running(data_dir, erase=True):
            data = data_of(data_dir)
        assert not data.exists()
        assert {path.suffix for path in (data_dir / "postgres").iterdir()} == {".lock"}


class TestANewStart:
    async def test_takes_another_port_when_a_stranger_has_the_old_one(self, data_dir: Path) -> None:
        with running(data_dir) as url:
            pass
        with socket.create_server(("127.0.0.1", int(record_of(data_dir)["port"]))), running(data_dir) as moved:
            assert moved != url
            assert await ask(moved, "SELECT 1") == 1

    async def test_is_not_held_up_by_a_process_number_that_lives_again(self, data_dir: Path) -> None:
        with running(data_dir):
            pass
        (data_of(data_dir) / "postmaster.pid").write_text(f"{os.getppid()}\n{data_of(data_dir)}\n0\n1\n\n\n\nready\n")
        with running(data_dir) as url:
            assert await ask(url, "SELECT 1") == 1

    async def test_begins_anew_where_making_it_was_interrupted(
        self, data_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = Programs.run

        def interrupted(self: Programs, name: str, arguments: list[str], words: str = "") -> str:
            if words:
                raise KeyboardInterrupt
            return run(self, name, arguments, words)

        monkeypatch.setattr(Programs, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            EmbeddedPostgres(data_dir).start()
        monkeypatch.undo()
        with running(data_dir) as url:
            assert await ask(url, "SELECT 1") == 1
            assert list(data_of(data_dir).parent.glob("*.building-*")) == []

    async def test_finds_the_database_in_a_folder_that_was_moved(self, data_dir: Path, tmp_path: Path) -> None:
        with running(data_dir) as url:
            await ask(url, "CREATE TABLE kept ()")
        moved = tmp_path / "moved"
        move(data_dir, moved)
        with running(moved) as url:
            assert await ask(url, "SELECT count(*) FROM kept") == 0
        move(moved, data_dir)

    def test_is_refused_with_a_way_out_when_the_database_is_gone(self, data_dir: Path) -> None:
        with running(data_dir):
            data = data_of(data_dir)
        data.rename(data.with_name("elsewhere"))
        with pytest.raises(EmbeddedPostgresError, match="Put it back"):
            EmbeddedPostgres(data_dir).start()
        data.with_name("elsewhere").rename(data)

    def test_is_refused_when_another_version_wrote_the_database(self, data_dir: Path) -> None:
        with running(data_dir):
            pass
        (data_of(data_dir) / "PG_VERSION").write_text("9\n")
        with pytest.raises(EmbeddedPostgresError, match="written by PostgreSQL 9, this is PostgreSQL 18"):
            EmbeddedPostgres(data_dir).start()

    def test_ends_with_the_words_of_a_server_that_will_not_start(
        self, data_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(SERVER_OPTIONS, "shared_buffers", "a lot")
        with pytest.raises(EmbeddedPostgresError, match="shared_buffers"):
            EmbeddedPostgres(data_dir).start()

    def test_is_refused_where_the_folder_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(EmbeddedPostgresError, match="SENTINEL_DATA_DIR"):
            EmbeddedPostgres(tmp_path / "file" / "data").start()

    def test_sets_a_large_log_aside(self, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with running(data_dir):
            pass
        monkeypatch.setattr(cluster_module, "LOG_BYTES", 10)
        with running(data_dir):
            pass
        assert (data_dir / "postgres" / "server.log.1").exists()
        assert (data_dir / "postgres" / "server.log").read_text().count("ready to accept") == 1


GB = 2**30


@pytest.mark.parametrize(
    ("memory", "free_disk", "buffers", "log"),
    [
        (24 * GB, 75 * GB, "4096MB", "7680MB"),
        (256 * GB, 2_000 * GB, "4096MB", "8192MB"),
        (8 * GB, 20 * GB, "2048MB", "2048MB"),
        (GB // 4, 3 * GB, "128MB", "1024MB"),
        (0, 0, "128MB", "1024MB"),
    ],
)
def test_a_server_takes_a_share_of_memory_and_disk(memory: int, free_disk: int, buffers: str, log: str) -> None:
    assert sizes(memory, free_disk) == {"shared_buffers": buffers, "max_wal_size": log}


@pytest.mark.parametrize(("told", "expected"), [("1073741824\n", GB), ("max\n", None), (None, None)])
def test_a_container_may_use_less_memory_than_the_machine_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str | None, expected: int | None
) -> None:
    monkeypatch.setattr(postmaster_module, "_LIMITS_OF_GROUP", ())
    whole = postmaster_module._memory()
    if told is not None:
        (tmp_path / "memory.max").write_text(told)
    monkeypatch.setattr(postmaster_module, "_LIMITS_OF_GROUP", (tmp_path / "memory.max",))
    assert postmaster_module._memory() == min(whole, expected or whole)


@pytest.mark.parametrize("on_its_way", [True, False])
def test_whoever_comes_waits_for_a_server_that_repairs_itself_and_for_nothing_else(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, on_its_way: bool
) -> None:
    asked: list[bool] = []
    holder = Cluster(data_dir / "postgres").open_lock("control.lock")
    fcntl.flock(holder, fcntl.LOCK_EX)

    def is_on_its_way(_: Postmaster) -> bool:
        asked.append(on_its_way)
        if len(asked) == 3:
            fcntl.flock(holder, fcntl.LOCK_UN)
        return on_its_way

    monkeypatch.setattr(embedded_module, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(Postmaster, "is_on_its_way", is_on_its_way)
    try:
        if on_its_way:
            with running(data_dir):
                assert len(asked) == 3
        else:
            with pytest.raises(EmbeddedPostgresError, match="starting or stopping"):
                EmbeddedPostgres(data_dir).start()
    finally:
        os.close(holder)


class TestTheProgramsOfAnAccount:
    def test_are_the_wheels_own_when_it_can_read_them(self) -> None:
        assert client_program("pg_dump").is_file()

    def test_may_not_enter_a_folder_below_a_closed_one(self, tmp_path: Path) -> None:
        (tmp_path / "closed" / "inner").mkdir(parents=True)
        owner = tmp_path.stat()
        (tmp_path / "closed").chmod(0o700)
        stranger = Account(owner.st_uid + 12345, owner.st_gid + 12345)
        assert not can_enter(tmp_path / "closed" / "inner", stranger)

    @pytest.mark.parametrize(
        ("bits", "same_group", "enters"), [(0o710, True, True), (0o701, True, False), (0o701, False, True)]
    )
    def test_are_judged_by_the_bits_of_the_group_or_of_the_others(
        self, tmp_path: Path, bits: int, same_group: bool, enters: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "folder"
        folder.mkdir()
        folder.chmod(bits)
        owner = folder.stat()
        account = Account(owner.st_uid + 1, owner.st_gid if same_group else owner.st_gid + 1)
        monkeypatch.setattr(Path, "parents", ())
        assert can_enter(folder, account) is enters

    def test_are_copied_once_when_it_cannot(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(postgres_programs, "_private_folder", lambda: tmp_path)
        monkeypatch.setattr(postgres_programs, "can_enter", lambda *_: False)
        account = Account(os.geteuid() + 1, os.getegid() + 1)
        postgres_programs.programs.cache_clear()
        try:
            copied = postgres_programs.programs(account)
            assert copied.folder.is_relative_to(tmp_path)
            made = (copied.folder / "initdb").stat()
            postgres_programs.programs.cache_clear()
            again = postgres_programs.programs(account)
            assert (again.folder / "initdb").stat() == made
        finally:
            postgres_programs.programs.cache_clear()
        assert [path.name.partition("-")[0] for path in tmp_path.iterdir()] == ["programs"]
        assert "18" in postgres_programs.Programs(copied.folder, None).version
        closed = [path for path in copied.folder.rglob("*") if not path.stat().st_mode & stat.S_IROTH]
        assert closed == []

from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.core import settings as module
from app.core.settings import Settings, default_data_dir


class TestSettings:
    def test_are_read_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SENTINEL_DATABASE_URL", "postgresql://u:very-secret@h/d")
        monkeypatch.setenv("SENTINEL_WEBHOOK_ALLOWED_NETWORKS", " 10.0.0.0/8, fd00::/8 ,")
        read = Settings()
        assert read.webhook_allowed_networks == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
        assert "very-secret" not in repr(read)

    @pytest.mark.parametrize(
        ("name", "value"),
        [("WEBHOOK_ALLOWED_NETWORKS", "10.0.0.1/8"), ("WEBHOOK_ALLOWED_NETWORKS", "x"), ("LOG_LEVEL", "x")],
    )
    def test_that_cannot_be_understood_are_refused(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        monkeypatch.setenv(f"SENTINEL_{name}", value)
        with pytest.raises(ValidationError):
            Settings()


class TestTheDataFolder:
    def test_is_below_the_home_or_the_working_directory(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(module.os, "geteuid", lambda: 1000)
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
        assert default_data_dir() == tmp_path / "data" / "pharmacy-sentinel"
        monkeypatch.delenv("XDG_DATA_HOME")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert default_data_dir() == tmp_path / ".local/share/pharmacy-sentinel"
        monkeypatch.delenv("HOME")
        monkeypatch.chdir(tmp_path)
        assert default_data_dir() == tmp_path / ".sentinel"

    def test_of_root_is_the_systems(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module.os, "geteuid", lambda: 0)
        assert default_data_dir() == Path("/var/lib/pharmacy-sentinel")

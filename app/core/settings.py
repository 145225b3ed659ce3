"""Settings: environment variables that begin with `SENTINEL_`, each explained in `docs/settings.md`."""

import os
from functools import cache
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Network = IPv4Network | IPv6Network


def default_data_dir() -> Path:
    """Return where the embedded database and its keys live unless told otherwise.

    `/var/lib/pharmacy-sentinel` for root; the user's data folder (XDG base directory specification) for others; a
    folder below the working directory where there is no home to write to.
    """
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/pharmacy-sentinel")
    base = os.environ.get("XDG_DATA_HOME") or (f"{os.environ['HOME']}/.local/share" if os.environ.get("HOME") else "")
    home = Path(base) if base else Path()
    first_existing = next((p for p in (home, *home.parents) if p.exists()), Path())
    if base and os.access(first_existing, os.W_OK):
        return home / "pharmacy-sentinel"
    return Path.cwd() / ".sentinel"


class Settings(BaseSettings):
    """What an operator may turn. Read once, at the edges; passed down from there."""

    model_config = SettingsConfigDict(env_prefix="SENTINEL_", extra="ignore", frozen=True)

    database_url: SecretStr | None = Field(
        default=None,
        description="PostgreSQL 15 or later, as postgresql://user:password@host:port/name. Unset: an embedded one is started.",
    )
    data_dir: Path = Field(
        default_factory=default_data_dir,
        description="Folder of the embedded database and of the keys that are made for it.",
    )
    sealing_keys: SecretStr | None = Field(
        default=None,
        description=(
            "Master keys that seal identities, as id:base64 of 32 bytes, comma separated; the last one is current. "
            "Required with SENTINEL_DATABASE_URL; made in the data folder otherwise."
        ),
    )
    webhook_allowed_networks: Annotated[tuple[Network, ...], NoDecode] = Field(
        default=(),
        description="Private networks (CIDR, comma separated) to which events may be delivered, also over plain http.",
    )
    log_level: str = Field(
        default="INFO", description="DEBUG, INFO, WARNING or ERROR.", pattern="^(DEBUG|INFO|WARNING|ERROR)$"
    )

    @field_validator("webhook_allowed_networks", mode="before")
    @classmethod
    def _split_networks(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value


@cache
def load_settings() -> Settings:
    """Read the environment once.

    Raises:
        pydantic.ValidationError: a variable cannot be understood; the command line turns it into a message.
    """
    return Settings()

"""Time zones by their IANA name, with the edition of the tz database that their rules are from.

A zone's rules are read once in the life of the process: whatever is installed meanwhile, every window of this process
follows one law, and its verdicts name that law.
"""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass
from functools import cache
from importlib import import_module, resources
from pathlib import Path
from typing import Final
from zoneinfo import TZPATH, ZoneInfo, ZoneInfoNotFoundError

_NAME: Final = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
_EDITION: Final = re.compile(r"(?:# version )?(\d{4}[a-z]*)\s*")
UNKNOWN_EDITION: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Zone:
    """edition: of the tz database, such as 2026b, or `unknown`; digest: SHA-256 of the zone's compiled rules."""

    name: str
    info: ZoneInfo
    edition: str
    digest: str

    @property
    def law(self) -> str:
        """`2026b 4f0c1d2e`: edition and the first digits of the digest, for evidence."""
        return f"{self.edition} {self.digest[:8]}"


@cache
def zone(name: str) -> Zone:
    """Rules by name: those of the system first, else of the tzdata package. Raises ZoneInfoNotFoundError."""
    if _NAME.fullmatch(name) is None:
        raise ZoneInfoNotFoundError(f"no time zone found with key {name}")
    for directory in TZPATH:
        path = Path(directory, name)
        if path.is_file():
            return _zone(name, path.read_bytes(), _edition(Path(directory)))
    try:
        data = resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()
    except (OSError, ModuleNotFoundError):
        raise ZoneInfoNotFoundError(f"no time zone found with key {name}") from None
    return _zone(name, data, str(getattr(import_module("tzdata"), "IANA_VERSION", UNKNOWN_EDITION)))


def _zone(name: str, data: bytes, edition: str) -> Zone:
    return Zone(name, ZoneInfo.from_file(io.BytesIO(data), name), edition, hashlib.sha256(data).hexdigest())


def _edition(directory: Path) -> str:
    """As the database names itself in tzdata.zi (`# version 2026b`) or +VERSION."""
    for file in ("tzdata.zi", "+VERSION"):
        try:
            with (directory / file).open(encoding="utf-8") as stream:
                found = _EDITION.match(stream.readline(64))
        except (OSError, UnicodeDecodeError):
            continue
        if found:
            return found[1]
    return UNKNOWN_EDITION

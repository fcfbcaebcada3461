"""Secrets live outside the configuration: in a systemd credential or a private file. Their text shows nowhere."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from probes.core.errors import LocalError

_MAXIMUM_SIZE: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Secret:
    """A password or token. `reveal` is the only way to its text: repr, str and format hide it."""

    _text: str = field(repr=False)

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(hidden)"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Where a secret is kept. Exactly one of the two is set."""

    credential: str | None = None
    """name of a file in $CREDENTIALS_DIRECTORY, where systemd's LoadCredential= puts it"""
    file: Path | None = None
    """file that only its owner may read"""

    def __str__(self) -> str:
        return f"credential {self.credential}" if self.file is None else f"file {self.file}"

    def read(self) -> Secret:
        """The secret as it is now. Raises LocalError when it is missing, empty or open to others."""
        if self.file is not None:
            return _read(self.file, private=True)
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        if not directory:
            raise LocalError(
                f"the credential {self.credential} cannot be read: CREDENTIALS_DIRECTORY is not set",
                hint=f"run as a service with LoadCredential={self.credential}:PATH, or use {{file: PATH}}",
            )
        return _read(Path(directory) / (self.credential or ""), private=False)


def _read(path: Path, *, private: bool) -> Secret:
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            if private and mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise LocalError(
                    f"the secret in {path} is open to other users (mode {stat.S_IMODE(mode):04o})",
                    hint=f"chmod 600 {path}",
                )
            data = stream.read(_MAXIMUM_SIZE + 1)
    except OSError as error:
        raise LocalError(
            f"the secret {path} cannot be read: {error.strerror}", hint="check its path and owner"
        ) from None
    try:
        text = data.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise LocalError(f"the secret in {path} is not text", hint="it is one line of UTF-8") from None
    if not text or len(data) > _MAXIMUM_SIZE or not text.isprintable():
        raise LocalError(f"the secret in {path} is empty or not one line of text", hint="write it as one line")
    return Secret(text)

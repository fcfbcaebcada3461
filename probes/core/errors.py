"""Only our own failures raise. The peer's trouble (no reply, refused, unreachable) is data in a sample."""


class LocalError(Exception):
    """Something on this host or in its files is wrong. `hint` tells the user what to do next."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} (hint: {self.hint})" if self.hint else self.message


class PrivilegeError(LocalError):
    """The operating system does not allow what the probe needs; the hint names the remedy."""


class ResolutionError(LocalError):
    """A target's name could not be turned into an address."""


class ValueFormatError(LocalError):
    """A text does not denote a duration, rate, size or code point."""


class PacketError(LocalError):
    """Bytes that are not a packet of the format asked for."""

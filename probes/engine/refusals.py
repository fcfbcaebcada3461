"""Why this host's kernel did not send a packet, in words. Pure."""

from __future__ import annotations

import errno
import os
from typing import Final

from probes.engine.streams import StreamSpec

_TEXTS: Final = {
    errno.ENETUNREACH: "this host has no route to {address}",
    errno.EHOSTUNREACH: "a route of this host makes {address} unreachable",
    errno.EINVAL: "a blackhole route of this host covers {address}",
    errno.EACCES: "a prohibit route of this host covers {address}",
    errno.EPERM: "a firewall rule of this host forbids sending to {address}",
    errno.ENOBUFS: "the send queue of this host is full",
    errno.EAGAIN: "the send buffer of this host is full",
    errno.EMSGSIZE: "the packet is larger than the path of this host allows",
    errno.ENETDOWN: "the interface towards {address} is down",
    errno.EADDRNOTAVAIL: "this host has no source address for {address}",
    errno.ENODEV: "there is no interface {interface} on this host",
}
MAY_BE_THE_SOURCE: Final = frozenset((errno.EINVAL, errno.ENETUNREACH))
"""What the kernel may say, beside EADDRNOTAVAIL, when the source address asked for is not (any longer) its own."""


def refusal_text(spec: StreamSpec, code: int) -> str:
    """What an errno of the send call means for a stream."""
    text = _TEXTS.get(code, "{error} (errno {code})")
    return text.format(address=spec.address, interface=spec.interface, error=os.strerror(code), code=code)

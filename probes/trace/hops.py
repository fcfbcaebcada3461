"""Makes hops, the path and its remarks from what the child found. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from probes.core.model import Hop, Label, Path
from probes.core.units import DSCP_NAMES
from probes.trace.order import Findings, Order, Purpose, Said, Shot
from probes.wire.icmp import error_text

_PORT_UNREACHABLE: Final = {4: (3, 3), 6: (1, 4)}
"""What a host answers that has nobody on a port: the usual end of a UDP trace."""
_DSCP: Final = {value: name for name, value in DSCP_NAMES.items() if name not in ("DF", "BE")}


def path_of(order: Order, found: Findings) -> Path:
    """Hops from ttl 1 to the target, to what ended the trace, or to the last one that was asked."""
    by_ttl: dict[int, list[Shot]] = {}
    for shot in found.shots:
        if shot.purpose is Purpose.HOP:
            by_ttl.setdefault(shot.ttl, []).append(shot)
    own = found.source if found.source != order.target.partition("%")[0] else None
    hops, reached = [], False
    for ttl in sorted(by_ttl):
        hop, last = _hop(order, ttl, by_ttl[ttl], own)
        hops.append(hop)
        reached = last is Said.TARGET
        if last is not None:
            break
    sizes = _told_sizes(found)
    hops = [_with_mtu(hop, sizes) for hop in hops]
    return Path(order.protocol, reached, tuple(hops), found.mtu)


def answers_at(found: Findings, ttl: int, purpose: Purpose = Purpose.HOP) -> list[str]:
    """Who answered packets of this ttl, each address once, in order of time."""
    heard = (s.reply.address for s in found.shots if s.ttl == ttl and s.purpose is purpose and s.reply is not None)
    return list(dict.fromkeys(heard))


def remarks(order: Order, found: Findings, path: Path) -> list[str]:
    """What is worth saying about a path: DSCP rewritten, packets that vanish by their size, several answer at once."""
    said = dscp_remarks(path, order.dscp)
    for hop in path.hops:
        others = [address for address in answers_at(found, hop.ttl) if address != hop.address]
        if hop.address is not None and others:
            said.append(f"hop {hop.ttl} answers as {', '.join([hop.address, *others])}")
    if found.hole is not None and found.mtu is not None:
        said.append(f"packets above {found.mtu} octets vanish without a word{_where(found, path)}")
    if order.mtu and path.reached and found.unsized is not None:
        said.append(f"no path MTU: {found.unsized}")
    if found.exhausted:
        said.append("the time was over before all was asked")
    if found.not_sent:
        said.append(f"{found.not_sent} packets did not leave this host: {found.reason}")
    return said


def dscp_name(value: int) -> str:
    """`EF`, `AF41`, `CS0`, or the number of a code point without a name."""
    return _DSCP.get(value, str(value))


def dscp_remarks(path: Path, sent: int) -> list[str]:
    """`DSCP EF until hop 2, CS0 from hop 3`, for each change; nothing where no hop quotes another code point."""
    said = []
    before, last = sent, 0
    for hop in path.hops:
        if hop.dscp is None:
            continue
        if hop.dscp != before:
            until = f"until hop {last}" if last else "as sent"
            said.append(f"DSCP {dscp_name(before)} {until}, {dscp_name(hop.dscp)} from hop {hop.ttl}")
        before, last = hop.dscp, hop.ttl
    return said


def _hop(order: Order, ttl: int, shots: Sequence[Shot], own: str | None) -> tuple[Hop, Said | None]:
    """One hop, and why the path ends here if it does. What our own kernel says (no neighbour answers) is silence."""
    replies = [(shot, shot.reply) for shot in shots if shot.reply is not None and shot.reply.address != own]
    if not replies:
        return Hop(ttl, None, len(shots), 0), None
    times = [max(0, reply.at_ns - shot.at_ns) for shot, reply in replies]
    address = Counter(reply.address for _, reply in replies).most_common(1)[0][0]
    ours = [reply for _, reply in replies if reply.address == address]
    target = any(reply.said is Said.TARGET for _, reply in replies)
    ending = next((reply for _, reply in replies if reply.said in (Said.ERROR, Said.TOO_BIG)), None)
    error = None
    if target:
        address = next(reply.address for _, reply in replies if reply.said is Said.TARGET)
        error = next((_error(order.family, reply.type, reply.code) for reply in ours), None)
    elif ending is not None:
        error = error_text(order.family, ending.type, ending.code)
    labels: tuple[Label, ...] = next((reply.labels for reply in ours if reply.labels), ())
    dscp = next((reply.dscp for reply in ours if reply.dscp is not None), None)
    hop = Hop(
        ttl, address, len(shots), len(replies), min(times), sum(times), max(times), labels, dscp,
        None if ending is None else ending.mtu, error,
    )  # fmt: skip
    return hop, Said.TARGET if target else ending.said if ending is not None else None


def _error(family: int, kind: int, code: int) -> str | None:
    """What is unusual about the target's own answer."""
    if kind < 0 or kind in (0, 129) or (kind, code) == _PORT_UNREACHABLE[family]:
        return None
    return error_text(family, kind, code)


def _told_sizes(found: Findings) -> dict[str, int]:
    """The next-hop MTU that each router told."""
    return {
        shot.reply.address: shot.reply.mtu
        for shot in found.shots
        if shot.reply is not None and shot.reply.said is Said.TOO_BIG and shot.reply.mtu is not None
    }


def _with_mtu(hop: Hop, sizes: dict[str, int]) -> Hop:
    mtu = sizes.get(hop.address) if hop.address is not None else None
    if mtu is None or hop.mtu is not None:
        return hop
    return Hop(
        hop.ttl, hop.address, hop.sent, hop.received, hop.minimum_ns, hop.sum_ns, hop.maximum_ns, hop.labels,
        hop.dscp, mtu, hop.error,
    )  # fmt: skip


def _where(found: Findings, path: Path) -> str:
    """Between which hops, as far as they answered both small and large packets."""
    large = [hop.ttl for hop in path.hops if answers_at(found, hop.ttl, Purpose.REACH)]
    last = max(large, default=0)
    beyond = [hop.ttl for hop in path.hops if hop.received and hop.ttl > last]
    if not beyond:
        return ""
    return f" between hop {last} and hop {beyond[0]}" if last else f" before hop {beyond[0]}"

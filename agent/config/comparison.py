"""What a reload changes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from agent.config.settings import AgentConfig, Role
from probes.core.model import Circuit

_NO_ROLES: Mapping[str, Role] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ConfigDifference:
    """Circuit names in the order of the new file (`removed`: of the old), and which other sections differ."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    """measured in another way: their probes must start anew"""
    described: tuple[str, ...] = ()
    """only what is said about them differs (customer, labels, contract, price ...): measuring goes on"""
    site: bool = False
    interval: bool = False
    store: bool = False
    sinks: bool = False
    reflector: bool = False
    contracts: bool = False
    log_level: bool = False

    def __bool__(self) -> bool:
        return self != ConfigDifference()


def difference(old: AgentConfig, new: AgentConfig) -> ConfigDifference:
    """Compare two configurations. Files and comments do not count, only what they mean."""
    return replace(
        circuits_changed(old.circuits, new.circuits, old.discover, new.discover),
        site=old.site != new.site,
        interval=old.span_ns != new.span_ns,
        store=old.store != new.store,
        sinks=old.sinks != new.sinks,
        reflector=old.reflector != new.reflector,
        contracts=old.contracts != new.contracts,
        log_level=old.log_level != new.log_level,
    )


def circuits_changed(
    old: Sequence[Circuit],
    new: Sequence[Circuit],
    old_roles: Mapping[str, Role] = _NO_ROLES,
    new_roles: Mapping[str, Role] = _NO_ROLES,
) -> ConfigDifference:
    """Compare circuits only. Roles: circuit name to what its target is on this host, where it is not written."""
    before, after = {item.id: item for item in old}, {item.id: item for item in new}
    both = [name for name in after if name in before]
    changed = tuple(
        name
        for name in both
        if _measured(before[name], old_roles.get(name)) != _measured(after[name], new_roles.get(name))
    )
    return ConfigDifference(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        changed=changed,
        described=tuple(name for name in both if name not in changed and before[name] != after[name]),
    )


def _measured(circuit: Circuit, role: Role | None) -> tuple[Circuit, Role | None]:
    """The circuit without what is only said about it."""
    plain = replace(
        circuit,
        customer=None,
        provider=None,
        site=None,
        committed_rate_bps=None,
        labels={},
        contract=None,
        monthly_charge=None,
        near_end=None,
        far_end=None,
    )
    return plain, role


def moved(before: Sequence[Circuit], after: Sequence[Circuit]) -> list[str]:
    """The circuits that differ, with their targets now."""
    new = {circuit.id: circuit.target for circuit in after}
    old = {circuit.id: circuit.target for circuit in before}
    return [f"{name} {new.get(name, 'absent')}" for name in {**old, **new} if old.get(name) != new.get(name)]

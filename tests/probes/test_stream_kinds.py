"""The stream kinds as the catalogue, the configuration and the engine see them."""

from dataclasses import fields

import pytest

from probes.core import catalog
from probes.core.catalog import StreamKind
from probes.core.clock import SECOND
from probes.engine.streams import StreamSpec
from probes.wire import payload


@pytest.mark.parametrize("name", ["icmp", "udp"])
def test_kind(name: str) -> None:
    kind = catalog.load(name)
    assert isinstance(kind, StreamKind)
    assert kind.name == name
    parameters = {parameter.name: parameter for parameter in kind.parameters}
    assert parameters["every"].default == SECOND
    assert parameters["timeout"].default == 3 * SECOND
    assert parameters["size"].default == 56
    assert parameters["size"].minimum == kind.codec().minimum_size == payload.SIZE
    assert parameters["ttl"].default is None
    assert ("port" in parameters) == (name == "udp")
    for metric in kind.metrics:
        assert metric.unit
        assert metric.definition


@pytest.mark.parametrize("name", ["icmp", "udp"])
def test_every_parameter_is_a_field_of_the_stream_with_the_same_default(name: str) -> None:
    kind = catalog.load(name)
    assert isinstance(kind, StreamKind)
    defaults = {field.name: field.default for field in fields(StreamSpec)}
    for parameter in kind.parameters:
        field = f"{parameter.name}_ns" if parameter.type == "duration" else parameter.name
        assert field in defaults
        if parameter.name != "port":
            assert defaults[field] == parameter.default


def test_stamp_sets_fields_of_the_stream_and_arguments_of_its_codec() -> None:
    kind = catalog.load("stamp")
    assert isinstance(kind, StreamKind)
    assert kind.sessions
    own = {"ssid", "key", "stamps", "follow_up", "class_of_service", "timestamp_information", "direct_measurement"}
    streams = {field.name for field in fields(StreamSpec)}
    given = {f"{p.name}_ns" if p.type == "duration" else p.name: p.default for p in kind.parameters}
    assert {name for name in given if name not in streams} == own
    codec = kind.codec(dscp=0, **{name: given[name] for name in own})
    assert codec.minimum_size == 72
    everything = kind.codec(dscp=0, key=bytes(16), timestamp_information=True, direct_measurement=True)
    assert everything.minimum_size == given["size"] == 184
    assert given["port"] == 862


def test_default_port() -> None:
    kind = catalog.load("udp")
    assert {parameter.name: parameter.default for parameter in kind.parameters}["port"] == 8620

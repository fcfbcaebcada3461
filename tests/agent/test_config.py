"""The configuration: the default file, drop-ins, what is in force, the schema, secrets, schedules and reloads."""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest
from apscheduler.triggers.cron import CronTrigger
from hypothesis import given
from hypothesis import strategies as st

from agent.config import AgentConfig, ConfigDifference, Secret, SecretSource, difference, effective, json_schema, load
from agent.config.cron import normalise
from agent.config.notation import as_label_key
from agent.config.reading import across
from agent.config.sections import config_file
from agent.document import Document, DocumentError, Position, dump, read, require
from agent.sla.samples.columns import INTEGER_COLUMNS
from probes.core import catalog
from probes.core.errors import LocalError
from probes.core.model import Circuit, ProbeSetting

ROOT = Path(__file__).parents[2]
DEFAULT = ROOT / "config" / "agent.yaml"
REJECTS = Path(__file__).with_name("config_rejects")
SECOND = 10**9

FULL = """
site: ams-edge-01
interval: 10s
log_level: debug
contracts: agreements
store: {path: state, keep_packets: 7d, keep_samples: 90d}
sinks:
  - {name: central, url: "https://influx.example.net:8086/", api: v2, org: isp, bucket: sla,
     token: {credential: influx-token}, ca_file: tls/ca.pem, batch: 100, timeout: 1500ms, histograms: false}
  - {name: legacy, url: "http://10.0.0.5:8086", api: v1, database: sla, retention_policy: a, username: u,
     password: {file: ../pw}}
reflector: {listen: "::", allow: [192.0.2.7, 2001:db8::/32], stamp_port: 8862, key: {file: ../stamp-key},
  unauthenticated: [192.0.2.7], stateful: false, reply_dscp: [EF, 10], stamp_rate: 50, stamp_gather: 0s}
circuits:
  - name: 12/KQGN/123456//ZYO
    customer: ACME
    provider: ExampleTel
    site: Rotterdam
    target: edge.example.net
    source: 192.0.2.9
    interface: eth1
    dscp: AF41
    family: 4
    committed_rate: 100Mbit/s
    labels: {region: west}
    contract: gold
    monthly_charge: "480.00 EUR"
    probes:
      - {kind: icmp, every: 200ms, size: 200, dscp: EF}
      - {kind: icmp, name: slow, every: 10s, size: 64B}
      - {kind: tcp, port: 443, schedule: "*/5 8-18 * 1,jul 1-5"}
      - {kind: throughput, every: 1h, duration: 10s, limit: 50Mbit/s}
  - name: gw
    target: {discover: gateway}
    probes: [{kind: icmp}]
"""


@pytest.fixture
def full(tmp_path: Path) -> AgentConfig:
    (tmp_path / "agreements").mkdir()
    (tmp_path / "agreements" / "gold.yaml").touch()
    (tmp_path / "agent.yaml").write_text(FULL)
    return load(tmp_path / "agent.yaml")


def test_everything_arrives_in_base_units(full: AgentConfig, tmp_path: Path) -> None:
    assert (full.site, full.span_ns, full.log_level) == ("ams-edge-01", 10 * SECOND, "debug")
    assert full.contracts == tmp_path / "agreements"
    assert full.store.path == tmp_path / "state"
    assert full.store.keep_packets_ns == 7 * 86400 * SECOND
    central, legacy = full.sinks
    assert central.url == "https://influx.example.net:8086"
    assert (central.timeout_ns, central.histograms) == (1_500_000_000, False)
    assert (central.token, central.ca_file) == (SecretSource(credential="influx-token"), tmp_path / "tls/ca.pem")
    assert (legacy.password, legacy.batch) == (SecretSource(file=tmp_path.parent / "pw"), 5000)
    assert full.reflector is not None
    assert full.reflector.allow == ("192.0.2.7/32", "2001:db8::/32")
    assert (full.reflector.echo_port, full.reflector.responder_port) == (8620, 8621)
    assert (full.reflector.stamp_port, full.reflector.stateful) == (8862, False)
    assert full.reflector.key == SecretSource(file=tmp_path.parent / "stamp-key")
    assert (full.reflector.unauthenticated, full.reflector.reply_dscp) == (("192.0.2.7/32",), (46, 10))
    assert (full.reflector.stamp_rate, full.reflector.stamp_gather_ns) == (50, 0)
    assert full.discover == {"gw": "gateway"}
    circuit = full.circuits[0]
    assert replace(circuit, probes=()) == Circuit(
        "12/KQGN/123456//ZYO", "edge.example.net", "ACME", "ExampleTel", "Rotterdam", "192.0.2.9", "eth1", 34, 4,
        100_000_000, {"region": "west"}, (), "gold", "480.00 EUR",
    )  # fmt: skip
    icmp, slow, tcp, throughput = circuit.probes
    assert (icmp.name, icmp.parameters["every"]) == ("icmp", 200_000_000)
    assert (icmp.parameters["size"], icmp.parameters["dscp"]) == (200, 46)
    assert (slow.name, slow.parameters["size"], "dscp" in slow.parameters) == ("slow", 64, False)
    assert tcp.schedule == "*/5 8-18 * 1,7 mon,tue,wed,thu,fri"
    assert tcp.parameters == {"port": 443, "timeout": 3 * SECOND}
    assert throughput.parameters["limit"] == 50_000_000
    assert None not in throughput.parameters.values()


def test_the_default_file_is_right_and_needs_nothing() -> None:
    config = load(DEFAULT)
    assert {circuit.id for circuit in config.circuits} >= {"loopback-udp", "loopback-tcp", "gateway", "resolver"}
    assert config.store.path == ROOT / "var" / "store"
    assert config.sinks == ()
    assert config.reflector is not None
    assert config.reflector.listen == "127.0.0.1"
    assert all(circuit.contract for circuit in config.circuits)


@pytest.mark.parametrize(("written", "port"), [("", 862), ("stamp_port: 8862,", 8862), ('stamp_port: "off",', 0)])
def test_the_port_of_stamp(tmp_path: Path, written: str, port: int) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text(f"reflector: {{listen: 127.0.0.1, {written} allow: [127.0.0.0/8]}}\n", "utf-8")
    config = load(path)
    assert config.reflector is not None
    assert (config.reflector.stamp_port, config.reflector.key, config.reflector.stateful) == (port, None, True)
    shown = config.written["reflector"]
    assert isinstance(shown, dict)
    assert shown["stamp_port"] == (port or "off")


def test_every_key_is_explained_in_the_default_file() -> None:
    """Each key of the schema stands in the file, in force or in a comment."""
    text, definitions = DEFAULT.read_text(), json_schema()["$defs"]
    assert isinstance(definitions, dict)
    sections = [
        json_schema(),
        *(definitions[name] for name in ("Circuit", "SinkSection", "StoreSection", "ReflectorSection")),
    ]
    keys = {key for section in sections for key in section["properties"]}
    assert {key for key in keys if f"{key}:" not in text} == set()
    assert {kind for kind in catalog.names() if f"kind: {kind}" not in text} == set()


def test_what_is_commented_out_in_the_default_file_is_right_too(tmp_path: Path) -> None:
    lines = DEFAULT.read_text().splitlines()
    start = lines.index("# sinks:")
    stop = next(n for n, line in enumerate(lines) if n > start and not line.startswith("#"))
    sinks = [line.removeprefix("# ").removeprefix("#") for line in lines[start:stop]]
    first = next(n for n, line in enumerate(lines) if line.startswith("#   - name: ACME-AMS-0042"))
    circuit = [line.removeprefix("#") for line in lines[first : lines.index("circuits:")]]
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "gold-ethernet.yaml").touch()
    ends = [
        f"   - {{name: {name}, target: 192.0.2.1, probes: [{{kind: icmp}}]}}"
        for name in ("edge-router", "rotterdam-4g")
    ]
    (tmp_path / "agent.yaml").write_text("\n".join([*sinks, "circuits:", *circuit, *ends, ""]))
    config = load(tmp_path / "agent.yaml")
    assert [sink.name for sink in config.sinks] == ["central", "legacy"]
    assert {probe.kind for probe in config.circuits[0].probes} == set(catalog.names())
    assert (config.circuits[0].near_end, config.circuits[0].far_end) == ("edge-router", "rotterdam-4g")


def test_what_is_shown_reads_back_as_the_same_configuration(full: AgentConfig, tmp_path: Path) -> None:
    for config, directory in ((full, tmp_path), (load(DEFAULT), DEFAULT.parent)):
        (tmp_path / "shown.yaml").write_text(dump(effective(config)))
        assert directory.exists()
        assert load(tmp_path / "shown.yaml") == config
        (tmp_path / "shown.json.yaml").write_text(json.dumps(effective(config)))
        assert load(tmp_path / "shown.json.yaml") == config


def test_drop_ins_join_in_name_order(tmp_path: Path) -> None:
    circuit = "  - {{name: {0}, target: 192.0.2.1, probes: [{{kind: tcp, port: 1}}]}}\n"
    (tmp_path / "agent.yaml").write_text("circuits:\n" + circuit.format("a"))
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "20.yaml").write_text("circuits:\n" + circuit.format("c") + "store: {keep_packets: 1d}\n")
    (tmp_path / "conf.d" / "10.yaml").write_text("circuits:\n" + circuit.format("b") + "store: {path: /x}\nsite: s\n")
    (tmp_path / "conf.d" / "30.yaml").write_text("# nothing yet\n")
    (tmp_path / "conf.d" / ".hidden.yaml").write_text("wrong: 1\n")
    (tmp_path / "conf.d" / "40.yaml.off").write_text("wrong: 1\n")
    config = load(tmp_path / "agent.yaml")
    assert [item.id for item in config.circuits] == ["a", "b", "c"]
    assert (str(config.store.path), config.store.keep_packets_ns, config.site) == ("/x", 86400 * SECOND, "s")
    assert [file.name for file in config.files] == ["agent.yaml", "10.yaml", "20.yaml", "30.yaml"]


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(LocalError, match="No such file"):
        load(Path("/nonexistent/agent.yaml"))


def test_a_thousand_circuits_are_told_apart(tmp_path: Path) -> None:
    lines = [f"  - {{name: c{n}, target: 192.0.2.1, probes: [{{kind: icmp, every: 1s}}]}}\n" for n in range(1000)]
    lines[700] = lines[700].replace("1s", "1")
    (tmp_path / "agent.yaml").write_text("circuits:\n" + "".join(lines))
    with pytest.raises(DocumentError) as caught:
        load(tmp_path / "agent.yaml")
    [problem] = caught.value.problems
    assert (problem.line, problem.key) == (702, "circuits[c700].probes[icmp].every")


# JSON Schema


def validator() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    return jsonschema.Draft202012Validator(json_schema())


def test_the_schema_accepts_what_the_agent_accepts(full: AgentConfig) -> None:
    check = validator()
    for data in (read(FULL, "f").data, read(DEFAULT.read_bytes(), "f").data, effective(full), effective(load(DEFAULT))):
        assert [error.message for error in check.iter_errors(data)] == []


@pytest.mark.parametrize(
    "name",
    ["batch-zero", "charge-without-currency", "circuit-without-probes", "direction-unknown", "dscp-tos-octet",
     "dscp-unknown", "family-unknown", "hyphen-for-underscore", "interval-without-unit", "label-is-a-number",
     "log-level-unknown", "misspelt-key", "missing-kind", "missing-port", "port-zero", "quoted-number",
     "rate-in-bytes", "reflector-without-allow", "token-inline", "unknown-kind", "unknown-probe-key",
     "unknown-section", "yes-is-not-a-boolean"],
)  # fmt: skip
def test_the_schema_refuses_what_an_editor_can_see(name: str) -> None:
    data = read((REJECTS / f"{name}.yaml").read_bytes(), name).data
    assert list(validator().iter_errors(data))


def test_the_shipped_schema_is_the_schema() -> None:
    """After a change: `linkwitness config schema > config/agent.schema.json`."""
    assert json.loads((ROOT / "config" / "agent.schema.json").read_text()) == json_schema()
    assert DEFAULT.read_text().startswith("# yaml-language-server: $schema=agent.schema.json\n")


# Schedules


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("15 3 * * *", "15 3 * * *"),
        ("  0   0 1 jan *", "0 0 1 1 *"),
        ("0 0 * * 0", "0 0 * * sun"),
        ("0 0 * * 7", "0 0 * * sun"),
        ("0 0 * * 5-7", "0 0 * * fri,sat,sun"),
        ("0 0 * * MON-fri/2", "0 0 * * mon,wed,fri"),
        ("5/20 */6 * * *", "5,25,45 */6 * * *"),
        ("0-10/30 */23 */31 * *", "0 */23 1 * *"),
        ("0 0 29 2 *", "0 0 29 2 *"),
    ],
)
def test_schedules_are_written_so_that_sunday_is_sunday(text: str, plain: str) -> None:
    assert normalise(text) == plain


def _part(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    step = st.tuples(st.just("*") | span, st.integers(1, high)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    return st.lists(number.map(str) | span | step, min_size=1, max_size=3).map(",".join)


def _matches(text: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        found |= set(range(int(first), int(last or first) + 1, int(step or 1)))
    return found


weekdays = st.just("*") | _part(0, 7)
moments = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1))


@given(_part(0, 59), _part(0, 23), weekdays, moments)
def test_the_scheduler_runs_what_is_written(minute: str, hour: str, weekday: str, now: datetime) -> None:
    """Against a naive search over minutes; cron counts Sunday as 0 and 7."""
    days = set(range(7)) if weekday == "*" else {day % 7 for day in _matches(weekday, 0, 7)}
    minutes, hours = _matches(minute, 0, 59), _matches(hour, 0, 23)
    start = now.replace(second=0, microsecond=0, tzinfo=UTC) + timedelta(minutes=1)
    expected = start
    while expected.isoweekday() % 7 not in days or expected.hour not in hours or expected.minute not in minutes:
        expected += timedelta(minutes=1)
    trigger = CronTrigger.from_crontab(normalise(f"{minute} {hour} * * {weekday}"), timezone=UTC)
    assert trigger.get_next_fire_time(None, start) == expected


@given(st.text("0123456789*/-,monJAN ", max_size=20))
def test_a_schedule_is_understood_or_refused(text: str) -> None:
    try:
        plain = normalise(text)
    except LocalError:
        return
    assert normalise(plain) == plain
    assert CronTrigger.from_crontab(plain, timezone=UTC)


# Labels


@pytest.mark.parametrize("name", [*INTEGER_COLUMNS, "circuit", "histogram", "average_response_ms", "Region", "", "_x"])
def test_a_label_is_never_taken_for_something_else(name: str) -> None:
    with pytest.raises(LocalError):
        as_label_key().read(name)


# Secrets


def test_a_secret_shows_nowhere() -> None:
    secret = Secret("s3cr3t")
    assert secret.reveal() == "s3cr3t"
    assert "s3cr3t" not in f"{secret} {secret!r} {[secret]} {secret:}"


def test_a_secret_in_a_private_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cr3t\n")
    file.chmod(0o600)
    assert SecretSource(file=file).read().reveal() == "s3cr3t"
    for mode in (0o640, 0o604, 0o620):
        file.chmod(mode)
        with pytest.raises(LocalError, match="open to other users") as caught:
            SecretSource(file=file).read()
        assert "s3cr3t" not in str(caught.value)
    file.chmod(0o600)
    for content in (b"", b"\n", b"two\nlines", b"\xff\xfe", b"x" * 70_000):
        file.write_bytes(content)
        with pytest.raises(LocalError, match="one line"):
            SecretSource(file=file).read()
    file.unlink()
    with pytest.raises(LocalError, match="No such file"):
        SecretSource(file=file).read()


def test_a_secret_in_a_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "influx-token").write_text("s3cr3t")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(LocalError, match="LoadCredential=influx-token"):
        SecretSource(credential="influx-token").read()
    monkeypatch.setitem(os.environ, "CREDENTIALS_DIRECTORY", str(tmp_path))
    assert SecretSource(credential="influx-token").read().reveal() == "s3cr3t"


# Reload


def _circuit(name: str, **changes: object) -> Circuit:
    probe = ProbeSetting("icmp", "icmp", {"every": SECOND})
    return replace(Circuit(name, "192.0.2.1", probes=(probe,)), **changes)  # type: ignore[arg-type]


def test_what_a_reload_changes(full: AgentConfig) -> None:
    old = replace(full, circuits=(_circuit("a"), _circuit("b"), _circuit("c"), _circuit("d")), discover={})
    assert not difference(old, replace(old, files=(), written={}))
    other = ProbeSetting("icmp", "icmp", {"every": 2 * SECOND})
    new = replace(
        old,
        circuits=(_circuit("e"), _circuit("d", labels={"x": "y"}), _circuit("a"), _circuit("b", probes=(other,))),
        discover={"a": "gateway"},
        sinks=old.sinks[:1],
    )
    assert difference(old, new) == ConfigDifference(
        added=("e",), removed=("c",), changed=("a", "b"), described=("d",), sinks=True
    )
    for name, value in {
        "site": "x", "store": replace(old.store, keep_packets_ns=1), "reflector": None, "contracts": Path("/x"),
        "log_level": "info",
    }.items():  # fmt: skip
        found = difference(old, replace(old, **{name: value}))  # type: ignore[arg-type]
        assert found == ConfigDifference(**{name: True})  # type: ignore[arg-type]
    assert difference(old, replace(old, span_ns=1)) == ConfigDifference(interval=True)


names = st.lists(st.sampled_from("abcdef"), unique=True)


@given(names, names)
def test_a_difference_turns_one_set_of_circuits_into_the_other(before: list[str], after: list[str]) -> None:
    settings = {"site": "s", "store": None, "sinks": (), "reflector": None, "discover": {}, "span_ns": 1,
                "contracts": Path(), "log_level": "info", "files": (), "written": {}}  # fmt: skip
    old = AgentConfig(circuits=tuple(_circuit(name) for name in before), **settings)  # type: ignore[arg-type]
    new = AgentConfig(circuits=tuple(_circuit(name) for name in after), **settings)  # type: ignore[arg-type]
    change = difference(old, new)
    assert (set(before) - set(change.removed)) | set(change.added) == set(after)
    assert not change.changed + change.described


# Nonsense

junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["1s", "::1", "EF"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "kind", "file", "credential", "discover", "x", ""]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@st.composite
def spoilt(draw: st.DrawFn) -> object:
    """A right configuration with one to three values, items or keys replaced by nonsense."""
    data = read(FULL, "f").data
    for _ in range(draw(st.integers(1, 3))):
        here: object = data
        while isinstance(here, dict | list) and here:
            key = draw(st.sampled_from(sorted(here) if isinstance(here, dict) else range(len(here))))
            inner = here[key]  # type: ignore[index]
            if draw(st.booleans()) or not isinstance(inner, dict | list):
                here[draw(st.text(max_size=5)) if isinstance(here, dict) and draw(st.booleans()) else key] = draw(junk)  # type: ignore[index]
                break
            here = inner
    return data


@given(spoilt())
def test_nonsense_gives_problems_and_nothing_else(data: object) -> None:
    document = Document(data, {(): Position("f", 1, 1)}, {}, ("f",))
    try:
        require(document, config_file(), across(document, ROOT / "config"))
    except DocumentError as error:
        said = [problem.message for problem in error.problems]
        if not all(text and "\n" not in text for text in said):
            raise


@pytest.mark.parametrize("refused", ["contracts", "conf.d"])
def test_directories_that_may_not_be_read_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    (tmp_path / "agent.yaml").write_text(
        "circuits:\n  - {name: a, target: 192.0.2.1, contract: gold, probes: [{kind: icmp}]}\n"
    )
    listing = Path.iterdir

    def refuse(directory: Path) -> object:
        if directory.name == refused:
            raise PermissionError(13, "Permission denied")
        return listing(directory)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(LocalError, match=f"cannot read {tmp_path}/{refused}: Permission denied"):
        load(tmp_path / "agent.yaml")


def test_the_name_of_a_contract_may_be_longer_than_that_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "contracts").mkdir()
    (tmp_path / "agent.yaml").write_text(
        f"circuits:\n  - {{name: a, target: 192.0.2.1, contract: {'g' * 300}, probes: [{{kind: icmp}}]}}\n"
    )
    with pytest.raises(DocumentError, match="contract"):
        load(tmp_path / "agent.yaml")


# Secrets of probes


def test_a_probes_key_is_named_and_never_written(tmp_path: Path) -> None:
    """A relative file is beside the configuration; what is shown reads back and holds no secret."""
    text = """\
circuits:
  - name: C1
    target: 192.0.2.1
    probes:
      - {kind: stamp, key: {file: keys/stamp}, ssid: 9, stamps: ptp}
      - {kind: stamp, name: other, key: {credential: stamp-key}}
"""
    (tmp_path / "agent.yaml").write_text(text)
    config = load(tmp_path / "agent.yaml")
    first, second = (probe.parameters for probe in config.circuits[0].probes)
    assert first["key"] == SecretSource(file=tmp_path / "keys" / "stamp")
    assert second["key"] == SecretSource(credential="stamp-key")
    assert (first["ssid"], first["stamps"], first["port"], first["follow_up"]) == (9, "ptp", 862, True)
    (tmp_path / "shown.yaml").write_text(dump(effective(config)))
    assert load(tmp_path / "shown.yaml").circuits == config.circuits


def test_a_probes_key_is_not_written_in_the_file(tmp_path: Path) -> None:
    text = "circuits: [{name: C1, target: 192.0.2.1, probes: [{kind: stamp, key: 0123456789abcdef}]}]\n"
    (tmp_path / "agent.yaml").write_text(text)
    with pytest.raises(DocumentError) as caught:
        load(tmp_path / "agent.yaml")
    assert "a secret is not written in this file" in str(caught.value)
    assert "0123456789abcdef" not in str(caught.value)

"""The keeper of sealed days, the process that seals, retention by age and bytes, and what verification finds."""

import dataclasses
import errno
import itertools
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from agent.config.settings import StoreSettings
from agent.store import Store, StoreReader, writer
from agent.store.sealed import bundle, manifest, parquet, process, retention, sealing, verification
from agent.store.sealed.keeper import Keeper
from agent.store.sealed.manifest import DamagedSeal
from agent.store.sealed.reading import SealedDays
from probes.core.arrays import Histogram
from probes.core.errors import LocalError
from tests.fakes.samples import START, SteppedClock, ping, some_packets
from tests.fakes.sealed import DAY, FAR, release_all, seal_all, told

PER_DAY = 8640
FIRST_DAY = START // DAY
ROOT = Path(__file__).parents[3]


def fill(store: Store, days: int, rows: int = 20) -> None:
    """Some intervals of every day, with histogram and packets."""
    shape = Histogram(np.array([3, 9]), np.array([4, 6]))
    for day in range(days):
        store.append(
            [ping(day * PER_DAY + n, packets=some_packets(n + 1), histogram=shape, rtt_ns=n) for n in range(rows)]
        )
    assert store.flush(30.0)


@pytest.fixture
def sealed(store: Store, store_path: Path) -> list[manifest.Part]:
    """Four sealed days that have left the live database, and one live."""
    fill(store, 5)
    parts = seal_all(store_path, FIRST_DAY + 4)
    release_all(store, parts)
    return parts


@pytest.fixture
def events() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def keeper(store: Store, store_path: Path, clock: SteppedClock, events: list[tuple[str, str]]) -> Iterator[Keeper]:
    keeper = Keeper(store_path, store, clock, lambda kind, text: events.append((kind, text)))
    yield keeper
    keeper.close()


def policy(path: Path, **more: int) -> StoreSettings:
    values = {"keep_packets_ns": 1000 * DAY, "keep_samples_ns": 1000 * DAY, "seal_after_ns": DAY} | more
    return StoreSettings(path, **values)


def at(clock: SteppedClock, day: float) -> None:
    """Set the wall clock to so many days after the first sample's day began."""
    clock.offset_ns = 0
    clock.offset_ns = FIRST_DAY * DAY + int(day * DAY) - clock.wall()


def test_the_keeper_seals_what_is_old_enough_and_no_more(
    store: Store, reader: StoreReader, store_path: Path, clock: SteppedClock, keeper: Keeper,
    events: list[tuple[str, str]],
) -> None:  # fmt: skip
    fill(store, 4)
    before = told(reader)
    at(clock, 3.9)
    keeper.work(policy(store_path))
    assert manifest.names(store_path) == ["2026-09-21.1", "2026-09-22.1"]
    assert told(reader) == before
    assert len(reader.after(0, 1000)) == 40
    assert [kind for kind, _text in events] == ["sealed", "sealed"]
    keeper.work(policy(store_path))
    assert len(manifest.names(store_path)) == 2


def test_the_keeper_ends_what_was_cut_off_between_sealing_and_release(
    store: Store, reader: StoreReader, store_path: Path, clock: SteppedClock, keeper: Keeper
) -> None:
    fill(store, 2)
    before = told(reader)
    seal_all(store_path)
    assert len(reader.after(0, 1000)) == 40
    at(clock, 0.5)
    keeper.work(policy(store_path))
    assert reader.after(0, 1000) == []
    assert told(reader) == before


def test_a_file_found_damaged_before_the_rows_have_left_is_set_aside_and_the_day_sealed_again(
    store: Store, reader: StoreReader, store_path: Path, clock: SteppedClock, keeper: Keeper
) -> None:
    fill(store, 1)
    before = told(reader)
    (part,) = seal_all(store_path)
    flip(store_path / manifest.FOLDER / part.name / part.files[0].name, 100, 3)
    at(clock, 9)
    with pytest.raises(DamagedSeal, match="SHA-256"):
        keeper.work(policy(store_path))
    assert [path.name for path in (store_path / "damaged").iterdir()] == [part.name]
    assert manifest.names(store_path) == [part.name]
    assert (reader.after(0, 100), told(reader)) == ([], before)


@pytest.mark.parametrize("damaged", ["a file, half released", "the manifest"])
def test_a_damaged_part_keeps_no_other_day_from_being_sealed_or_retired(
    store: Store, reader: StoreReader, store_path: Path, clock: SteppedClock, keeper: Keeper, damaged: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(process, "seal_one", seal_here)
    fill(store, 4)
    parts = seal_all(store_path, FIRST_DAY + 2)
    release_all(store, parts[:1])
    if damaged == "the manifest":
        flip(manifest.path_of(store_path, parts[1].name), 20, 1)
    else:
        monkeypatch.setattr(writer, "LEAVING_ROWS", 5)
        assert store.release(parts[1], iter([True, False]).__next__) == 5
        flip(store_path / manifest.FOLDER / parts[1].name / parts[1].files[0].name, 100, 3)
    live = sum(item.sample.start_ns // DAY == FIRST_DAY + 1 for item in reader.after(0, 100))
    assert live == (20 if damaged == "the manifest" else 15)
    at(clock, 30)
    for _ in range(2):
        with pytest.raises(DamagedSeal, match=parts[1].name):
            keeper.work(policy(store_path, keep_samples_ns=28 * DAY + DAY // 2))
        assert manifest.names(store_path) == ["2026-09-22.1", "2026-09-23.1", "2026-09-24.1"]
        assert [item.sample.start_ns // DAY - FIRST_DAY for item in reader.after(0, 100)] == [1] * live


def seal_here(store: Path, *, timeout_s: float, stop: threading.Event, **due: int) -> str | None:
    """As process.seal_one, in this process."""
    assert timeout_s > 0
    assert not stop.is_set()
    part = sealing.seal_next(store, before_day=due["before_day"], now_ns=due["now_ns"], live_bytes=due["live_bytes"])
    return None if part is None else part.name


def test_more_live_rows_than_sealed_ones_are_never_removed(
    store: Store, store_path: Path, clock: SteppedClock, keeper: Keeper, reader: StoreReader
) -> None:
    fill(store, 1)
    (part,) = seal_all(store_path)
    directory = store_path / manifest.FOLDER / part.name
    manifest.write(directory, dataclasses.replace(part, rows=part.rows - 1))
    at(clock, 0.5)
    with pytest.raises(LocalError, match="20 rows are live and 19 sealed"):
        keeper.work(policy(store_path))
    assert len(reader.after(0, 100)) == 20


def test_a_pass_runs_beside_the_caller_and_is_cut_off_by_close(
    store: Store, store_path: Path, clock: SteppedClock, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, 1)
    at(clock, 9)
    entered, passes = threading.Event(), []

    def stuck(_store: Path, *, stop: threading.Event, **_more: object) -> None:
        passes.append(1)
        entered.set()
        assert stop.wait(30)

    monkeypatch.setattr(process, "seal_one", stuck)
    keeper.begin(policy(store_path))
    assert entered.wait(30)
    keeper.begin(policy(store_path))
    keeper.close(30.0)
    keeper.begin(policy(store_path))
    assert passes == [1]


def test_the_process_seals_steps_back_and_answers(store: Store, store_path: Path, reader: StoreReader) -> None:
    fill(store, 2)
    assert process.seal_one(store_path, before_day=FAR, now_ns=7, timeout_s=60) == "2026-09-21.1"
    assert process.seal_one(store_path, before_day=FAR, now_ns=7, timeout_s=60) == "2026-09-22.1"
    assert process.seal_one(store_path, before_day=FAR, now_ns=7, timeout_s=60) is None
    assert [part.sealed_ns for part in manifest.load_all(store_path)] == [7, 7]
    priority = (
        "import os, sys; from agent.store.sealed import child; child.step_back(int(sys.argv[1])); "
        "print(os.getpriority(os.PRIO_PROCESS, 0), *open('/proc/self/stat').read().rsplit(')')[-1].split()[16:17])"
    )
    done = subprocess.run(
        [sys.executable, "-c", priority, str(os.getpid())], cwd=ROOT, capture_output=True, check=True, text=True
    )
    assert done.stdout.split() == ["19", "19"]
    assert len(reader.after(0, 100)) == 40


def test_two_processes_do_not_seal_at_once(store: Store, store_path: Path) -> None:
    fill(store, 1)
    (store_path / manifest.FOLDER).mkdir()
    with sealing._sole(store_path):
        assert process.seal_one(store_path, before_day=FAR, now_ns=7, timeout_s=60) is None
        with pytest.raises(sealing.SealingBusy):
            sealing.seal_next(store_path, before_day=FAR, now_ns=7)
    assert process.seal_one(store_path, before_day=FAR, now_ns=7, timeout_s=60) == "2026-09-21.1"


def test_trouble_of_the_process_is_told(store: Store, store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, 1)
    (store_path / "empty").mkdir()
    with pytest.raises(LocalError, match=r"live database .* cannot be read"):
        process.seal_one(store_path / "empty", before_day=FAR, now_ns=7, timeout_s=60)
    with pytest.raises(LocalError, match="longer than 0 s"):
        process.seal_one(store_path, before_day=FAR, now_ns=7, timeout_s=0)
    stop = threading.Event()
    stop.set()
    assert process.seal_one(store_path, before_day=FAR, now_ns=7, timeout_s=60, stop=stop) is None
    monkeypatch.setattr(process, "_MODULE", "agent.store.sealed.no_such_module")
    with pytest.raises(LocalError, match=r"ended with 1: .*No module named"):
        process.seal_one(store_path, before_day=FAR, now_ns=7, timeout_s=60)


@pytest.mark.parametrize("fatal", range(6))
def test_a_full_disk_leaves_the_day_live_and_nothing_behind(
    store: Store, reader: StoreReader, store_path: Path, monkeypatch: pytest.MonkeyPatch, fatal: int
) -> None:
    fill(store, 1)
    before = told(reader)
    left = itertools.count()

    def refusing(call: Callable[..., object]) -> Callable[..., object]:
        def step(*values: object, **more: object) -> object:
            if next(left) == fatal:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return call(*values, **more)

        return step

    with monkeypatch.context() as full:
        full.setattr(bundle.parquet, "write", refusing(bundle.parquet.write))
        full.setattr(os, "fsync", refusing(os.fsync))
        with pytest.raises(OSError, match="No space left"):
            sealing.seal_next(store_path, before_day=FAR, now_ns=1)
    assert [path.name for path in (store_path / manifest.FOLDER).iterdir()] == ["lock"]
    assert told(reader) == before
    assert sealing.seal_next(store_path, before_day=FAR, now_ns=1) is not None


def test_duckdb_on_a_full_disk_is_an_os_error(tmp_path: Path) -> None:
    import numpy as np

    with pytest.raises(OSError, match=r"No space left|write"):
        parquet.write(Path("/dev/full"), {"a": np.arange(200_000)}, {"a": "hash(a)"})
    assert list(tmp_path.iterdir()) == []


def test_retention_by_age_takes_packets_first_and_then_days(
    sealed: list[manifest.Part], store_path: Path, reader: StoreReader, keeper: Keeper, clock: SteppedClock,
    events: list[tuple[str, str]],
) -> None:  # fmt: skip
    before = told(reader)
    at(clock, 4.5)
    keeper.work(policy(store_path, keep_packets_ns=2 * DAY, keep_samples_ns=3 * DAY, seal_after_ns=30 * DAY))
    assert manifest.names(store_path) == [part.name for part in sealed[1:]]
    left = [sorted({file.what for file in part.files}) for part in manifest.load_all(store_path)]
    assert left == [
        ["columns", "histograms", "samples"],
        ["columns", "histograms", "packets", "samples"],
        ["columns", "histograms", "packets", "samples"],
    ]
    first = reader.samples("ACME-1", "icmp", 0, START + 99 * DAY)
    assert [item.seq for item in first] == [seq for seq, _ in before["('ACME-1', 'icmp', 'icmp')"]["samples"][20:]]
    assert reader.packets("ACME-1", "icmp", first[0].sample.start_ns) is None
    assert reader.packets("ACME-1", "icmp", first[20].sample.start_ns) is not None
    assert events[0][0] == "retired"
    assert verification.verify(store_path).findings == ()


def test_retention_by_bytes_takes_the_oldest_packets_before_any_samples(sealed: list[manifest.Part]) -> None:
    bytes_of = [sum(file.bytes for file in part.of("packets")) for part in sealed]
    whole = sum(part.bytes for part in sealed)

    def gone(keep: int | None) -> tuple[list[str], list[str]]:
        found = retention.plan(
            sealed, packets_before_ns=0, samples_before_ns=0, keep_bytes=None if keep is None else keep + 1000,
            live_bytes=1000,
        )  # fmt: skip
        return [part.name for part in found[0]], [part.name for part in found[1]]

    names = [part.name for part in sealed]
    assert gone(None) == gone(whole) == ([], [])
    assert gone(whole - 1) == ([], names[:1])
    assert gone(whole - bytes_of[0]) == ([], names[:1])
    assert gone(whole - bytes_of[0] - 1) == ([], names[:2])
    assert gone(whole - sum(bytes_of)) == ([], names)
    assert gone(whole - sum(bytes_of) - 1) == (names[:1], names[1:])
    assert gone(0) == (names, [])


@pytest.mark.parametrize(("way", "column"), [("integers", "received"), ("packed", "sent")])
def test_a_reader_survives_retention_in_the_middle_of_its_answer(
    sealed: list[manifest.Part], store_path: Path, reader: StoreReader, monkeypatch: pytest.MonkeyPatch,
    way: str, column: str,
) -> None:  # fmt: skip
    honest = getattr(SealedDays, way)
    done: list[int] = []

    def late(*values: object, **named: object) -> object:
        if not done:
            done.append(1)
            retention.retire(store_path, sealed[:1], sealed[1:2])
        return honest(*values, **named)

    monkeypatch.setattr(SealedDays, way, late)
    assert len(reader.read("ACME-1", "icmp", (column,), 0, START + 99 * DAY)) == 80
    assert done


def flip(path: Path, byte: int, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[byte] ^= 1 << bit
    path.write_bytes(data)


def files_of(store: Path, part: manifest.Part) -> list[Path]:
    return sorted((store / manifest.FOLDER / part.name).iterdir())


def test_every_truncation_and_bit_flip_is_found(sealed: list[manifest.Part], store_path: Path) -> None:
    """Every truncation and flip of the manifest, and 150 of each of each Parquet file; nothing else is touched."""
    assert verification.verify(store_path).findings == ()
    chance = random.Random(1)
    part = sealed[1]
    for path in files_of(store_path, part):
        whole = path.read_bytes()
        small = path.name == manifest.MANIFEST
        cuts = range(len(whole)) if small else [0, 4, len(whole) - 1, *chance.sample(range(len(whole)), 150)]
        flips = (
            itertools.product(range(len(whole)), (0, 7))
            if small
            else [(chance.randrange(len(whole)), chance.randrange(8)) for _ in range(150)]
        )
        for cut in cuts:
            path.write_bytes(whole[:cut])
            assert is_found(store_path, part, path), (path.name, cut)
        for byte, bit in flips:
            path.write_bytes(whole)
            flip(path, byte, bit)
            assert is_found(store_path, part, path), (path.name, byte, bit)
        found = verification.verify(store_path).findings
        assert [finding.path for finding in found] == [path]
        path.write_bytes(whole)
    assert verification.verify(store_path).findings == ()


def is_found(store: Path, part: manifest.Part, path: Path) -> bool:
    """Whether this very file is found damaged."""
    if path.name != manifest.MANIFEST:
        return [item.path for item in verification.check_part(store, part)] == [path]
    try:
        manifest.load(store, part.name)
    except DamagedSeal as damage:
        return damage.path == path
    return False


def ask(reader: StoreReader, path: Path) -> object:
    """Something that needs this file of the third day."""
    if path.name.startswith("packets"):
        return reader.packets("ACME-1", "icmp", ping(2 * PER_DAY).start_ns)
    return reader.read("ACME-1", "icmp", asked(path), 0, START + 99 * DAY)


def asked(path: Path) -> tuple[str, ...]:
    """What cannot be read without this file."""
    return ("sent", "lost") if path.name.startswith("columns") else ("sent", "histogram")


def test_a_damaged_file_is_named_by_every_read_and_skipped_only_on_demand(
    sealed: list[manifest.Part], store_path: Path, reader: StoreReader
) -> None:
    everything = (0, START + 99 * DAY)
    for path in files_of(store_path, sealed[2]):
        whole = path.read_bytes()
        for spoil in (lambda p, w: p.write_bytes(w[:-3]), lambda p, _w: p.unlink(), lambda p, _w: flip(p, 2, 1)):
            spoil(path, whole)
            with pytest.raises(DamagedSeal) as damage:
                ask(reader, path)
            assert str(path) in str(damage.value)
            with StoreReader.open(store_path, ignore_damaged=True) as lenient:
                if not path.name.startswith("packets"):
                    assert len(lenient.read("ACME-1", "icmp", asked(path), *everything)) == 80
                    assert [item.path for item in lenient.left_out()] == [path]
                else:
                    assert lenient.packets("ACME-1", "icmp", ping(2 * PER_DAY).start_ns) is None
            path.write_bytes(whole)
    assert len(reader.read("ACME-1", "icmp", ("sent", "histogram"), *everything)) == 100


def test_a_manifest_in_the_place_of_another_is_found(sealed: list[manifest.Part], store_path: Path) -> None:
    other = manifest.path_of(store_path, sealed[0].name).read_bytes()
    manifest.path_of(store_path, sealed[1].name).write_bytes(other)
    (finding,) = verification.verify(store_path).findings
    assert finding.reason == "it is the manifest of 2026-09-21.1"
    assert json.loads(other.partition(b"\n")[0])["date"] == "2026-09-21"

"""Damage to files at rest: every truncation and every flipped bit of a sealed part is found, and so is every file
that is not where it was. What is read is what was stored, or the damaged file's name.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from agent.sla.samples.columns import INTEGER_COLUMNS
from agent.sla.samples.histograms import DayHistograms
from agent.store import Store, StoreReader, wholeness
from agent.store.sealed import manifest, packed, reading, verification
from agent.store.sealed.manifest import FOLDER, MANIFEST, DamagedSeal
from agent.store.sealed.offline import opened
from probes.metrics.histogram import build
from tests.fakes.samples import MAXIMUM, START, SteppedClock, ping, some_packets
from tests.fakes.sealed import DAY, Told, release_all, seal_all, told
from tests.faults.counts import count

PER_DAY = 8640
FIRST_DAY = START // DAY
SEED = 20_261_123
CIRCUITS = ("ACME-1", "ACME-2")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Three sealed days of two small circuits, out of the live database, and one live day."""
    path = tmp_path / "store"
    store = Store.open(path, clock=SteppedClock(), site="lab")
    for day in range(4):
        for circuit in CIRCUITS:
            store.append([
                ping(day * PER_DAY + n, circuit=circuit, rtt_ns=rtt, histogram=build(np.full(10, rtt)),
                     packets=some_packets(n + 1))
                for n, rtt in enumerate(range(10**7 + 100 * day, 10**7 + 100 * day + 3))
            ])  # fmt: skip
    assert store.flush(10.0)
    release_all(store, seal_all(path, FIRST_DAY + 3))
    assert store.close()
    return path


@pytest.fixture
def part(place: Path) -> Path:
    """The directory of the day in the middle."""
    return place / FOLDER / f"{manifest.day_text(FIRST_DAY + 1)}.1"


def files_of(part: Path) -> list[Path]:
    return sorted(part.iterdir())


def truth(place: Path) -> Told:
    with StoreReader.open(place) as reader:
        return told(reader)


def everything(reader: StoreReader, circuit: str) -> object:
    """All that is kept of a circuit, for ==."""
    columns = reader.read(circuit, "icmp", (*INTEGER_COLUMNS, "histogram"), -MAXIMUM, MAXIMUM)
    return (
        {name: columns.column(name).tolist() for name in INTEGER_COLUMNS},
        [None if item is None else item.to_text() for item in columns.histogram or ()],
    )


def packets(reader: StoreReader, circuit: str) -> list[object]:
    found = [reader.packets(circuit, "icmp", START + DAY + n * 10 * 10**9) for n in range(3)]
    return [None if item is None else (item.sent_ns.tolist(), item.rtt_ns.tolist()) for item in found]


def for_judging(reader: StoreReader, circuit: str) -> object:
    """What is read of the packed columns."""
    found = reader.read(circuit, "icmp", (*packed.NAMES[:-1], "histogram"), -MAXIMUM, MAXIMUM, summed=True)
    shapes = found.histogram
    assert isinstance(shapes, DayHistograms)
    sums = [part.tolist() for part in shapes.merged_of(shapes.there)]
    return {name: found.column(name).tolist() for name in packed.NAMES[:-1]}, shapes.there.tolist(), sums


Reading = Callable[[StoreReader, str], object]


class Watch:
    """Reads after every damage. answers: what an undamaged store says."""

    def __init__(self, place: Path) -> None:
        self.place = place
        with StoreReader.open(place) as reader:
            self.answers = {
                (ask, name): ask(reader, name) for ask in (everything, for_judging, packets) for name in CIRCUITS
            }

    def named(self, of_packets: bool, of_columns: bool = False) -> DamagedSeal | None:
        """The damage that a fresh reader reports, for both circuits; an answer that is not the truth fails."""
        found = None
        for circuit in CIRCUITS:
            ask: Reading = packets if of_packets else for_judging if of_columns else everything
            with StoreReader(self.place) as reader:
                try:
                    answer = ask(reader, circuit)
                except DamagedSeal as damage:
                    found = damage
                else:
                    assert answer == self.answers[ask, circuit], "numbers that were never stored"
        return found

    def assert_found(self, file: Path) -> None:
        damage = self.named(file.name.startswith("packets"), file.name.startswith("columns"))
        assert damage is not None, f"{file.name}: not found"
        assert damage.path == file
        assert str(file) in damage.message


@pytest.fixture
def watch(place: Path) -> Watch:
    return Watch(place)


def flips(size: int, number: int, chance: random.Random) -> Iterator[tuple[int, int]]:
    """(offset, bit): all of them where so many are wanted."""
    every = size * 8
    for at in range(every) if number >= every else sorted(chance.sample(range(every), number)):
        yield at // 8, at % 8


def damaged(path: Path, whole: bytes, changes: Iterator[bytes]) -> Iterator[bytes]:
    """Put each content into the file; the whole one at the end."""
    try:
        for content in changes:
            path.write_bytes(content)
            yield content
    finally:
        path.write_bytes(whole)


def flipped(whole: bytes, number: int, chance: random.Random) -> Iterator[bytes]:
    for offset, bit in flips(len(whole), number, chance):
        content = bytearray(whole)
        content[offset] ^= 1 << bit
        yield bytes(content)


def truncated(whole: bytes, number: int, chance: random.Random) -> Iterator[bytes]:
    lengths = range(len(whole))
    for length in lengths if number >= len(whole) else sorted(chance.sample(lengths, number)):
        yield whole[:length]


@pytest.mark.parametrize("how", [flipped, truncated])
@pytest.mark.timeout(3600)
def test_every_flipped_bit_and_every_truncation_of_a_sealed_part_is_found_and_named(
    part: Path, watch: Watch, how: Callable[[bytes, int, random.Random], Iterator[bytes]]
) -> None:
    number = count("DAMAGE", 40, 1 << 40)
    chance, total, octets = random.Random(SEED), 0, 0
    for file in files_of(part):
        whole = file.read_bytes()
        octets += len(whole)
        for _content in damaged(file, whole, how(whole, number, chance)):
            watch.assert_found(file)
            total += 1
    assert watch.named(of_packets=False) is watch.named(of_packets=True) is None
    print(
        f"{how.__name__}: {total} of a sealed part of {len(files_of(part))} files, {octets} octets: all found by name"
    )


@pytest.mark.parametrize("name", ["samples", "histograms", "columns", "packets", MANIFEST])
def test_the_other_days_stay_readable_and_verify_names_the_file(place: Path, part: Path, name: str) -> None:
    file = next(file for file in files_of(part) if file.name.startswith(name))
    shutil.move(part, place / "away")
    without = truth(place)
    shutil.move(place / "away", part)
    whole = file.read_bytes()
    file.write_bytes(whole[:100] + bytes([whole[100] ^ 4]) + whole[101:])
    with StoreReader.open(place, ignore_damaged=True) as reader:
        if name == "packets":
            assert packets(reader, CIRCUITS[0]) == [None, None, None]
        else:
            (for_judging if name == "columns" else everything)(reader, CIRCUITS[0])  # finds it
            # from then on the day is left out of every answer
            assert told(reader) == without
        assert [damage.path for damage in reader.left_out()] == [file]
    assert [item.path for item in wholeness.check(place).findings][:1] == [file]


def assert_reported(place: Path, watch: Watch, expected: Path) -> None:
    """Reading stops with the name, or what is read is the truth; verify finds it in any case."""
    damage = watch.named(of_packets=False) or watch.named(of_packets=True)
    assert damage is None or expected == damage.path
    assert expected in {item.path for item in wholeness.check(place).findings}


def test_swapped_files_and_files_of_another_day_are_found(place: Path, part: Path, watch: Watch) -> None:
    samples, histograms = (next(part.glob(f"{what}.*")) for what in ("samples", "histograms"))
    whole = {file: file.read_bytes() for file in (samples, histograms)}
    samples.write_bytes(whole[histograms])
    histograms.write_bytes(whole[samples])
    watch.assert_found(samples)
    assert {samples, histograms} <= {item.path for item in wholeness.check(place).findings}
    for file, content in whole.items():
        file.write_bytes(content)
    other = place / FOLDER / f"{manifest.day_text(FIRST_DAY)}.1"
    for file in files_of(part):
        content = file.read_bytes()
        shutil.copy(other / file.name, file)
        watch.assert_found(file)
        file.write_bytes(content)
    for file in files_of(part):  # the whole of another day under this one's name
        shutil.copy(other / file.name, file)
    watch.assert_found(part / MANIFEST)


def test_missing_and_surplus_files_are_found(place: Path, part: Path, watch: Watch) -> None:
    for file in files_of(part):
        content = file.read_bytes()
        file.unlink()
        watch.assert_found(file)
        assert_reported(place, watch, file)
        file.write_bytes(content)
    for name in ("samples.0002.parquet", "notes.txt"):
        shutil.copy(next(part.glob("samples.*")), part / name)
        assert watch.named(of_packets=False) is None
        assert_reported(place, watch, part / name)
        (part / name).unlink()


def test_a_renamed_day_is_found_and_a_copy_is_never_read_twice(place: Path, part: Path, watch: Watch) -> None:
    for name in (f"{part.name[:-2]}.7", f"{manifest.day_text(FIRST_DAY + 9)}.1", "old", f"{part.name}.bak"):
        renamed = part.rename(part.with_name(name))
        damage = watch.named(of_packets=False)
        assert damage is not None
        assert renamed in (damage.path, damage.path.parent)
        assert renamed in {top for item in wholeness.check(place).findings for top in (item.path, item.path.parent)}
        renamed.rename(part)
    copy = part.with_name(f"{part.name[:-2]}.2")
    shutil.copytree(part, copy)
    watch.assert_found(copy / MANIFEST)
    shutil.move(copy, part.with_name(f"{part.name}.bak"))
    assert watch.named(of_packets=False) is None
    assert_reported(place, watch, part.with_name(f"{part.name}.bak"))


def test_the_harness_catches_a_check_of_sizes_alone(part: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification.manifest, "digest", lambda _path: "")
    seeded = verification.check_file

    def only_sizes(path: Path, file: manifest.SealedFile) -> None:
        try:
            seeded(path, file)
        except DamagedSeal as damage:
            if "SHA-256" not in damage.reason:
                raise

    monkeypatch.setattr(reading, "check_file", only_sizes)
    caught = 0
    for file in files_of(part):
        if file.name == MANIFEST:
            continue
        whole = file.read_bytes()
        for _content in damaged(file, whole, flipped(whole, 40, random.Random(SEED))):
            try:
                watch.assert_found(file)
            except Exception:
                caught += 1
    assert caught > 0


def test_a_deleted_day_is_named_by_the_hole_it_leaves(place: Path, part: Path) -> None:
    known = manifest.load(place, part.name)
    shutil.rmtree(part)
    (hole,) = wholeness.check(place).missing
    assert (hole.first, hole.last, hole.reason) == (known.first_seq, known.through_seq, None)
    assert len(wholeness.check(place).findings) == 1


def test_what_is_set_aside_leaves_a_gap_and_is_not_deleted(place: Path, part: Path) -> None:
    file = next(part.glob("samples.*"))
    file.write_bytes(file.read_bytes()[:-1])
    kept = {file.name: file.read_bytes() for file in files_of(part)}
    shutil.copytree(part, part.with_name("notes"))
    with opened(place, SteppedClock()) as writer:
        done = wholeness.set_aside(place, wholeness.check(place).findings, START, writer.event)
    assert len(done) == 2
    aside = place / "damaged" / part.name
    assert {file.name: file.read_bytes() for file in files_of(aside)} == kept
    with StoreReader.open(place) as reader:
        (gap,) = [event for event in reader.events(kind="gap") if event.reason == "damaged"]
        assert (gap.at_ns, gap.count) == (START + DAY, 6)
        assert gap.end_ns is not None
        assert START + DAY + 20 * 10**9 < gap.end_ns <= START + 2 * DAY
        assert len(reader.read(CIRCUITS[0], "icmp", ("sent",), -MAXIMUM, MAXIMUM)) == 9
        assert part.name in reader.status().damaged
    found = wholeness.check(place)
    assert found.findings == []
    assert [item.reason for item in found.missing] == ["moved aside as damaged"]
    assert not part.exists()


def test_a_day_without_a_readable_manifest_is_a_gap_of_the_whole_day(place: Path, part: Path) -> None:
    (part / MANIFEST).write_bytes(b"{}")
    with opened(place, SteppedClock()) as writer:
        assert len(wholeness.set_aside(place, wholeness.check(place).findings, START, writer.event)) == 1
    with StoreReader.open(place) as reader:
        (gap,) = [event for event in reader.events(kind="gap") if event.reason == "damaged"]
    assert (gap.at_ns, gap.end_ns, gap.count) == ((FIRST_DAY + 1) * DAY, (FIRST_DAY + 2) * DAY, None)


def test_a_damaged_day_whose_samples_are_still_live_loses_nothing(place: Path) -> None:
    before = truth(place)
    (sealed,) = seal_all(place, FIRST_DAY + 4)
    file = next((place / FOLDER / sealed.name).glob("samples.*"))
    file.write_bytes(file.read_bytes()[:-1])
    with opened(place, SteppedClock()) as writer:
        (text,) = wholeness.set_aside(place, wholeness.check(place).findings, START, writer.event)
    assert "its samples are still live and will be sealed again" in text
    assert truth(place) == before
    with StoreReader.open(place) as reader:
        assert [event for event in reader.events(kind="gap") if event.reason == "damaged"] == []
    assert wholeness.check(place).findings == []

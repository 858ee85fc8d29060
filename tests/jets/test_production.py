from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from jetexp.cli import jetexp
from jetexp.errors import JetexpError
from jetexp.jets import generate, production
from jetexp.jets.clustering import Particles
from jetexp.jets.generate import make_chunk, make_pool
from jetexp.jets.load import load_jets
from jetexp.jets.pileup import read_pool
from jetexp.jets.production import sample_folder
from jetexp.jets.sample import Jets
from jetexp.jets.settings import CalorimeterSettings, GenerationSettings, SoftDropSettings
from jetexp.jets.table import read_table

CLASSES = ("QCD", "W", "top")


def times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.glob("chunks/*/*/[0-9]*.parquet")}


def workers_of(parent: int) -> list[int]:
    """Find the descendants of a process by /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if fields[0] != "Z" and int(fields[1]) == parent:
            found += [int(entry.name), *workers_of(int(entry.name))]
    return found


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def until(condition: Callable[[], object], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def start(folder: Path, per_class: int, workers: int) -> subprocess.Popen[bytes]:
    code = (
        "from pathlib import Path; from jetexp.jets.load import load_jets;"
        "from jetexp.jets.settings import GenerationSettings;"
        f"load_jets(GenerationSettings(per_class={per_class}, seed=12), ['QCD', 'W'], Path({str(folder)!r}), "
        f"workers={workers})"
    )
    root = Path(production.__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    return subprocess.Popen([sys.executable, "-c", code], env=environment)


def test_the_sample_is_found_again(
    pythia_jets: Jets, generation: GenerationSettings, jets_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("jets were made again")

    monkeypatch.setattr(production._Production, "run", refuse)
    again = load_jets(generation, ("top", "QCD", "W"), jets_folder)
    assert again.classes == ("top", "QCD", "W")
    assert again.with_classes(CLASSES).fingerprint == pythia_jets.fingerprint


def test_a_larger_request_begins_with_the_same_jets_and_chunks_are_shared(
    pythia_jets: Jets, generation: GenerationSettings, jets_folder: Path
) -> None:
    before = times(jets_folder)
    smaller = load_jets(generation.model_copy(update={"per_class": 100}), CLASSES, jets_folder)
    for label in range(3):
        few, many = (jets.take(jets.label == label) for jets in (smaller, pythia_jets))
        assert few.fingerprint == many.take(slice(0, 100)).fingerprint
    two = load_jets(generation.model_copy(update={"per_class": 100}), ("W", "QCD"), jets_folder)
    assert two.class_counts == {"W": 100, "QCD": 100}
    assert times(jets_folder) == before


def test_the_provenance_says_what_defines_the_sample(
    pythia_jets: Jets, generation: GenerationSettings
) -> None:
    provenance = pythia_jets.provenance
    assert provenance["settings"] == {
        "source": "pythia",
        "per_class": 300,
        "seed": 11,
        "pt_range": [600.0, 1500.0],
        "maximum_eta": 2.0,
        "radius": 1.0,
    }
    assert provenance["settings"] == generation.stored()
    assert set(provenance["physics"]["versions"]) == {"pythia8mc", "fastjet"}
    assert "weights" in provenance["selection"]
    assert "not used in training" in provenance["selection"]


def test_the_provenance_names_new_settings_only_where_they_are_used(tmp_path: Path) -> None:
    used = GenerationSettings(
        shower="vincia", pileup=20, calorimeter=CalorimeterSettings(), soft_drop=SoftDropSettings()
    )
    production_of = production._Production(used, ("QCD",), tmp_path, accepted={"QCD": []})
    provenance = production_of._provenance()
    assert json.loads(json.dumps(provenance)) == provenance
    assert set(provenance["settings"]) - set(GenerationSettings().stored()) == {
        "shower",
        "pileup",
        "calorimeter",
    }
    assert set(provenance["physics"]) >= {"shower", "pileup", "calorimeter"}


def test_a_sample_with_pile_up_has_a_pool_made_once_and_given_to_its_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools, made = [], []

    def stop(self: production._Production, workers: int, scratch: Path) -> Jets:
        pools.append(self.pool)
        raise KeyboardInterrupt

    def pool(seed: int) -> Particles:
        made.append(seed)
        return make_pool(seed, 20)

    monkeypatch.setattr(production._Production, "run", stop)
    monkeypatch.setattr(production, "make_pool", pool)
    monkeypatch.setattr(generate, "EVENTS_PER_CHUNK", 15)
    settings = GenerationSettings(per_class=5, seed=3, pileup=10)
    for radius in (1.0, 1.0, 0.8):
        with pytest.raises(KeyboardInterrupt):
            load_jets(settings.model_copy(update={"radius": radius}), ["QCD", "W"], tmp_path)
    assert made == [3]
    assert len(set(pools)) == 1
    assert pools[0] is not None
    assert pools[0].parent == tmp_path
    assert pools[0].name.startswith("pileup-seed3-")
    production._make("QCD", 3, 0, settings, tmp_path / "chunk.parquet", pools[0])
    again = make_chunk("QCD", 3, 0, settings, read_pool(pools[0]))
    assert len(again)
    assert again.fingerprint == read_table(tmp_path / "chunk.parquet", ("QCD",)).fingerprint


def test_a_damaged_chunk_is_made_again(
    pythia_jets: Jets,
    generation: GenerationSettings,
    jets_folder: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shutil.copytree(jets_folder / "chunks", tmp_path / "chunks")
    (chunk,) = tmp_path.glob(f"chunks/seed{generation.seed}-*/W/*.parquet")
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)
    (chunk.parent / ".000009.parquet.remains.parquet").touch()
    with caplog.at_level(logging.WARNING):
        again = load_jets(generation, CLASSES, tmp_path, workers=1)
    assert "It is made again" in caplog.text
    assert again.fingerprint == pythia_jets.fingerprint
    assert [path.name for path in chunk.parent.iterdir()] == ["000000.parquet"]


def test_names_of_samples_tell_them_apart(tmp_path: Path) -> None:
    base = GenerationSettings(per_class=10, seed=1)
    name = sample_folder(base, ["W", "QCD"], tmp_path).name
    assert name.startswith("pythia-QCD-W-10-seed1-")
    assert sample_folder(base, ["QCD", "W"], tmp_path).name == name
    names = {
        sample_folder(base.model_copy(update=change), ["QCD", "W"], tmp_path).name
        for change in ({}, {"radius": 0.8}, {"shower": "vincia"}, {"pileup": 1.0})
    }
    assert len(names) == 4
    # jets are groomed after they are read
    groomed = base.model_copy(update={"soft_drop": SoftDropSettings()})
    assert sample_folder(groomed, ["QCD", "W"], tmp_path).name == name


@pytest.mark.slow
def test_a_kill_half_way_costs_no_finished_chunk_and_changes_no_jet(tmp_path: Path) -> None:
    killed, other = tmp_path / "killed", tmp_path / "other"
    process = start(killed, 300, 1)
    until(lambda: times(killed))
    started = workers_of(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: not any(map(alive, started)), 60)
    before = times(killed)
    assert len(before) == 1
    assert not list(killed.glob("pythia-*"))

    # two processes ask for the sample, and each chunk is made once
    beside = start(killed, 300, 1)
    settings = GenerationSettings(per_class=300, seed=12)
    jets = load_jets(settings, ["QCD", "W"], killed, workers=1)
    assert beside.wait(120) == 0
    after = times(killed)
    assert len(after) == 2
    assert {path: after[path] for path in before} == before
    assert load_jets(settings, ["QCD", "W"], other, workers=2).fingerprint == jets.fingerprint


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("pause", [0.0, 2.0])
def test_no_worker_outlives_its_parent(tmp_path: Path, sent: signal.Signals, pause: float) -> None:
    process = start(tmp_path, 100_000, 2)
    until(lambda: len(workers_of(process.pid)) >= 2)
    time.sleep(pause)
    started = workers_of(process.pid)
    process.send_signal(sent)
    assert process.wait(60) != 0
    until(lambda: not any(map(alive, started)), 60)
    assert [path.name for path in tmp_path.iterdir()] == ["chunks"]


def test_a_full_disk_is_a_sentence(
    pythia_jets: Jets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jetexp.jets.store.write_table", full)
    with pytest.raises(JetexpError, match=r"cannot be written: No space left on device\."):
        production.write_jets(pythia_jets, tmp_path / "sample")
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_parts_made_by_several_processes_give_the_same_sample(tmp_path: Path) -> None:
    settings = GenerationSettings(per_class=450, seed=11)
    together, alone = tmp_path / "together", tmp_path / "alone"
    command = [sys.executable, "-m", "jetexp", "generate", "--per-class", "450", "--seed", "11"]
    command += ["--jets-folder", str(together), "--workers", "1"]
    parts = [
        subprocess.Popen(
            [*command, "--part", str(part), "2"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for part in range(2)
    ]
    told = [part.communicate()[0] for part in parts]
    assert [part.returncode for part in parts] == [0, 0]
    made = times(together)
    numbers = sorted(Path(path).stem for path in made)
    assert {"000000", "000001"} <= set(numbers)
    # the parts share the chunks out, and what is still missing is made in the end
    for part, text in enumerate(told):
        mine = sum(int(number) % 2 == part for number in numbers)
        assert f"Part {part} of 2: {mine} chunks of events made" in text
    jets = load_jets(settings, ["QCD", "W"], together, workers=2)
    assert made.items() <= times(together).items()
    assert jets.fingerprint == load_jets(settings, ["QCD", "W"], alone, workers=2).fingerprint
    # nothing is left to do
    assert production.make_part(settings, ["QCD", "W"], together, 0, 2) == 0


def test_a_part_that_there_is_not_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(JetexpError, match="There is no part 3 of 3: 0 to 2 would be right"):
        production.make_part(GenerationSettings(per_class=10), ["QCD"], tmp_path, 3, 3)
    assert not list(tmp_path.iterdir())


def test_the_command_makes_the_samples_of_an_experiment(
    jets_folder: Path, generation: GenerationSettings, pythia_jets: Jets, tmp_path: Path
) -> None:
    text = (Path(production.__file__).parents[2] / "experiments/w_vs_qcd.yaml").read_text()
    path = tmp_path / "mine.yaml"
    lines = [line for line in text.splitlines() if not line.startswith("test:")]
    path.write_text("\n".join(lines).replace("seed: 1}", f"seed: {generation.seed}}}"))
    command = ["generate", "--experiment", str(path), "--per-class", "300", "--jets-folder", str(jets_folder)]
    before = times(jets_folder)
    done = CliRunner().invoke(jetexp, command)
    assert done.exit_code == 0, done.output
    jets = load_jets(generation, ["QCD", "W"], jets_folder)
    assert done.output.count("fingerprint") == done.output.count(jets.fingerprint) == 1
    done = CliRunner().invoke(jetexp, [*command, "--part", "0", "2"])
    assert done.output == f"Part 0 of 2: 0 chunks of events made, in {jets_folder}.\n"
    assert times(jets_folder) == before

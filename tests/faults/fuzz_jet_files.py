"""Read damaged files of every form: each must end in jets or in one sentence.

    python tests/faults/fuzz_jet_files.py --files 12000 --seed 1

None may crash, take over ten seconds or over a gigabyte, run code, or be told in another way. The files are
read in a process apart, which is watched from here. The exit status is 1 if one of them did, or if fewer
than half of the files were of a form that is known.
"""

from __future__ import annotations

import argparse
import json
import queue
import resource
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent), str(HERE)]

import numpy as np
from mutations import SOURCES, mutated

from jetexp.errors import JetFileError
from jetexp.jets.formats import format_of
from jetexp.jets.formats.form import Drops, Wanted
from jetexp.jets.load import load_jets
from jetexp.jets.sample import Jets
from jetexp.jets.settings import GenerationSettings

CLASSES = ("QCD", "W", "top")
SECONDS = 10.0
KILOBYTES = 1_000_000
# what may not happen while a file is read; the HDF5 library's own process is started before
FORBIDDEN = frozenset({"pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "socket.connect"})


def read(path: Path, wanted: Wanted) -> tuple[bool, str]:
    """Read a file; tell whether its form was known, and how it ended."""
    known = False
    try:
        form = format_of(path)
        known = True
        form.content(path, wanted)
        for jets in form.read(path, wanted, Drops()):
            if fault := _fault(jets):
                return known, fault
    except JetFileError as error:
        return known, "refused" if "\n" not in str(error) and len(str(error)) < 2000 else f"told as {error}"
    except BaseException as error:
        return known, f"{type(error).__name__}: {str(error)[:200]}"
    return known, "jets"


def _fault(jets: Jets) -> str | None:
    """Say what no jets may be."""
    for name in ("constituent_pt", "constituent_eta", "constituent_phi", "pt", "eta", "mass"):
        if not np.isfinite(getattr(jets, name)).all():
            return f"jets whose {name} is no finite number"
    if (jets.constituent_pt <= 0).any():
        return "constituents without momentum"
    if (np.abs(jets.constituent_phi) > np.float32(np.pi)).any():
        return "angles that are not wrapped"
    if (jets.label < 0).any() or (jets.label >= len(jets.classes)).any():
        return "labels of no class"
    return None


def reads(kind: str, seed: int, first: int, number: int, folder: Path, jets: Jets) -> None:
    """Damage and read files one after the other; print a line of JSON before and after each."""
    warnings.simplefilter("error")
    source = SOURCES[kind]
    good, canary = folder / "good", folder / "canary"
    source.write(jets, good)
    classes = {"top_tagging": ("QCD", "top"), "energyflow": CLASSES[:2], "jet_images": CLASSES[:2]}
    wanted = Wanted(classes.get(kind, CLASSES), names=source.names, of_class=source.of_class, half_width=1.0)
    ended = read(good, wanted)
    if ended != (True, "jets"):
        raise SystemExit(f"{kind}: the file that is not damaged ends as {ended}")
    seen: list[str] = []
    sys.addaudithook(lambda event, _: seen.append(event) if event in FORBIDDEN else None)
    content, path = good.read_bytes(), folder / "damaged"
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for place in range(first, first + number):
        rng = np.random.default_rng((seed, place))
        path.write_bytes(mutated(source, content, jets, rng, folder, canary))
        seen.clear()
        print(json.dumps({"begun": place}), flush=True)
        # of the processor: a busy machine is no mistake; what waits is found by who watches
        started = time.process_time()
        known, end = read(path, wanted)
        seconds = time.process_time() - started
        highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if seconds > SECONDS:
            end = f"took {seconds:.1f} s"
        if highest > base + KILOBYTES:
            end, base = f"took {(highest - base) / 1e6:.1f} GB", highest
        if seen or canary.exists():
            end = f"ran code: {seen}"
            canary.unlink(missing_ok=True)
        print(json.dumps({"place": place, "known": known, "end": end}), flush=True)


def watched(kind: str, seed: int, number: int, folder: Path, sample: Path) -> Iterator[dict[str, Any]]:
    """Have files read in a process apart; go on behind one that it did not survive."""
    place = 0
    while place < number:
        command = [sys.executable, __file__, "--read", kind, "--seed", str(seed), "--first", str(place)]
        command += ["--files", str(number - place), "--folder", str(folder), "--jets", str(sample)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        lines: queue.Queue[str] = queue.Queue()

        def follow(process: Any = process, lines: Any = lines) -> None:
            for line in process.stdout:
                lines.put(line)
            lines.put("")

        threading.Thread(target=follow, daemon=True).start()
        begun = None
        with process:
            while True:
                try:
                    # the first line comes when everything is imported
                    line = lines.get(timeout=120 if begun is None else SECONDS + 20)
                except queue.Empty:
                    process.kill()
                    line, hung = "", True
                else:
                    hung = False
                told = json.loads(line) if line else {}
                if "place" in told:
                    place = told["place"] + 1
                    yield told
                elif "begun" in told:
                    begun = told["begun"]
                else:
                    break
            status, words = process.wait(), process.stderr.read() if process.stderr else ""
        if place < number:
            if begun is None or begun < place:
                raise SystemExit(words[-2000:] or f"{kind}: the reader ended with status {status}")
            yield {"place": begun, "known": True, "end": "hung" if hung else f"crashed: {status}"}
            place = begun + 1


def fuzz(files: int, seed: int, sample: Path, kinds: list[str]) -> dict[str, tuple[int, int, int, list[str]]]:
    """Read damaged files of every form.

    Returns
    -------
    dict
        By form: how many were known as it, were refused, gave jets, and the faults.
    """
    found = {}
    for kind in kinds:
        ends: Counter[str] = Counter()
        known, faults = 0, []
        with tempfile.TemporaryDirectory() as folder:
            for told in watched(kind, seed, -(-files // len(kinds)), Path(folder), sample):
                known += told["known"]
                ends[told["end"]] += 1
                if told["end"] not in ("jets", "refused"):
                    faults.append(f"{kind}, seed {seed}, file {told['place']}: {told['end']}")
        found[kind] = (known, ends["refused"], ends["jets"], faults)
    return found


def some_jets(folder: Path) -> Jets:
    """Give few real jets, made once."""
    return load_jets(GenerationSettings(per_class=20, seed=11), CLASSES, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--files", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jets", type=Path, default=Path("jets"), help="where generated jets are kept")
    parser.add_argument("--forms", nargs="*", default=list(SOURCES))
    for hidden in ("--read", "--folder", "--first"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    jets = some_jets(options.jets)
    if options.read:
        reads(options.read, options.seed, int(options.first), options.files, Path(options.folder), jets)
        return
    started = time.perf_counter()
    found = fuzz(options.files, options.seed, options.jets, options.forms)
    print(f"{'form':18} {'known':>7} {'refused':>8} {'jets':>6} {'faults':>7}")
    for kind, (known, refused, good, faults) in found.items():
        print(f"{kind:18} {known:7} {refused:8} {good:6} {len(faults):7}")
    columns = list(zip(*found.values(), strict=True))
    known, refused, good = (sum(column) for column in columns[:3])
    faults = [fault for column in columns[3] for fault in column]
    total = refused + good + len(faults)
    print(f"{'all':18} {known:7} {refused:8} {good:6} {len(faults):7}")
    print(
        f"{total} files in {time.perf_counter() - started:.0f} s, {known / total:.0%} known as what they were"
    )
    for fault in faults:
        print(fault)
    if faults or 2 * known < total:
        sys.exit(1)


if __name__ == "__main__":
    main()

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest

from jetexp.errors import JetFileError
from jetexp.jets.formats.hdf5 import hdf5_arrays, is_hdf5
from jetexp.jets.formats.hdf5_library import Hdf5File
from jetexp.jets.formats.hdf5_process import hdf5_process

BLOSC = hdf5plugin.Blosc(cname="blosclz")
GZIP = {"compression": "gzip", "shuffle": True, "fletcher32": True}


def values(number: int = 1234) -> np.ndarray:
    return np.random.default_rng(0).random((number, 5, 4)).astype("f4")


def written(path: Path, data: Any = None, name: str = "x", **options: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset(name, data=values() if data is None else data, **options)
    return path


def read(path: Path, name: str = "x", number: int = 100) -> np.ndarray:
    with hdf5_arrays(path) as arrays:
        return np.concatenate(list(arrays[name].rows(number)))


def refused(path: Path, message: str, name: str = "x") -> None:
    with pytest.raises(JetFileError, match=message) as caught:
        read(path, name)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (100, 5, 4)},
        {"chunks": (70, 2, 3), "maxshape": (None, None, 4)},
        {"chunks": (70, 2, 3), **GZIP},
        {"chunks": (2000, 5, 4), "maxshape": (None, 5, 4), **GZIP},
        {"chunks": (300, 5, 4), **BLOSC},
        {"chunks": (300, 5, 4), "fletcher32": True},
    ],
)
@pytest.mark.parametrize("number", [1, 100, 5000])
def test_rows_are_read_however_they_are_packed(tmp_path: Path, options: Any, number: int) -> None:
    path = written(tmp_path / "file.h5", values(321), **options)
    with hdf5_arrays(path) as arrays:
        blocks = list(arrays["x"].rows(number))
        assert (arrays["x"].shape, arrays["x"].dtype) == ((321, 5, 4), np.float32)
    assert [len(block) for block in blocks[:-1]] == [number] * (len(blocks) - 1)
    assert np.array_equal(np.concatenate(blocks), values(321))


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("form", [">f8", "<f2", "?", "<u8", "S7", [("a", "<f4", (3,)), ("b", ">i2")]])
def test_any_type_of_fixed_size_is_read(tmp_path: Path, form: Any, libver: str) -> None:
    content = np.random.default_rng(0).bytes(100 * np.dtype(form).itemsize)
    wanted = np.frombuffer(content, "u1") % 2 == 0 if form == "?" else np.frombuffer(content, form)
    with h5py.File(tmp_path / "file", "w", libver=libver) as file:
        file.create_dataset("x", data=wanted, chunks=(7,), **GZIP)
    with hdf5_arrays(tmp_path / "file") as arrays:
        blocks = list(arrays["x"].rows(11))
        assert arrays["x"].dtype == blocks[0].dtype == np.dtype(form)
    assert b"".join(block.tobytes() for block in blocks) == wanted.tobytes()


def test_one_field_of_records_can_be_read_alone(tmp_path: Path) -> None:
    records = np.zeros(50, [("a", "<f4", (3,)), ("b", "<i2")])
    records["a"], records["b"] = np.arange(150).reshape(50, 3), np.arange(50)
    with hdf5_arrays(written(tmp_path / "file", records)) as arrays:
        assert np.array_equal(np.concatenate(list(arrays["x"].rows(20, of="a"))), records["a"])
        assert np.array_equal(np.concatenate(list(arrays["x"].rows(20, of="b"))), records["b"])


def test_attributes_that_are_text_are_read(tmp_path: Path) -> None:
    with h5py.File(written(tmp_path / "file"), "a") as file:
        file["x"].attrs["text"] = np.bytes_(b"\xffE_0")
        file["x"].attrs["number"] = 3
        file["x"].attrs["free"] = "of any length"
    with hdf5_arrays(tmp_path / "file") as arrays:
        assert arrays["x"].attribute("text") == b"\xffE_0"
        assert arrays["x"].attribute("nothing") is None
        for name in ("number", "free"):
            with pytest.raises(JetFileError, match=f"attribute {name}, is not a text"):
                arrays["x"].attribute(name)


def test_a_file_is_known_by_its_signature(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "block", "w", userblock_size=1024) as file:
        file["x"] = values()
    (tmp_path / "text.h5").write_text("jets")
    (tmp_path / "empty.hdf5").touch()
    assert is_hdf5(written(tmp_path / "noname"))
    assert is_hdf5(tmp_path / "block")
    assert np.array_equal(read(tmp_path / "block"), values())
    assert not is_hdf5(tmp_path / "text.h5")
    assert not is_hdf5(tmp_path / "empty.hdf5")


def test_datasets_go_by_their_full_names_and_groups_may_go_in_circles(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "file", "w") as file:
        file["top"], file["a/b/deep"] = values(3), values(4)
        file["a/b/again"] = file["a"]
        file["a/root"] = file["/"]
        file["type"] = np.dtype("f4")
    with hdf5_arrays(tmp_path / "file") as arrays:
        assert sorted(arrays) == ["a/b/deep", "top"]
        assert len(arrays["a/b/deep"].shape) == 3
        assert "a" not in arrays
        with pytest.raises(KeyError):
            arrays["a"]


def test_nothing_outside_the_file_is_read(tmp_path: Path) -> None:
    written(tmp_path / "other.h5")
    (tmp_path / "secret").write_bytes(bytes(4000))
    with h5py.File(tmp_path / "file", "w") as file:
        file["x"] = values()
        file["soft"] = h5py.SoftLink("/x")
        file["outside"] = h5py.ExternalLink("other.h5", "/x")
        file.create_dataset("raw", (1000,), "f4", external=[(str(tmp_path / "secret"), 0, 4000)])
        layout = h5py.VirtualLayout((1234, 5, 4), "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (1234, 5, 4))
        file.create_virtual_dataset("virtual", layout)
    for name in ("soft", "outside"):
        refused(tmp_path / "file", f"{name} is a link to elsewhere", name)
    for name in ("raw", "virtual"):
        refused(tmp_path / "file", f"{name} lies in other files", name)
    # nobody minds them who does not look at them
    assert np.array_equal(read(tmp_path / "file"), values())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (["text", "of any length"], "holds text or references of any length"),
        (3.0, r"is of shape \(\)"),
        (h5py.Empty("f4"), "is of shape None"),
        (np.zeros((5, 0)), "0 bytes an entry"),
        (np.zeros((1,) * 9), r"is of shape \(1, 1, 1, 1, 1, 1, 1, 1, 1\), which no jets are of"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(tmp_path: Path, data: Any, message: str) -> None:
    refused(written(tmp_path / "file", data), message)


@pytest.mark.parametrize("kind", [h5py.vlen_dtype(np.float64), h5py.ref_dtype, h5py.regionref_dtype])
def test_types_that_point_elsewhere_are_refused(tmp_path: Path, kind: Any) -> None:
    with h5py.File(tmp_path / "file", "w") as file:
        file.create_dataset("x", (3,), kind)
        file.create_dataset("record", (3,), np.dtype([("a", "f4"), ("b", kind)]))
    for name in ("x", "record"):
        refused(tmp_path / "file", f"{name} holds text or references of any length", name)


def test_arrays_in_arrays_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "file", "w") as file:
        kind = h5py.h5t.array_create(h5py.h5t.IEEE_F32LE, (3,))
        h5py.h5d.create(file.id, b"x", kind, h5py.h5s.create_simple((5,)))
    refused(tmp_path / "file", "x holds arrays in arrays")


@pytest.mark.parametrize("chunks", [None, (1000, 30, 4)])
def test_a_dataset_that_was_never_written_is_refused_at_once(tmp_path: Path, chunks: Any) -> None:
    with h5py.File(tmp_path / "file", "w") as file:
        file.create_dataset("x", (10**12, 30, 4), "f4", chunks=chunks)
        file["small"] = values()
    hdf5_process()
    start = time.monotonic()
    refused(tmp_path / "file", "announces .* incomplete or damaged")
    assert time.monotonic() - start < 20
    assert np.array_equal(read(tmp_path / "file", "small"), values())


def test_a_dataset_that_lacks_a_chunk_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "file", "w") as file:
        file.create_dataset("x", (1000, 4), "f4", chunks=(100, 4))[:800] = 1
    refused(tmp_path / "file", r"announces 10 chunks of shape \(100, 4\) but has 8")


def test_chunks_that_take_much_memory_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "file", "w") as file:
        file.create_dataset("one", (10, 4), "f8", chunks=(10**7, 4), maxshape=(None, 4))
        file.create_dataset("row", (20_000, 2_000), "f8", chunks=(20_000, 1))
        file.create_dataset("entry", (1, 6_000, 6_000), "f8", chunks=(1, 6_000, 1))
    refused(tmp_path / "file", "320000000 bytes would be needed at once", "one")
    refused(tmp_path / "file", "320000000 bytes would be needed at once", "row")
    refused(tmp_path / "file", "288000000 bytes an entry", "entry")


def test_a_large_array_out_of_nearly_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "file", np.zeros((20_000, 100), "f4"), chunks=(1000, 100), **GZIP)
    assert not read(path).any()
    monkeypatch.setattr("jetexp.jets.formats.hdf5_chunks.LARGE", 1_000_000)
    with pytest.raises(JetFileError, match="unfolds to 8000000 bytes from"):
        Hdf5File(path, "file").header("x")


@pytest.mark.parametrize(
    ("size", "cut"), [(100, None), (3999, None), (4001, None), (50_000_000, None), (4000, -8), (4000, -2)]
)
def test_a_chunk_that_unfolds_to_another_size_is_refused(tmp_path: Path, size: int, cut: int | None) -> None:
    with h5py.File(tmp_path / "file", "w") as file:
        file.create_dataset("x", (1000,), "f4", chunks=(1000,), compression="gzip")
        file["x"].id.write_direct_chunk((0,), zlib.compress(bytes(size))[:cut])
    refused(tmp_path / "file", r"the chunk at \(0,\) is not of 4000 bytes")


@pytest.mark.parametrize(("place", "value"), [(4, 0xFF), (7, 0x7F), (12, 0), (15, 0x7F)])
def test_a_blosc_chunk_that_lies_about_its_size_is_refused(tmp_path: Path, place: int, value: int) -> None:
    path = written(tmp_path / "file", np.arange(5000.0), chunks=(5000,), **BLOSC)
    with h5py.File(path, "a") as file:
        packed = bytearray(file["x"].id.read_direct_chunk((0,))[1])
        packed[place] = value
        file["x"].id.write_direct_chunk((0,), bytes(packed))
    refused(path, r"the chunk at \(0,\) is not of 40000 bytes")


def test_chunks_that_skipped_a_filter_are_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "file", "w") as file:
        file.create_dataset("x", (1000,), "f4", chunks=(1000,), compression="gzip")
        file["x"].id.write_direct_chunk((0,), np.arange(1000, dtype="f4").tobytes(), filter_mask=1)
        file.create_dataset("bad", (1000,), "f4", chunks=(1000,), compression="gzip")
        file["bad"].id.write_direct_chunk((0,), bytes(3996), filter_mask=1)
    assert np.array_equal(read(tmp_path / "file"), np.arange(1000))
    refused(tmp_path / "file", "is not of 4000 bytes", "bad")


def test_a_checksum_may_be_packed_too(tmp_path: Path) -> None:
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_chunk((10,))
    created.set_fletcher32()
    created.set_deflate(5)
    with h5py.File(tmp_path / "file", "w") as file:
        h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((25,)), created)
        file["x"][:] = np.arange(25)
    assert np.array_equal(read(tmp_path / "file"), np.arange(25))


def test_filters_that_are_not_known_are_named(tmp_path: Path) -> None:
    refused(written(tmp_path / "lzf", compression="lzf"), r"filter 'lzf' \(number 32000\)")
    refused(written(tmp_path / "zstd", **hdf5plugin.Zstd()), r"\(number 32015\), which is not read here")
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_chunk((10,))
    for _ in range(2):
        created.set_deflate(5)
    with h5py.File(tmp_path / "twice", "w") as file:
        h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((10,)), created)
    refused(tmp_path / "twice", "compressed twice over")


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("kept", [8, 100, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: float, libver: str) -> None:
    with h5py.File(tmp_path / "file", "w", libver=libver) as file:
        file.create_dataset("x", data=values(), chunks=(100, 5, 4), **GZIP)
    data = (tmp_path / "file").read_bytes()
    (tmp_path / "file").write_bytes(data[: int(kept if kept > 1 else kept * len(data))])
    assert is_hdf5(tmp_path / "file")
    refused(tmp_path / "file", "is damaged")


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_a_damaged_file_ends_in_one_sentence(tmp_path: Path, libver: str) -> None:
    path, rng = tmp_path / "file", np.random.default_rng(5)
    with h5py.File(path, "w", libver=libver) as file:
        file.create_dataset("gzip", data=values(50), chunks=(8, 5, 2), maxshape=(None, None, 4), **GZIP)
        file.create_dataset("group/blosc", data=values(50), chunks=(25, 5, 4), **BLOSC)
        file["group/raw"] = values(5)
        file["link"] = h5py.SoftLink("/gzip")
    good = np.frombuffer(path.read_bytes(), "u1")
    refusals = 0
    for _ in range(400):
        broken = good.copy()
        # what is not zero mostly has a meaning
        where = rng.choice(np.flatnonzero(good), 3)
        broken[where] = rng.integers(0, 256, 3)
        path.write_bytes(broken.tobytes())
        sentence = ""
        try:
            with hdf5_arrays(path) as arrays:
                for name in set(arrays) - {"link"}:
                    assert sum(len(block) for block in arrays[name].rows(20)) == arrays[name].shape[0]
        except JetFileError as error:
            sentence = str(error)
        assert "\n" not in sentence
        refusals += bool(sentence)
    assert refusals > 100


def test_a_file_with_very_many_members_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "file", "w") as file:
        for index in range(6):
            file[f"group{index}/x"] = values(1)
    assert len(Hdf5File(tmp_path / "file", "file").names) == 6
    monkeypatch.setattr("jetexp.jets.formats.hdf5_library.MAXIMUM_MEMBERS", 11)
    with pytest.raises(JetFileError, match="has over 11 members"):
        Hdf5File(tmp_path / "file", "file")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGSEGV, "breaks down on it"),
        (signal.SIGPROF, "was not done with it after 5"),
    ],
)
def test_what_ends_the_library_is_a_fault_of_the_file(tmp_path: Path, number: int, words: str) -> None:
    path = written(tmp_path / "file")
    with hdf5_arrays(path) as arrays:
        os.kill(process_id(os.getpid()), number)
        with pytest.raises(JetFileError, match=f"file is damaged: the HDF5 library {words}"):
            next(arrays["x"].rows(10))
    assert np.array_equal(read(path), values())


def process_id(parent: int) -> int:
    """Of a process's one child that has the HDF5 library."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found = int(folder.joinpath("stat").read_text().rsplit(")", 1)[1].split()[1])
            if found == parent and b"hdf5_process" in folder.joinpath("cmdline").read_bytes():
                return int(folder.name)
        except OSError:
            continue
    raise AssertionError("there is none")


def test_the_library_takes_no_more_memory_than_it_may(tmp_path: Path) -> None:
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    created.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    number = 300_000_000
    with h5py.File(tmp_path / "file", "w") as file:
        space = h5py.h5s.create_simple((number,))
        h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F64LE, space, created)
    with hdf5_arrays(tmp_path / "file") as arrays:
        assert not next(arrays["x"].rows(10)).any()
        with pytest.raises(JetFileError, match="x needs more memory than it may take"):
            next(arrays["x"].rows(number))


def test_the_library_ends_with_who_started_it(tmp_path: Path) -> None:
    path = written(tmp_path / "file")
    script = (
        "import sys, time; from pathlib import Path; from jetexp.jets.formats.hdf5 import hdf5_arrays\n"
        "with hdf5_arrays(Path(sys.argv[1])): print('open', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        child = process_id(process.pid)
        process.kill()
    for _ in range(100):
        if not Path(f"/proc/{child}").exists():
            return
        time.sleep(0.05)
    raise AssertionError("the library's process is left behind")

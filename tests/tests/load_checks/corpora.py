"""Writes good files of every kind by the libraries that programs use: corpora.py DIRECTORY

Beside them `covered.json` says of each which bytes its kind covers, as ranges [from, to), by what
the libraries say of the file:

safetensors   the header's length, and the first sign of each type, shape and pair of offsets
PyTorch, npz  as zip
zip           members' data; in both headers of each its method, CRC and sizes; the end
npy           the mark, and the first digit of the shape
GGUF          the mark, counts, and the sides, type and place of the first tensor
Parquet       both marks, and with a CRC the last bytes of each column's last page
HDF5          what tells the file's size, headers with a checksum, pieces with a Fletcher32
tar           every header
gzip, zstd    all behind the first header
JSON          brackets of objects

A PyTorch archive is written by zipfile and pickle in PyTorch's layout, for its own package is a
download of half a gigabyte and brings several more.
"""

import gzip
import io
import json
import pickle
import random
import struct
import sys
import tarfile
import zipfile
from pathlib import Path

import gguf
import h5py
import numpy
import pyarrow
import pyarrow.parquet
import safetensors.numpy
import zstandard

place = Path(sys.argv[1])
covered = {}
numbers = numpy.random.default_rng(7)
letters = random.Random(7)


def covers(name, *ranges):
    covered.setdefault(name, []).extend((int(start), int(end)) for start, end in ranges)


def behind(name, mark, length=1, first_only=False):
    """Bytes right behind each place of a mark."""
    data = (place / name).read_bytes()
    at = data.find(mark)
    while at >= 0:
        covers(name, (at + len(mark), at + len(mark) + length))
        at = -1 if first_only else data.find(mark, at + 1)


def covers_archive(name):
    data = (place / name).read_bytes()
    with zipfile.ZipFile(place / name) as archive:
        for member in archive.infolist():
            at = member.header_offset
            lengths = struct.unpack_from("<HH", data, at + 26)
            start = at + 30 + sum(lengths)
            covers(name, (start, start + member.compress_size), (at + 8, at + 10))
            if not member.flag_bits & 8 and struct.unpack_from("<I", data, at + 18)[0] < 2**32 - 1:
                covers(name, (at + 14, at + 26))
        end = data.rfind(b"PK\x05\x06")
        covers(name, (end, end + 20))
    at = data.find(b"PK\x01\x02", archive.start_dir)
    while at >= 0:
        covers(name, (at, at + 4), (at + 10, at + 12), (at + 16, at + 28), (at + 42, at + 46))
        at = data.find(b"PK\x01\x02", at + 4)


def noise(*shape, of=numpy.float32):
    return numbers.standard_normal(shape).astype(of)


def words(count):
    return " ".join("".join(letters.choices("abcdefghij", k=7)) for _ in range(count))


def tensors():
    return {
        "embed.weight": noise(64, 48),
        "layer.0.bias": noise(48, of=numpy.float64),
        "layer.0.half": noise(7, 3, of=numpy.float16),
        "mask": numbers.integers(0, 2, 33).astype(bool),
        "steps": numpy.array(12, dtype=numpy.int64),
        "nothing": numpy.zeros((0, 4), dtype=numpy.uint8),
    }


def of_safetensors():
    metadata = {"format": "pt", "by": 'a "name"'}
    safetensors.numpy.save_file(tensors(), place / "tensors.safetensors", metadata=metadata)
    safetensors.numpy.save_file({}, place / "empty.safetensors")
    covers("tensors.safetensors", (0, 8))
    for mark in b'"shape":[', b'"data_offsets":[', b'"dtype":"':
        behind("tensors.safetensors", mark)


class Storage:
    def __init__(self, name, key, count):
        self.name, self.key, self.count = name, key, count


class Rebuilt:
    """Pickled as a call of torch's function, which is never imported."""

    def __init__(self, storage, shape):
        self.storage, self.shape = storage, shape


class Pickler(pickle._Pickler):
    """The pickler of PyTorch's files: storages go by the tuple that its loader expects."""

    def persistent_id(self, value):
        if isinstance(value, Storage):
            return ("storage", Named("torch", value.name), value.key, "cpu", value.count)
        return None

    def save(self, value, save_persistent_id=True):
        if isinstance(value, Named):
            if id(value.name) in self.memo:
                self.write(self.get(self.memo[id(value.name)][0]))
            else:
                self.write(f"c{value.module}\n{value.name}\n".encode())
                self.memoize(value.name)
        elif isinstance(value, Rebuilt):
            self.save(Named("torch._utils", "_rebuild_tensor_v2"))
            self.save((value.storage, 0, value.shape, (1,) * len(value.shape), False, {}))
            self.write(pickle.REDUCE)
        else:
            super().save(value, save_persistent_id)


class Named:
    def __init__(self, module, name):
        self.module, self.name = module, sys.intern(name)


def of_pytorch():
    names = {"float32": "FloatStorage", "float64": "DoubleStorage", "float16": "HalfStorage"}
    names |= {"bool": "BoolStorage", "int64": "LongStorage", "uint8": "ByteStorage"}
    state, storages = {}, []
    for key, (name, array) in enumerate(tensors().items()):
        storage = Storage(names[str(array.dtype)], str(key), array.size)
        state[name] = Rebuilt(storage, array.shape)
        storages.append(array.tobytes())
    text = io.BytesIO()
    Pickler(text, 2).dump({"state": state, "epoch": 3, "loss": 0.25, "again": [state, None, True]})
    with zipfile.ZipFile(place / "model.pt", "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("model/data.pkl", text.getvalue())
        archive.writestr("model/byteorder", "little")
        for key, storage in enumerate(storages):
            archive.writestr(f"model/data/{key}", storage)
        archive.writestr("model/version", "3\n")
        archive.writestr("model/.data/serialization_id", "1234567890")
    covers_archive("model.pt")


class Stream(io.RawIOBase):
    """A pipe's end: it cannot seek, so sums stand behind the members."""

    def __init__(self, file):
        self.file = file

    def writable(self):
        return True

    def write(self, data):
        return self.file.write(data)


def of_zip():
    text = words(4_000)
    for name, method in ("deflated", zipfile.ZIP_DEFLATED), ("stored", zipfile.ZIP_STORED):
        with zipfile.ZipFile(place / f"{name}.zip", "w", method) as archive:
            archive.comment = b"a comment"
            archive.mkdir("a")
            archive.writestr("a/words", text)
            archive.writestr("a/noise", noise(3_000).tobytes())
            archive.writestr("empty", b"")
    with zipfile.ZipFile(place / "far.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("words", "w", force_zip64=True) as member:
            member.write(text.encode())
    with open(place / "streamed.zip", "wb") as file:
        with zipfile.ZipFile(Stream(file), "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("words", text)
            archive.writestr("noise", noise(3_000).tobytes())
    with open(place / "behind.zip", "wb") as file:
        file.write(b"#!/bin/sh\n")
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr("words", text)
    for name in "deflated", "stored", "far", "streamed", "behind":
        covers_archive(f"{name}.zip")


def of_numpy():
    numpy.savez(place / "stored.npz", **tensors())
    numpy.savez_compressed(place / "deflated.npz", **tensors())
    numpy.save(place / "floats.npy", noise(70, 30))
    numpy.save(place / "texts.npy", numpy.array(["abc", "d"] * 500))
    of = [("a", "<i4"), ("b", "<f8", (2, 3)), ("c", "S5"), ("d", [("e", "u1"), ("f", "<M8[ns]")])]
    fields = numpy.frombuffer(numbers.bytes(300 * numpy.dtype(of).itemsize), dtype=of)
    numpy.save(place / "fields.npy", fields)
    with open(place / "second.npy", "wb") as file:
        numpy.lib.format.write_array(file, noise(2_000), version=(2, 0))
    for name in "stored.npz", "deflated.npz":
        covers_archive(name)
    for name in "floats.npy", "texts.npy", "fields.npy", "second.npy":
        covers(name, (0, 6))
        behind(name, b"'shape': (", first_only=True)


def of_gguf():
    writer = gguf.GGUFWriter(place / "model.gguf", "llama")
    writer.add_name("a model")
    writer.add_block_count(2)
    writer.add_float32("llama.some", 0.5)
    writer.add_token_list([f"token {number}" for number in range(300)])
    writer.add_token_scores([0.5] * 300)
    writer.add_bool("llama.flag", True)
    for name, array in tensors().items():
        if str(array.dtype).startswith("float"):
            writer.add_tensor(name, array)
    quantized = numbers.integers(0, 255, (8, 34 * 2), dtype=numpy.uint8)
    writer.add_tensor("quantized", quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    covers("model.gguf", (0, 4), (5, 24))
    behind("model.gguf", b"embed.weight", 4 + 2 * 8 + 4 + 8)


def of_parquet():
    rows = 5_000
    table = pyarrow.table({
        "number": numbers.integers(0, 10**9, rows),
        "share": noise(rows, of=numpy.float64),
        "word": [words(1) if number % 3 else None for number in range(rows)],
        "kind": [("a", "b", "c")[number % 3] for number in range(rows)],
        "list": [[number, number + 1] for number in range(rows)],
        "flag": [number % 2 == 0 for number in range(rows)],
    }, metadata={"by": "corpora"})
    for codec in "none", "snappy", "zstd":
        pyarrow.parquet.write_table(table, place / f"{codec}.parquet", compression=codec,
                                    row_group_size=2_000, write_page_checksum=True)
    pyarrow.parquet.write_table(table, place / "second.parquet", data_page_version="2.0",
                                data_page_size=4_096, write_page_checksum=True,
                                write_page_index=True)
    pyarrow.parquet.write_table(table, place / "plain.parquet", write_page_checksum=False)
    pyarrow.parquet.write_table(table.slice(0, 0), place / "empty.parquet")
    for name in "none", "snappy", "zstd", "second", "plain":
        path = place / f"{name}.parquet"
        size = path.stat().st_size
        covers(path.name, (0, 4), (size - 8, size))
        footer = pyarrow.parquet.ParquetFile(path).metadata
        for group in range(footer.num_row_groups if name != "plain" else 0):
            for index in range(footer.num_columns):
                column = footer.row_group(group).column(index)
                start = column.dictionary_page_offset or column.data_page_offset
                end = start + column.total_compressed_size
                covers(path.name, (end - 8, end))


def of_hdf5():
    for version, name in ("earliest", "first"), ("latest", "latest"):
        with h5py.File(place / f"{name}.h5", "w", libver=version) as file:
            group = file.create_group("a/b")
            group.attrs["text"] = "a text"
            group["floats"] = noise(400, 10)
            file["scalar"] = 7
            file["text"] = "a text of its own"
            file.create_dataset("pieces", data=noise(500, 20), chunks=(64, 8), compression="gzip",
                                shuffle=True, fletcher32=True)
            file.create_dataset("sums", data=noise(500), chunks=(100,), fletcher32=True)
            file.create_dataset("later", (10, 10), chunks=(5, 5), maxshape=(None, None))
            file["a/link"] = h5py.SoftLink("/scalar")
            file["a/again"] = file["scalar"]
            for number in range(40):
                file[f"many/of {number}"] = noise(3)
            file["compact"] = numpy.arange(5)
        with h5py.File(place / f"{name}.h5") as file:
            for pieces in ("pieces", "sums") if name == "first" else ():
                data = file[pieces].id
                for number in range(data.get_num_chunks()):
                    piece = data.get_chunk_info(number)
                    covers("first.h5", (piece.byte_offset, piece.byte_offset + piece.size))
    covers("first.h5", (0, 8), (40, 48))
    # The superblock, and the root group's header, which follows it and says its own length.
    root = (place / "latest.h5").read_bytes()[48:]
    assert root[:6] == b"OHDR\x02\x00", "the root group's header is of the form that is known here"
    covers("latest.h5", (0, 48 + 7 + root[6] + 4))
    with h5py.File(place / "behind.h5", "w", userblock_size=512) as file:
        file["floats"] = noise(400, 10)
    covers("behind.h5", (512, 520), (512 + 40, 512 + 48))


def of_tar():
    for form, name in (tarfile.PAX_FORMAT, "pax"), (tarfile.GNU_FORMAT, "gnu"), (
            tarfile.USTAR_FORMAT, "ustar"):
        with tarfile.open(place / f"{name}.tar", "w", format=form) as archive:
            long = "d/" * 30 + "e" * (30 if name == "ustar" else 150)
            for path, size in ("first", 100_000), (long, 900), ("empty", 0), ("last", 60_000):
                member = tarfile.TarInfo(path)
                member.size = size
                member.mtime = 1_700_000_000 if name == "ustar" else 1_700_000_000.25
                archive.addfile(member, io.BytesIO(numbers.bytes(size)))
            link = tarfile.TarInfo("link")
            link.type, link.linkname = tarfile.SYMTYPE, long[:90]
            archive.addfile(link)
        with tarfile.open(place / f"{name}.tar") as archive:
            for member in archive:
                covers(f"{name}.tar", (member.offset, member.offset + 512))
                covers(f"{name}.tar", (member.offset_data - 512, member.offset_data))


def of_streams():
    text = words(20_000).encode()
    with open(place / "words.gz", "wb") as file:
        with gzip.GzipFile("a name", "wb", fileobj=file) as member:
            member.write(text)
        file.write(gzip.compress(noise(4_000).tobytes()))
    with tarfile.open(place / "archive.tgz", "w:gz") as archive:
        member = tarfile.TarInfo("words")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    writer = zstandard.ZstdCompressor(level=5, write_checksum=True)
    skippable = struct.pack("<II", 0x184D2A53, 5) + b"aside"
    frames = writer.compress(text) + skippable + writer.compress(noise(4_000).tobytes())
    (place / "words.zst").write_bytes(frames)
    streamed = zstandard.ZstdCompressor(level=19, write_checksum=True).compressobj()
    (place / "streamed.zst").write_bytes(streamed.compress(text) + streamed.flush())
    starts = {"words.gz": 18, "archive.tgz": 40, "words.zst": 12, "streamed.zst": 9}
    for name, start in starts.items():
        covers(name, (start, (place / name).stat().st_size))


def of_json():
    values = [{"number": number, "share": number / 7, "text": words(3) + ' "é\n\u2028 \U0001f600',
               "list": [True, None, [], {}, -1.5e-9, float("nan")]} for number in range(400)]
    (place / "values.json").write_text(json.dumps(values, indent=1, ensure_ascii=False), "utf-8")
    lines = "".join(json.dumps(value) + "\n" for value in values)
    (place / "values.jsonl").write_text(lines)
    for name in "values.json", "values.jsonl":
        data = (place / name).read_bytes()
        covers(name, *((at, at + 1) for at, byte in enumerate(data) if byte in b"{}"))


for write in (of_safetensors, of_pytorch, of_zip, of_numpy, of_gguf, of_parquet, of_hdf5, of_tar,
              of_streams, of_json):
    write()

(place / "covered.json").write_text(json.dumps(covered))

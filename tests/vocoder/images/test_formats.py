"""Data sets read from files in their standard formats, which the tests write byte by byte."""

import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vocoder import images
from vocoder.errors import InvalidInput
from vocoder.images import cifar, idx

RNG = np.random.default_rng(0)


def idx_bytes(array: np.ndarray) -> bytes:
    """An IDX file of unsigned bytes."""
    head = struct.pack(">2xBB", 0x08, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(np.uint8).tobytes()


def mnist(folder: Path, zipped: bool, dot: bool = False) -> dict[str, np.ndarray]:
    """Twelve training and four test images in MNIST's four files."""
    arrays = {
        "train-images": RNG.integers(0, 256, (12, 28, 28)),
        "train-labels": np.arange(12) % 10,
        "t10k-images": RNG.integers(0, 256, (4, 28, 28)),
        "t10k-labels": np.arange(4),
    }
    for name, array in arrays.items():
        path = folder / f"{name}{'.' if dot else '-'}idx{array.ndim}-ubyte{'.gz' if zipped else ''}"
        data = idx_bytes(array)
        path.write_bytes(gzip.compress(data) if zipped else data)
    return arrays


@pytest.mark.parametrize(("zipped", "dot"), [(False, False), (True, False), (False, True)])
def test_mnist(tmp_path: Path, zipped: bool, dot: bool) -> None:
    """The four files, plain, gzipped or renamed, are read to the pixel; a sixth of train is held out."""
    arrays = mnist(tmp_path, zipped, dot)
    data = images.load(tmp_path)
    assert (data.levels, data.shape, data.classes) == (256, (1, 28, 28), 10)
    assert [len(part) for part in (data.train, data.valid, data.test)] == [10, 2, 4]
    joined = torch.cat([data.train.images, data.valid.images])[:, 0]
    assert np.array_equal(joined.numpy(), arrays["train-images"])
    assert np.array_equal(data.test.images[:, 0].numpy(), arrays["t10k-images"])
    assert data.test.labels is not None
    assert data.test.labels.tolist() == [0, 1, 2, 3]


DAMAGE = {
    "no IDX file": b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00",
    "ends within its header": b"\x00\x00\x08\x03\x00\x00",
    "promises 784 bytes": struct.pack(">2xBB3I", 8, 3, 1, 28, 28) + bytes(700),
    "more are there": struct.pack(">2xBB1I", 8, 1, 2) + bytes(3),
    "not believed": struct.pack(">2xBB3I", 8, 3, 2**31, 28, 28),
}


@pytest.mark.parametrize("told", DAMAGE)
def test_damaged_idx_is_refused(tmp_path: Path, told: str) -> None:
    """A file that is cut, too long or of another kind is named, with what is wrong with it."""
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(DAMAGE[told])
    with pytest.raises(InvalidInput, match=told):
        idx.read(path)


def test_damaged_gzip_is_refused(tmp_path: Path) -> None:
    """A gzipped file that was cut is an error of ours."""
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx_bytes(np.arange(100)))[:-9])
    with pytest.raises(InvalidInput, match="damaged"):
        idx.read(path)


def cifar_arrays(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels ``[N, 3072]`` and labels."""
    return RNG.integers(0, 256, (count, 3072), dtype=np.uint8), RNG.integers(0, 10, count)


def write_binary(path: Path, pixels: np.ndarray, labels: np.ndarray) -> None:
    """Records of a label and 3072 pixels."""
    path.write_bytes(np.concatenate([labels.astype(np.uint8)[:, None], pixels], 1).tobytes())


def write_pickle(path: Path, pixels: np.ndarray, labels: np.ndarray, protocol: int = 2) -> None:
    """The table that the batches for Python hold."""
    table = {b"batch_label": b"training batch", b"labels": labels.tolist(), b"data": pixels}
    path.write_bytes(pickle.dumps(table, protocol=protocol))


@pytest.mark.parametrize("form", ["binary", "python"])
def test_cifar(tmp_path: Path, form: str) -> None:
    """Both forms of the batches, in the folder that the archive unpacks to, give the same images in order."""
    folder = tmp_path / f"cifar-10-batches-{'bin' if form == 'binary' else 'py'}"
    folder.mkdir()
    write, end = (write_binary, ".bin") if form == "binary" else (write_pickle, "")
    batches = [cifar_arrays(6) for _ in range(3)]
    for name, batch in zip(("data_batch_1", "data_batch_2", "test_batch"), batches, strict=True):
        write(folder / f"{name}{end}", *batch)
    data = images.load(tmp_path)
    assert (data.name, data.shape, data.levels) == ("cifar10", (3, 32, 32), 256)
    assert [len(part) for part in (data.train, data.valid, data.test)] == [11, 1, 6]
    pixels, labels = batches[2]
    assert np.array_equal(data.test.images.flatten(1).numpy(), pixels)
    assert data.test.labels is not None
    assert np.array_equal(data.test.labels.numpy(), labels)
    assert np.array_equal(data.train.images[7].flatten().numpy(), batches[1][0][1])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_cifar_of_any_pickle_protocol(tmp_path: Path, protocol: int) -> None:
    """Batches written by Python 3 are read as those of Python 2 are."""
    pixels, labels = cifar_arrays(3)
    write_pickle(tmp_path / "data_batch_1", pixels, labels, protocol)
    read, told = cifar.read_pickled(tmp_path / "data_batch_1")
    assert np.array_equal(read.flatten(1).numpy(), pixels)
    assert np.array_equal(told.numpy(), labels)


PYTHON_2 = (
    b"\x80\x02}q\x01(U\x06labelsq\x02]q\x03K\x07aU\x04dataq\x04cnumpy.core.multiarray\n_reconstruct\nq\x05"
    b"cnumpy\nndarray\nq\x06K\x00\x85U\x01b\x87Rq\x07(K\x01K\x01M\x00\x0c\x86cnumpy\ndtype\nq\x08U\x02u1K\x00"
    b"K\x01\x87Rq\x09(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T\x00\x0c\x00\x00"
)


def test_cifar_as_python_2_wrote_it(tmp_path: Path) -> None:
    """The published files hold their bytes as strings, in instructions that Python 3 never writes."""
    pixels = RNG.integers(0, 256, (1, 3072), dtype=np.uint8)
    (tmp_path / "data_batch_1").write_bytes(PYTHON_2 + pixels.tobytes() + b"tbu.")
    read, labels = cifar.read_pickled(tmp_path / "data_batch_1")
    assert np.array_equal(read.flatten(1).numpy(), pixels)
    assert labels.tolist() == [7]


class _Malicious:
    """Pickles to a call that leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_a_pickle_runs_nothing(tmp_path: Path) -> None:
    """A batch that would call a function when it is unpickled calls none, and is refused."""
    table = {b"data": _Malicious(tmp_path / "ran"), b"labels": [0]}
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(table))
    with pytest.raises(InvalidInput, match="data_batch_1"):
        images.load(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_malformed_cifar_is_refused(tmp_path: Path) -> None:
    """Half a record, a label that there is not, and a table without pixels are told apart."""
    pixels, labels = cifar_arrays(2)
    path = tmp_path / "data_batch_1.bin"
    write_binary(path, pixels, labels + 10)
    with pytest.raises(InvalidInput, match="labels in 0 … 9"):
        cifar.read_binary(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InvalidInput, match="records of 3073 bytes"):
        cifar.read_binary(path)
    for value, told in (({b"labels": [1]}, "no array of pixels"), ([1], "no table")):
        path.write_bytes(pickle.dumps(value))
        with pytest.raises(InvalidInput, match=told):
            cifar.read_pickled(path)
    path.write_bytes(pickle.dumps({"data": pixels.astype(np.int16), "labels": [1, 2]}))
    with pytest.raises(InvalidInput, match="array of bytes"):
        cifar.read_pickled(path)


def picture(path: Path, pixels: np.ndarray) -> None:
    """Write a PNG, or a JPEG of the best quality."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=100)


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    """Subfolders are parts and labels; the pixels of a PNG come back as they are, colour first."""
    pixels = {}
    for part, count in (("train", 4), ("val", 2), ("test", 2)):
        for number in range(count):
            place = tmp_path / part / "ab"[number % 2] / f"{number}.png"
            pixels[place] = RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)
            picture(place, pixels[place])
    data = images.load(tmp_path)
    assert (data.shape, data.classes, len(data.train), len(data.valid)) == ((3, 6, 5), 2, 4, 2)
    assert data.train.labels is not None
    assert data.train.labels.tolist() == [0, 0, 1, 1]
    first = pixels[tmp_path / "train" / "a" / "0.png"]
    assert np.array_equal(data.train.images[0].numpy(), np.moveaxis(first, 2, 0))


def test_a_plain_folder_is_cut_by_hash(tmp_path: Path) -> None:
    """Without parts, a tenth each is held out, by name: the same ones whatever else is in the folder."""
    for number in range(40):
        picture(tmp_path / f"{number}.png", np.full((4, 4), number, np.uint8))
    before = images.load(tmp_path)
    assert [len(part) for part in (before.train, before.valid, before.test)] == [32, 4, 4]
    held = [set(part.images[:, 0, 0, 0].tolist()) for part in (before.train, before.valid, before.test)]
    assert set.union(*held) == set(range(40)) and sum(map(len, held)) == 40
    assert before.shape == (1, 4, 4) and before.train.labels is None
    again = images.load(tmp_path)
    assert torch.equal(again.test.images, before.test.images)


def test_pictures_of_several_sizes_need_one(tmp_path: Path) -> None:
    """Pictures of two sizes are refused with a hint, and cropped and scaled to one if asked; JPEG is read."""
    for number in range(5):
        picture(tmp_path / f"{number}.jpg", np.full((8, 8 + 2 * number), 200, np.uint8))
    with pytest.raises(InvalidInput, match="--size"):
        images.load(tmp_path)
    data = images.load(tmp_path, size=4)
    assert data.shape == (1, 4, 4)
    assert (data.train.images.int() - 200).abs().max() <= 2


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    """A file that only ends as a picture does is named; so is a folder without any."""
    with pytest.raises(InvalidInput, match="holds no pictures"):
        images.load(tmp_path)
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(b"no picture")
    with pytest.raises(InvalidInput, match=r"0\.png is no PNG"):
        images.load(tmp_path)


@pytest.mark.parametrize("shape", [(6, 4, 5), (6, 4, 5, 3), (6, 3, 4, 5), (6, 7)])
def test_arrays(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Keras's names, with channels last, first or none, and vectors, in the levels that the file tells."""
    x = RNG.integers(0, 16, shape, dtype=np.uint8)
    np.savez(tmp_path / "set.npz", x_train=x, y_train=np.arange(6), x_test=x[:2], y_test=[3, 4], levels=16)
    data = images.load(tmp_path / "set.npz")
    expected = {3: (1, 4, 5), 4: (3, 4, 5), 2: (7,)}[len(shape)]
    assert (data.levels, data.shape, len(data.train), len(data.valid)) == (16, expected, 5, 1)
    assert data.test.images.sum() == x[:2].sum()
    assert images.load(tmp_path / "set.npz").name == "set"


def test_one_array_is_cut_in_three(tmp_path: Path) -> None:
    """Where there is only ``x``, each of its rows goes to one part."""
    np.savez(tmp_path / "all.npz", x=np.arange(60, dtype=np.uint8).reshape(30, 2))
    data = images.load(tmp_path / "all.npz")
    together = torch.cat([part.images for part in (data.train, data.valid, data.test)])
    assert sorted(together[:, 0].tolist()) == list(range(0, 60, 2))
    assert data.levels == 256 and len(data.test) == 3


def test_arrays_that_are_none_are_refused(tmp_path: Path) -> None:
    """Floats, a missing array, objects and a file that is no archive are errors of ours."""
    path = tmp_path / "bad.npz"
    for values, told in (
        ({"x": np.zeros((4, 3))}, "must hold integers"),
        ({"x_train": np.zeros((4, 3), np.uint8)}, "as x_test, got nothing"),
        ({"x": np.array([{}, []], dtype=object)}, "plain arrays"),
        ({"x": np.zeros((4, 3), np.uint8), "y": np.zeros(3)}, "one label"),
    ):
        np.savez(path, **values)
        with pytest.raises(InvalidInput, match=told):
            images.load(path)
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InvalidInput, match="plain arrays"):
        images.load(path)


def test_digits_are_cut_as_the_measurements_were() -> None:
    """1293, 144 and 360 digits in 17 levels, every class in each, and the same ones each time."""
    data = images.load("digits")
    assert [len(part) for part in (data.train, data.valid, data.test)] == [1293, 144, 360]
    assert (data.levels, data.shape, data.classes) == (17, (1, 8, 8), 10)
    assert data.test.labels is not None
    assert data.test.labels.bincount().min() >= 34
    assert int(data.test.images.long().sum()) == 112350


def test_moons_are_vectors() -> None:
    """Two classes of points of a plane, of which the box holds nearly all."""
    data = images.load("moons")
    assert (data.shape, data.levels, data.classes, len(data.train)) == ((2,), 256, 2, 3200)
    at_the_edge = (data.train.images == 0) | (data.train.images == 255)
    assert at_the_edge.float().mean() < 1e-3


def test_what_there_is_not_is_refused(tmp_path: Path) -> None:
    """A name that is neither a data set nor a place tells which there are."""
    with pytest.raises(InvalidInput, match="digits"):
        images.load(tmp_path / "nowhere")


def test_fewer_bits() -> None:
    """Grey levels fall together evenly; more of them than there are is refused."""
    data = images.load("moons").with_bits(3)
    assert data.levels == 8 and int(data.train.images.max()) <= 7
    assert torch.equal(data.test.images, images.load("moons").test.images // 32)
    with pytest.raises(InvalidInput, match="bits"):
        data.with_bits(4)

"""Files of arrays and their headers: each is used or refused with a reason, and the reason names
what is wrong.
"""

import io
import pickle
import resource
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from programs.image_files import content, picture, rows_of

from pushforward.data import load
from pushforward.data.images import image_file as array_headers
from pushforward.data.images.image_file import array_header
from pushforward.errors import DataError


def layouts(x):
    """The same images in every layout that is read."""
    shares = x / 255
    return {
        "last": x,
        "first": x.transpose(0, 3, 1, 2),
        "gray": x[..., 0],
        "float": shares.astype(np.float32),
        "int64": x.astype(np.int64),
        "fortran": np.asfortranarray(x),
        "big-endian float": shares.astype(">f4"),
    }


@pytest.mark.parametrize("layout", layouts(np.zeros((1, 1, 1, 1))))
def test_images_in_every_layout(tmp_path, layout):
    x = picture(1, (25, 9, 8, 3))
    saved = layouts(x)[layout]
    np.savez(tmp_path / "x.npz", x=saved)
    np.save(tmp_path / "x.npy", saved)
    data = load(tmp_path / "x.npz")
    channels = 1 if layout == "gray" else 3
    expected = x.transpose(0, 3, 1, 2)[:, :channels]
    rows = rows_of(data)
    assert rows.shape == expected.shape
    assert content(rows) == content(expected)
    assert load(tmp_path / "x.npy").fingerprint == data.fingerprint


def test_vectors_labels_and_own_held_out_rows(tmp_path):
    x = np.random.RandomState(2).standard_normal((40, 5))
    names = np.tile(["b", "a"], 20)
    path = tmp_path / "v.npz"
    np.savez(path, x=x, y=names, x_test=x[:6] + 1, y_test=names[:6])
    data = load(path)
    assert np.array_equal(data.train.x, x.astype(np.float32))
    assert data.held_out.x.shape == (6, 5)
    assert data.space.classes == ("a", "b")
    assert data.train.labels[:3].tolist() == [1, 0, 1]
    assert data.held_out.labels.tolist() == [1, 0, 1, 0, 1, 0]
    assert data.space.integer == ()


def test_integers_and_numbered_labels(tmp_path):
    x = np.arange(60).reshape(20, 3)
    path = tmp_path / "i.npz"
    np.savez(path, x=x, label=np.repeat([7, 3], 10))
    data = load(path)
    assert data.space.integer == (0, 1, 2)
    assert data.space.classes == ("3", "7")
    second_half = data.train.x[:, 0] >= 30
    assert ((data.train.labels == 0) == second_half).all()


class Canary:
    fired = False

    def __reduce__(self):
        return (setattr, (Canary, "fired", True))


def nan_rows():
    x = np.ones((30, 4))
    x[[7, 12], 2] = np.nan, np.inf
    return x


def check_refused(tmp_path, match, **arrays):
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=f"(?s){match}"):
        load(path)
    assert not Canary.fired


def test_objects_are_refused_before_they_are_built(tmp_path):
    canaries = np.array([Canary()] * 9, dtype=object)
    check_refused(tmp_path, "Object arrays", x=canaries[:, None])
    check_refused(tmp_path, "Object arrays", x=np.zeros((9, 2)), label=canaries)


def test_arrays_that_are_refused(tmp_path):
    check_refused(tmp_path, "example 8 ", x=nan_rows())
    check_refused(tmp_path, r"\(9,\)", x=np.zeros(9))
    check_refused(tmp_path, "channels", x=np.zeros((9, 7, 7, 7), np.uint8))
    pixels = picture(1, (5, 4, 4))
    check_refused(tmp_path, "expected .*0 to 1.*0 to 255", x=pixels * 1.0)
    check_refused(tmp_path, r"\(x \+ 1\) / 2", x=pixels / 127.5 - 1)
    check_refused(tmp_path, "expected numbers", x=np.array([["a", "b"], ["c", "d"]]))
    check_refused(tmp_path, '"x".*x=X', X=np.zeros((3, 2)))
    check_refused(tmp_path, "at least 2", x=np.zeros((1, 2)))
    x = np.zeros((9, 2))
    check_refused(tmp_path, r"\(2,\).*\(3,\)", x=x, x_test=np.zeros((9, 3)))


def test_labels_that_are_refused(tmp_path):
    x = np.zeros((9, 2))
    check_refused(tmp_path, r"Labels .*\(8,\)", x=x, label=np.zeros(8, int))
    check_refused(tmp_path, "label.*missing", x=x, label=np.full(9, np.nan))
    check_refused(tmp_path, "40 distinct values", x=np.zeros((40, 2)), label=np.arange(40))


def header(shape, kind="<f4"):
    out = io.BytesIO()
    array = {"descr": kind, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, array)
    return out.getvalue()


def check_unreadable(path, match="cannot be read"):
    with pytest.raises(DataError, match=match):
        load(path)
    assert not Canary.fired


def test_damaged_and_oversized_files(tmp_path):
    npy = tmp_path / "x.npy"
    np.save(npy, np.ones((50, 4)))
    npy.write_bytes(npy.read_bytes()[:-100])
    check_unreadable(npy)
    npy.write_bytes(header((10**6, 10**6)))
    check_unreadable(npy)
    npy.write_bytes(pickle.dumps(Canary()))
    check_unreadable(npy)
    npz = tmp_path / "x.npz"
    npz.write_text("x")
    check_unreadable(npz)
    x = np.random.RandomState(0).standard_normal((50, 4))
    np.savez(npz, x=x)
    damaged = bytearray(npz.read_bytes())
    damaged[600] ^= 255
    npz.write_bytes(damaged)
    check_unreadable(npz, "CRC")


def peak_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "bomb.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w") as member,
    ):
        member.write(header((300 * 2**20 // 16, 4)))
        for _ in range(300):
            member.write(bytes(2**20))
    before = peak_memory()
    with pytest.raises(DataError, match="decompression bomb"):
        load(path)
    assert peak_memory() - before < 50_000


@pytest.mark.parametrize("big", [2**24 + 1, 2**60 + 1, -(2**53) - 1])
def test_whole_numbers_that_float32_rounds_are_refused(tmp_path, big):
    csv = tmp_path / "t.csv"
    rows = "".join(f"{i},{i * 7}\n" for i in range(20))
    csv.write_text(f"size,id\n{rows}3,{big}\n")
    with pytest.raises(DataError, match=r'column "id", row 21.*Subtract'):
        load(csv, table=False)
    npy = tmp_path / "t.npy"
    np.save(npy, np.array([[1, 2], [3, big], [4, 5]]))
    with pytest.raises(DataError, match=r"column 1, row 2.*Subtract"):
        load(npy)


def test_large_whole_numbers_that_float32_holds_are_read(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("id\n" + f"{2**24}\n{2**25}\n" * 6)
    largest = load(path, table=False).train.x.max()
    assert largest == 2**25


FORMATS = np.lib.format


def written(array, version=None):
    file = io.BytesIO()
    FORMATS.write_array(file, array, version=version, allow_pickle=False)
    file.seek(0)
    return file


@pytest.fixture(autouse=True)
def nothing_parsed():
    array_headers._parsed.cache_clear()


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize("dtype", ["u1", "<f4", ">i8", "?", "<U5", [("a", "<f4"), ("b", "u1", 3)]])
def test_a_header_says_what_numpy_reads_and_the_elements_follow(dtype, version):
    rows = np.zeros((3, 2), dtype)
    columns = np.asfortranarray(np.zeros((2, 3), dtype))
    single = np.zeros((), dtype)
    for array in (rows, columns, single):
        file = written(array, version)
        assert array_header(file) == (array.shape, array.flags.fnc, array.dtype)
        assert len(file.read()) == array.nbytes


def test_headers_that_are_none_are_refused():
    gif = io.BytesIO(b"GIF89a" + bytes(100))
    with pytest.raises(ValueError, match="magic"):
        array_header(gif)
    named = written(np.zeros(2, [("é", "u1")]), (3, 0))
    with pytest.raises(ValueError, match=r"version \(3, 0\)"):
        array_header(named)
    length = (2**32 - 1).to_bytes(4, "little")
    long = io.BytesIO(FORMATS.magic(2, 0) + length)
    with pytest.raises(ValueError, match="at most 10,000"):
        array_header(long)


def test_threads_parse_one_header_at_a_time_and_each_once(monkeypatch):
    inside = []
    calls = []
    read = FORMATS.read_array_header_1_0

    def slowly(file):
        inside.append(file)
        calls.append(len(inside))
        time.sleep(0.002)
        header = read(file)
        inside.remove(file)
        return header

    monkeypatch.setattr(FORMATS, "read_array_header_1_0", slowly)
    shapes = [(i % 6 + 1, 2) for i in range(48)]
    files = [written(np.zeros(shape)) for shape in shapes]
    with ThreadPoolExecutor(8) as pool:
        headers = list(pool.map(array_header, files))
    assert [header[0] for header in headers] == shapes
    assert calls == [1] * 6, "CPython's ast counts depth for all threads together"

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
from programs.image_files import picture, rows_of

from pushforward.data import load
from pushforward.data.images import image_file as array_headers
from pushforward.data.images.image_file import array_header
from pushforward.errors import DataError


@pytest.mark.parametrize(
    "layout", ["last", "first", "gray", "float", "int64", "fortran", "big-endian float"]
)
def test_images_in_every_layout(tmp_path, layout):
    x = picture(1, (25, 9, 8, 3))
    saved = {
        "last": x,
        "first": x.transpose(0, 3, 1, 2),
        "gray": x[..., 0],
        "float": (x / 255).astype(np.float32),
        "int64": x.astype(np.int64),
        "fortran": np.asfortranarray(x),
        "big-endian float": (x / 255).astype(">f4"),
    }[layout]
    np.savez(tmp_path / "x.npz", x=saved)
    np.save(tmp_path / "x.npy", saved)
    data = load(tmp_path / "x.npz")
    expected = x.transpose(0, 3, 1, 2)[:, : 1 if layout == "gray" else 3]
    key = expected[:, 0, 0, :4].copy().view(np.uint32).ravel()
    rows = rows_of(data)
    assert np.array_equal(
        rows[np.argsort(rows[:, 0, 0, :4].copy().view(np.uint32).ravel())],
        expected[np.argsort(key)],
    )
    assert load(tmp_path / "x.npy").fingerprint == data.fingerprint


def test_vectors_labels_and_own_held_out_rows(tmp_path):
    x = np.random.RandomState(2).standard_normal((40, 5))
    names = np.array(["b", "a"])[np.arange(40) % 2]
    np.savez(tmp_path / "v.npz", x=x, y=names, x_test=x[:6] + 1, y_test=names[:6])
    data = load(tmp_path / "v.npz")
    assert np.array_equal(data.train.x, x.astype(np.float32))
    assert data.held_out.x.shape == (6, 5)
    assert data.space.classes == ("a", "b")
    labels = data.train.labels[:3].tolist()
    assert labels == [1, 0, 1]
    assert data.held_out.labels.tolist() == [1, 0, 1, 0, 1, 0]
    assert data.space.integer == ()
    actual = np.arange(60).reshape(20, 3)
    label = np.repeat([7, 3], 10)
    np.savez(tmp_path / "i.npz", x=actual, label=label)
    data = load(tmp_path / "i.npz")
    assert data.space.integer == (0, 1, 2)
    assert data.space.classes == ("3", "7")
    assert ((data.train.labels == 0) == (data.train.x[:, 0] >= 30)).all()


class Canary:
    fired = False

    def __reduce__(self):
        return (setattr, (Canary, "fired", True))


def nan_rows():
    x = np.ones((30, 4))
    x[[7, 12], 2] = np.nan, np.inf
    return x


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"x": np.array([[Canary(), 1]], dtype=object)}, "Object arrays"),
        ({"x": nan_rows()}, "example 8 "),
        ({"x": np.zeros(9)}, r"\(9,\)"),
        ({"x": np.zeros((9, 7, 7, 7), np.uint8)}, "channels"),
        ({"x": picture(1, (5, 4, 4)) * 1.0}, "expected .*0 to 1.*0 to 255"),
        ({"x": picture(1, (5, 4, 4)) / 127.5 - 1}, r"\(x \+ 1\) / 2"),
        ({"x": np.array([["a", "b"], ["c", "d"]])}, "expected numbers"),
        ({"X": np.zeros((3, 2))}, '"x".*x=X'),
        ({"x": np.zeros((1, 2))}, "at least 2"),
        ({"x": np.zeros((9, 2)), "label": np.zeros(8, int)}, r"Labels .*\(8,\)"),
        ({"x": np.zeros((9, 2)), "label": np.full(9, np.nan)}, "label.*missing"),
        ({"x": np.zeros((40, 2)), "label": np.arange(40)}, "40 distinct values"),
        ({"x": np.zeros((9, 2)), "x_test": np.zeros((9, 3))}, r"\(2,\).*\(3,\)"),
        ({"x": np.zeros((9, 2)), "label": np.array([Canary()] * 9, dtype=object)}, "Object arrays"),
    ],
)
def test_arrays_that_are_refused(tmp_path, arrays, match):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(DataError, match=f"(?s){match}"):
        load(tmp_path / "bad.npz")
    assert not Canary.fired


def header(shape, kind="<f4"):
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        out, {"descr": kind, "fortran_order": False, "shape": shape}
    )
    return out.getvalue()


def test_damaged_and_oversized_files(tmp_path):
    np.save(tmp_path / "cut.npy", np.ones((50, 4)))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-100])
    with pytest.raises(DataError, match="cannot be read"):
        load(tmp_path / "cut.npy")
    (tmp_path / "huge.npy").write_bytes(header((10**6, 10**6)))
    with pytest.raises(DataError, match="cannot be read"):
        load(tmp_path / "huge.npy")
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps(Canary()))
    with pytest.raises(DataError, match="cannot be read"):
        load(tmp_path / "pickle.npy")
    (tmp_path / "text.npz").write_text("x")
    with pytest.raises(DataError, match="cannot be read"):
        load(tmp_path / "text.npz")
    x = np.random.RandomState(0).standard_normal((50, 4))
    np.savez(tmp_path / "flip.npz", x=x)
    content = bytearray((tmp_path / "flip.npz").read_bytes())
    content[600] ^= 255
    (tmp_path / "flip.npz").write_bytes(content)
    with pytest.raises(DataError, match="CRC"):
        load(tmp_path / "flip.npz")
    assert not Canary.fired


def test_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w") as member,
    ):
        member.write(header((300 * 2**20 // 16, 4)))
        for _ in range(300):
            member.write(bytes(2**20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match="decompression bomb"):
        load(tmp_path / "bomb.npz")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@pytest.mark.parametrize("big", [2**24 + 1, 2**60 + 1, -(2**53) - 1])
def test_whole_numbers_that_float32_rounds_are_refused(tmp_path, big):
    (tmp_path / "t.csv").write_text(
        "size,id\n" + "".join(f"{i},{i * 7}\n" for i in range(20)) + f"3,{big}\n"
    )
    with pytest.raises(DataError, match=r'column "id", row 21.*Subtract'):
        load(tmp_path / "t.csv", table=False)
    np.save(tmp_path / "t.npy", np.array([[1, 2], [3, big], [4, 5]]))
    with pytest.raises(DataError, match=r"column 1, row 2.*Subtract"):
        load(tmp_path / "t.npy")
    (tmp_path / "t.csv").write_text("id\n" + f"{2**24}\n{2**25}\n" * 6)
    largest = load(tmp_path / "t.csv", table=False).train.x.max()
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
    for array in (
        np.zeros((3, 2), dtype),
        np.asfortranarray(np.zeros((2, 3), dtype)),
        np.zeros((), dtype),
    ):
        file = written(array, version)
        header = array_header(file)
        assert header == (array.shape, array.flags.fnc, array.dtype)
        assert len(file.read()) == array.nbytes


def test_headers_that_are_none_are_refused():
    with pytest.raises(ValueError, match="magic"):
        array_header(io.BytesIO(b"GIF89a" + bytes(100)))
    with pytest.raises(ValueError, match=r"version \(3, 0\)"):
        array_header(written(np.zeros(2, [("é", "u1")]), (3, 0)))
    with pytest.raises(ValueError, match="at most 10,000"):
        array_header(io.BytesIO(FORMATS.magic(2, 0) + (2**32 - 1).to_bytes(4, "little")))


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
    with ThreadPoolExecutor(8) as pool:
        headers = list(pool.map(lambda shape: array_header(written(np.zeros(shape))), shapes))
    assert [header[0] for header in headers] == shapes
    assert calls == [1] * 6, "CPython's ast counts depth for all threads together"

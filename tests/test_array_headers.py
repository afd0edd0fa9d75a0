"""Headers of numpy's format: as numpy reads them, bounded, and safe to read by several threads."""

import io
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pushforward.data.images import image_file as array_headers
from pushforward.data.images.image_file import array_header

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
    for array in (np.zeros((3, 2), dtype), np.asfortranarray(np.zeros((2, 3), dtype)), np.zeros((), dtype)):
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
    inside, calls, read = [], [], FORMATS.read_array_header_1_0

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

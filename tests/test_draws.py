import numpy as np
import pytest
import torch

from pushforward.draws import BLOCK, BlockDraws, ExampleDraws, key


def test_rows_come_from_their_seed_alone():
    many, few = ExampleDraws(0, 8), ExampleDraws(4, 4)
    for _ in range(3):
        assert torch.equal(many.normal((3, 2))[4:], few.normal((3, 2)))
        assert torch.equal(many.uniform()[4:], few.uniform())


def test_calls_and_streams_differ():
    draws = ExampleDraws(0, 5)
    first, second = draws.normal((7,)), draws.normal((7,))
    other = ExampleDraws(0, 5).stream("label").normal((7,))
    assert not (first == second).any()
    assert not (first == other).any()
    training = BlockDraws(1, 5, 10)
    assert not (training.normal((7,)) == training.normal((7,))).any()


@pytest.mark.parametrize("make", [lambda: ExampleDraws(7, 3000), lambda: BlockDraws(7, 2, 3000)])
def test_the_laws_are_the_stated_ones(make):
    from scipy.stats import kstest

    assert kstest(make().normal((11,)).numpy().ravel(), "norm").pvalue > 1e-3
    assert kstest(make().uniform().numpy(), "uniform").pvalue > 1e-3
    rows = make().normal((50,)).numpy()
    assert abs(np.corrcoef(rows[:-1].ravel(), rows[1:].ravel())[0, 1]) < 0.02


def test_parts_of_a_batch_draw_what_the_whole_draws():
    whole = BlockDraws(1, 5, 4 * BLOCK + 9)
    parts = [BlockDraws(1, 5, 2 * BLOCK, 0), BlockDraws(1, 5, 2 * BLOCK + 9, 2 * BLOCK)]
    for _ in range(2):
        assert torch.equal(whole.normal((3,)), torch.cat([part.normal((3,)) for part in parts]))
        assert torch.equal(whole.uniform(), torch.cat([part.uniform() for part in parts]))


def test_training_draws_depend_on_step_seed_and_stream():
    base = BlockDraws(1, 5, 10).normal((3,))
    for other in (BlockDraws(1, 6, 10), BlockDraws(2, 5, 10), BlockDraws(1, 5, 10).stream("other")):
        assert not (base == other.normal((3,))).any()


def test_a_stream_can_stand_still():
    draws = [BlockDraws(1, step, 10).stream("plan", interval=4).normal((2,)) for step in (4, 7, 8)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[1], draws[2])


def test_keys_tell_names_apart():
    assert key("a", "bc") != key("ab", "c")
    assert key(1, 2) != key(12)


def test_rows_are_numpys_philox_at_seed_stream_and_call():
    draws = ExampleDraws(11, 3)
    draws.uniform()
    words = np.array([11 + 2, key("rows", "sample")], dtype=np.uint64)
    fresh = np.random.Generator(np.random.Philox(key=words, counter=np.array([0, 0, 0, 1], dtype=np.uint64)))
    np.testing.assert_array_equal(draws.normal((5,))[2].numpy(), fresh.standard_normal(5, dtype=np.float32))

"""Conditions by kind: requests, draws, embeddings and masks; models of continuous attributes; a
kind that a file adds.
"""

import itertools

import numpy as np
import pytest
import torch
from programs.small_networks import awaken
from programs.text_tables import read_cases
from scipy.stats import multivariate_normal

import pushforward as pf
from pushforward.conditions import Label, Numbers, Request, hidden
from pushforward.conditions.kind import checked
from pushforward.data import VectorSpace
from pushforward.draws import ExampleDraws
from pushforward.errors import UsageError
from pushforward.paths import Linear
from pushforward.recipes.adversarial import critic_for, generator_for
from pushforward.recipes.autoencoding import decoder_for, encoder_for
from pushforward.recipes.defaults import denoising_network
from pushforward.solvers import Heun
from pushforward.tables import Category
from pushforward.tables.column import Known
from pushforward.testing import Mixture
from pushforward.transports import Flow
from pushforward.transports.likelihood import log_prob

EXAMPLES = ((20.0, 1.0), (40.0, 3.0), (60.0, 5.0))
NUMBERS = Numbers(("age", "income"), (40.0, 3.0), (10.0, 1.0), EXAMPLES)
LABEL = Label(("a", "b", "c"), (0.2, 0.3, 0.5))
BOTH = {"label": LABEL, "given": NUMBERS}
PAIRED = ("mlp", "dcgan", "residual", "textbook")
CODING = ("convolutional", "textbook")


def test_one_value_stands_for_all_samples_and_names_may_be_mixed():
    request = Request(BOTH)
    asked = {"label": "b", "age": 50, "income": [1, 2, 3]}
    rows = request.values(3, asked, 7)
    age, income = rows["given"].T
    assert rows["label"].tolist() == [1, 1, 1]
    assert age.tolist() == [50, 50, 50]
    assert income.tolist() == [1, 2, 3]
    asked = {"label": [2, 0], "given": [30, 4]}
    rows = request.values(2, asked, 0)
    age, income = rows["given"].T
    assert age.tolist() == [30, 30]
    assert income.tolist() == [4, 4]
    assert rows["label"].tolist() == [2, 0]


def test_a_label_of_lists_equals_one_of_tuples():
    assert Label(["a", "b"], [0.5, 0.5]) == Label(("a", "b"), (0.5, 0.5))


def test_what_is_not_asked_for_is_drawn_for_each_seed_alone():
    request = Request(BOTH)
    rows = request.values(6, None, 10)
    drawn = set(map(tuple, rows["given"].tolist()))
    assert drawn <= set(EXAMPLES)
    for i in range(6):
        single = request.values(1, None, 10 + i)
        for name, values in rows.items():
            assert torch.equal(single[name][0], values[i])
    some = request.values(6, {"age": 33}, 10)
    age, income = some["given"].T
    assert torch.equal(income, rows["given"][:, 1])
    assert (age == 33).all()


def test_labels_follow_their_frequencies():
    uniform = ExampleDraws(5, 50, "label").uniform()
    edges = torch.tensor([0.2, 0.5])
    wanted = torch.bucketize(uniform, edges, right=True)
    rows = Request(BOTH).values(50, None, 5)
    assert torch.equal(rows["label"], wanted)


def test_masks_are_named_after_their_condition():
    asked = {"label_null": True, "given_null": [True, False]}
    rows = Request(BOTH).values(2, asked, 0)
    assert "label" not in rows, "what is hidden everywhere is not drawn"
    assert rows["given_null"].tolist() == [True, False]
    mask = torch.tensor([False, True])
    both = hidden(rows, mask)
    assert both["given_null"].tolist() == [True, True]
    assert both["label_null"].tolist() == [True, True]


REFUSED = r"""
{"agee": 3}                  | Did you mean "age"
{"age": "old"}               | must be a number
{"age": true}                | must be a number
{"age": [1, 2]}              | list or tensor of 3 numbers
{"age": 3, "given": [1, 2]}  | contains "age"
{"given": [1, 2, 3]}         | shape \(2,\)
{"age": Infinity}            | finite
{"label": 3}                 | between 0 and 2
3                            | must be a dict
"""


@pytest.mark.parametrize(("asked", "says"), read_cases(REFUSED))
def test_requests_that_cannot_be_are_refused(asked, says):
    request = Request(BOTH)
    with pytest.raises(UsageError, match=says):
        request.values(3, asked, 0)


def test_what_has_nothing_to_draw_from_is_asked_for():
    label = Request({"label": Label(("a", "b"))})
    given = Request({"given": Numbers(("age",), (40.0,), (10.0,))})
    for request in (label, given):
        with pytest.raises(UsageError, match="to draw"):
            request.values(2, None, 0)
    rows = label.values(2, {"label": 1}, 0)
    assert rows["label"].tolist() == [1, 1]


def test_numbers_keep_evenly_spaced_examples():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5000, 2)).astype(np.float32)
    kind = Numbers.measure(values, ("a", "b"))
    kept = np.array(kind.examples, dtype=np.float32)
    assert len(kept) == 1024
    assert set(map(tuple, kept.tolist())) <= set(map(tuple, values.tolist()))
    levels = (np.arange(1024) + 0.5) / 1024
    gaps = np.sort(kept[:, 0]) - np.quantile(values[:, 0], levels)
    assert abs(gaps).mean() < 2e-3
    assert kind.mean == pytest.approx(values.mean(0), abs=1e-5)


TABLE = pf.data.VectorSpace((5,), (0,) * 5, (1,) * 5, conditions=BOTH)
IMAGE = pf.data.ImageSpace((2, 6, 7), (0,) * 2, (1,) * 2, (0,) * 2, (1,) * 2, conditions=BOTH)
NETWORKS = ["denoiser mlp", "denoiser unet", "denoiser dit"]
NETWORKS += [f"{part} {kind}" for part in ("generator", "critic") for kind in PAIRED]
NETWORKS += [f"{part} {kind}" for part in ("encoder", "decoder") for kind in CODING]


def built(part, kind):
    """A network and the shape of an example that it receives."""
    if part == "denoiser" and kind == "mlp":
        return denoising_network(TABLE, "tiny"), TABLE.shape
    if part == "denoiser":
        return denoising_network(IMAGE, "tiny", kind), IMAGE.shape
    if part == "critic":
        return critic_for(IMAGE, "tiny", kind), IMAGE.shape
    if part == "encoder":
        return encoder_for(IMAGE, "tiny", 4, kind), IMAGE.shape
    make = {"generator": generator_for, "decoder": decoder_for}[part]
    return make(IMAGE, "tiny", 4, kind), (4,)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_receives_numbers_and_their_null(name):
    part, kind = name.split()
    network, shape = built(part, kind)
    network = awaken(network, 0.2).double().eval()
    x = torch.randn(1, *shape, dtype=torch.float64).expand(4, *shape)
    t = None
    if part == "denoiser":
        t = torch.full((4,), 0.4).double()
    condition = {"label": torch.zeros(4, dtype=torch.int64)}
    free = network(x, t, condition)
    given = torch.tensor([[20.0, 1.0], [20.0, 1.0], [60.0, 1.0], [20.0, 5.0]]).double()
    condition["given"] = given
    condition["given_null"] = torch.tensor([True, False, False, False])
    y = network(x, t, condition)
    torch.testing.assert_close(free[0], y[0])
    for one, other in itertools.combinations(y, 2):
        largest = (one - other).abs().max()
        assert largest > 1e-6, "null, values and columns differ"
    condition["given"] = given[:, :1]
    with pytest.raises(UsageError, match="floats of shape"):
        network(x, t, condition)


def test_a_density_is_that_given_the_class():
    labels = {"label": Label(("a", "b"), (0.5, 0.5))}
    first = [-0.5, 0.2]
    other = [0.4, 0.1]

    class OfClass:
        path = Linear()
        space = VectorSpace((2,), (0.0, 0.0), (1.0, 1.0), conditions=labels)
        of_first = Mixture(path, [first], 0.7)
        of_other = Mixture(path, [other], 0.7)

        def predict(self, kind, x, t, condition=None):
            is_first = condition["label"][:, None] == 0
            one = self.of_first.predict(kind, x, t)
            return torch.where(is_first, one, self.of_other.predict(kind, x, t))

    point = [0.3, -0.4]
    x = torch.tensor([point, point], dtype=torch.float64)
    condition = {"label": torch.tensor([0, 1])}
    flow = Flow(OfClass(), Heun(), 5)
    log_density = log_prob(flow, x, condition, steps=40)
    wanted = [multivariate_normal(centre, 0.49).logpdf(point) for centre in (first, other)]
    assert log_density.tolist() == pytest.approx(wanted, abs=2e-3)


def test_a_table_without_classes_may_have_a_column_called_label():
    column = Category("label", ("a", "b"), (0.5, 0.5))
    known = Known((column,))
    assert checked({"known": known}) == {"known": known}
    with pytest.raises(UsageError, match=r"[Rr]ename them: label"):
        checked({"label": LABEL, "known": known})

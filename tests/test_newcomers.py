"""What a new Python user tries: it works, or the error says what was expected."""

import pytest

import pushforward as pf
from pushforward.errors import UsageError


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("fid", "frechet"),
        ("FID", "frechet"),
        ("wasserstein", "frechet"),
        ("mmd", "kid"),
        ("prdc", "manifold"),
        ("bits-per-dim", "bpd"),
        ("nll", "bpd"),
        ("coverge", "coverage"),
    ],
)
def test_metrics_by_other_names(name, meant):
    with pytest.raises(UsageError, match=rf'Unknown metric "{name}"; known: bpd, .*Did you mean "{meant}"'):
        pf.evaluate("there is no such run", metrics=[name])


def test_the_inception_score_is_explained():
    with pytest.raises(UsageError, match="Inception score does not look at the data"):
        pf.evaluate("there is no such run", metrics="is")

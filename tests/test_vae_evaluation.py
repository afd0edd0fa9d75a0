"""Bits, densities, codes and reconstructions of trained models."""

import math

import numpy as np
import pytest
import torch
from programs.linear_vaes import CUBE, Affine, dataset_of, exact, exact_rows, linear_vae
from torch import distributions

import pushforward as pf
from pushforward.data import ImageSpace, Split
from pushforward.data.core.dataset import Dataset
from pushforward.evaluation.features import fit_features
from pushforward.evaluation.model_metrics import coded_bits
from pushforward.evaluation.pictures import code_statistics, reconstruction
from pushforward.metrics.reconstruction import ssim
from pushforward.transports import Autoencoder


def test_bits_by_importance_sampling_are_those_of_the_exact_model():
    x = exact_rows(40)
    score = coded_bits(linear_vae(), dataset_of(x), codes=3000, batch=16)
    assert score.extra["nats"] == pytest.approx(-float(exact(x).mean()), abs=0.02)
    assert score.value == pytest.approx(score.extra["nats"] / (3 * math.log(2)))
    assert score.n == 40
    again = coded_bits(linear_vae(), dataset_of(x), codes=3000, batch=7)
    assert again.extra["nats"] == pytest.approx(score.extra["nats"], abs=0.02)


def test_densities_of_images_bound_the_probability_of_their_levels():
    """A decoder that ignores its code, a wide Gaussian: the probability of a level is nearly its density over 255."""
    space = ImageSpace(shape=(1, 2, 2), mean=(0.5,), std=(0.25,), low=(0.0,), high=(1.0,))
    vae = pf.VAE(Affine(torch.zeros(2, 4)), Affine(torch.zeros(4, 1)), space, latent=1)
    vae.encoder.forward = lambda x, t=None, condition=None: torch.zeros(len(x), 2)
    vae.decoder.forward = lambda z, t=None, condition=None: torch.zeros(len(z), 1, 2, 2)
    pixels = np.random.default_rng(0).integers(60, 200, size=(200, 1, 2, 2), dtype=np.uint8)
    data = Dataset("grey", space, Split(pixels), Split(pixels))
    score = coded_bits(vae, data, codes=2)
    u = space.to_model(torch.from_numpy(pixels) / 255).double()
    wanted = -(distributions.Normal(0.0, 1.0).log_prob(u) - math.log(0.25 * 255)).mean() / math.log(2)
    assert score.value == pytest.approx(float(wanted), abs=0.01)


def test_codes_are_measured_as_they_are():
    """Reconstructions, active units, the KL term and the mismatch of a known coder."""
    torch.manual_seed(0)
    x = torch.randn(3000, 3) * torch.tensor([1.0, 2.0, 1.0])
    encoder = Affine(torch.tensor([[0.8, 0.0, 0.0], [0.0, 0.0, 0.0]]), 0.0, math.log(0.36))
    coder = Autoencoder(encoder, Affine(torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])), CUBE)
    data = dataset_of(x)
    statistics = code_statistics(coder, data, 3000)
    assert (statistics.units, statistics.active, statistics.n) == (2, 1, 3000)
    variance = float(0.64 * x[:, 0].var(correction=0))
    kl = [(0.36 + variance - 1 - math.log(0.36)) / 2, (0.36 - 1 - math.log(0.36)) / 2]
    assert statistics.by_unit == pytest.approx(kl, abs=0.01)
    assert statistics.kl == pytest.approx(sum(kl), abs=0.01)
    together = variance + 0.36
    assert statistics.mismatch == pytest.approx((together - 1 - math.log(together)) / 2 + kl[1], abs=0.01)
    reconstructed = reconstruction(coder, data, fit_features(data, cache=False), 3000)
    wanted = 1 - float(
        ((x - torch.stack([0.8 * x[:, 0], 0 * x[:, 1], 0 * x[:, 2]], 1)) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
    )
    assert reconstructed.explained == pytest.approx(wanted, abs=1e-4)
    assert reconstructed.psnr is None


def mirrored(place, side):
    return -1 - place if place < 0 else (2 * side - 1 - place if place >= side else place)


def window(image, row, column):
    """The 11 x 11 Gaussian window around a place, mirrored at the edges, by loops."""
    total, values = 0.0, []
    for down in range(-5, 6):
        for right in range(-5, 6):
            weight = math.exp(-(down**2 + right**2) / (2 * 1.5**2))
            values.append((weight, mirrored(row + down, image.shape[0]), mirrored(column + right, image.shape[1])))
            total += weight
    return [(weight / total, i, j) for weight, i, j in values]


def test_structural_similarity_by_loops():
    random = np.random.default_rng(0)
    a = random.random((12, 13))
    b = np.clip(a + 0.2 * random.random((12, 13)), 0, 1)
    each = []
    for row in range(12):
        for column in range(13):
            of = window(a, row, column)
            mean_a, mean_b = (sum(w * z[i, j] for w, i, j in of) for z in (a, b))
            var_a, var_b = (sum(w * z[i, j] ** 2 for w, i, j in of) - m**2 for z, m in ((a, mean_a), (b, mean_b)))
            both = sum(w * a[i, j] * b[i, j] for w, i, j in of) - mean_a * mean_b
            top = (2 * mean_a * mean_b + 1e-4) * (2 * both + 9e-4)
            each.append(top / ((mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4)))
    assert float(ssim(a[None, None], b[None, None])[0]) == pytest.approx(np.mean(each), abs=1e-9)
    assert ssim(a[None, None], a[None, None])[0] == pytest.approx(1)

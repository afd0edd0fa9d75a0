"""The prior of a conditional VAE: one Gaussian per class over the codes, learned with the networks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pushforward.conditions.kind import mask_of
from pushforward.methods.likelihoods import SPEED
from pushforward.predictor import Condition


class ClassPrior(nn.Module):
    """p(z | label) = N(mean, diag(std^2)), with a mean and a standard deviation per class and entry of the code.

    An encoder spreads the codes of each class differently, and a short training does not bring them all to N(0, I): samples
    drawn there are codes that the decoder has never decoded. A prior with parameters follows the codes instead. It is written
    as a change of variables, ``z = mean + std * w`` with ``w ~ N(0, I)``, so that everything outside sees the standard code w.

    Over the classes, means and log standard deviations average 0: encoder and decoder can shift and scale the codes of all
    classes together, and without a fixed scale a code that carries nothing would shrink. Examples without a label have N(0, I),
    and so have classes without training examples, which count in no average.

    Args:
        classes: Number of classes, at least 1.
        code: Shape of one code.
        absent: Numbers of the classes without training examples.

    References:
        Sohn et al., Learning Structured Output Representation using Deep Conditional Generative Models (2015), section 4.1: the
        conditional prior p(z | x).
    """

    def __init__(self, classes: int, code: Sequence[int], absent: Sequence[int] = ()) -> None:
        super().__init__()
        self.classes, self.code, self.absent = classes, tuple(code), tuple(absent)
        self.mean = nn.Parameter(torch.zeros(classes * math.prod(self.code)))
        self.log_std = nn.Parameter(torch.zeros(classes * math.prod(self.code)))

    def moments(self, condition: Condition, n: int) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation for each of n examples, (n, *code) each."""
        if condition is None or "label" not in condition:
            standard = self.mean.new_zeros(n, *self.code)
            return standard, standard
        label, null = condition["label"], condition.get(mask_of("label"))
        label = label if null is None else torch.where(null, self.classes, label)
        mean, log_std = (self._by_label(part)[label] for part in (self.mean, self.log_std))
        return mean, log_std

    def _by_label(self, part: Tensor) -> Tensor:
        by_class = SPEED * part.view(self.classes, *self.code)
        present = [label for label in range(self.classes) if label not in self.absent]
        centred = by_class - by_class[present].mean(0)
        if self.absent:
            centred = centred.index_fill(0, torch.tensor(self.absent, device=part.device), 0.0)
        return torch.cat([centred, torch.zeros_like(by_class[:1])])


class ToPrior(nn.Module):
    """An encoder whose codes are in the units of a prior: w = (z - mean) / std.

    Args:
        encoder: ``encoder(x, None, condition) -> (n, 2 c, ...)``, means then log-variances of z.
        prior: The prior of z.
    """

    def __init__(self, encoder: nn.Module, prior: ClassPrior) -> None:
        super().__init__()
        self.encoder, self.prior = encoder, prior

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        mean, log_variance = self.encoder(x, t, condition).chunk(2, dim=1)
        centre, log_std = self.prior.moments(condition, x.shape[0])
        return torch.cat([(mean - centre) * torch.exp(-log_std), log_variance - 2 * log_std], dim=1)


class FromPrior(nn.Module):
    """A decoder that takes codes in the units of a prior: z = mean + std w.

    Args:
        decoder: ``decoder(z, None, condition) -> (n, ...)``.
        prior: The prior of z.
    """

    def __init__(self, decoder: nn.Module, prior: ClassPrior) -> None:
        super().__init__()
        self.decoder, self.prior = decoder, prior

    def forward(self, w: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        mean, log_std = self.prior.moments(condition, w.shape[0])
        return self.decoder(mean + torch.exp(log_std) * w, t, condition)

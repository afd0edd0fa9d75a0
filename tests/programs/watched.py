"""A small game whose training is measured."""

import json

from torch import nn

from pushforward.methods import Method
from pushforward.transports import Map


class Game(Method):
    """A critic and a generator with batch normalisation and dropout, on pairs."""

    def __init__(self, space, generator=None, critic=None):
        super().__init__()
        d = space.size
        self.space = space
        self.generator = generator or nn.Sequential(
            nn.Linear(3, 19), nn.BatchNorm1d(19), nn.Dropout(0.3), nn.Linear(19, d)
        )
        self.critic = critic or nn.Sequential(nn.Linear(d, 23), nn.SiLU(), nn.Linear(23, 1))

    @property
    def players(self):
        return {"critic": self.critic, "generator": self.generator}

    def scores(self, x, condition=None):
        return self.critic(x).flatten()

    def samples_of(self, z):
        return self.generator(z)

    def losses(self, batch, now):
        fake = self.samples_of(now.draws.normal((3,)))
        gap = self.scores(batch.x) - self.scores(fake.detach())
        now.notes.update(logit_gap=gap.detach().mean(), critic_accuracy=(gap > 0).float().mean())
        yield "critic", nn.functional.softplus(-gap).mean()
        yield (
            "generator",
            nn.functional.softplus(self.scores(batch.x).detach() - self.scores(fake)).mean(),
        )

    def transport(self):
        return Map(Asked(self.generator), self.space, (3,))


class Asked(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, z, t=None, condition=None):
        return self.inner(z)


def log_of(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]

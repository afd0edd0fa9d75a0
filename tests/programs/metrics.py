"""Metrics that hold what they receive."""

from pushforward.metrics import MetricInfo


class Seen:
    """Holds the samples that metrics receive, in ``samples``, and scores nothing."""

    def __init__(self):
        self.scores = {"seen": MetricInfo("Seen", "target", "Nothing.")}
        self.samples = []

    def applies(self, samples):
        self.samples.append(samples)
        return False

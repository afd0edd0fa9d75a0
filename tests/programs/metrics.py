"""What metrics receive."""

import numpy as np

from pushforward.metrics import MetricInfo, Samples


class Seen:
    """Holds the samples that metrics receive, in ``samples``, and scores nothing."""

    def __init__(self):
        self.scores = {"seen": MetricInfo("Seen", "target", "Nothing.")}
        self.samples = []

    def applies(self, samples):
        self.samples.append(samples)
        return False


def samples(generated, reference, training=None, **more):
    """Convert arrays (n, d) to inputs of metrics, as their own features."""
    if training is None:
        training = reference
    if training.dtype != np.uint8:
        training = training.astype(np.float32)
    fields = {
        "generated": generated.astype(np.float32),
        "reference": reference.astype(np.float32),
        "training": training,
        "generated_features": generated.astype(np.float64),
        "reference_features": reference.astype(np.float64),
        "shape": generated.shape[1:],
    }
    return Samples(**(fields | more))


def values(metric, *arrays, **more):
    """Compute the scores for the `samples` of arrays, to which the metric must apply."""
    given = samples(*arrays, **more)
    assert metric.applies(given)
    return metric(given)

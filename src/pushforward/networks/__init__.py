"""Networks: ``network(x, t=None, condition=None) -> tensor``, without paths or methods.

* x: (n, ...); the result has its dtype.
* t: (n,), or (n, times); None for a network without times.
* condition: None, or values and masks by name; see `Conditioning`.

Networks draw no random numbers, and raise `UsageError` for inputs that do not fit. Common
arguments: shape (of an example), latent (length of z), width, conditions (kinds by name), times
(per example), stem (side of patches folded into channels) and minibatch_std (group size of
`append_minibatch_std`; 0 for none). ``sized("tiny" | "small" | "base", shape=...)`` builds one of
three sizes.
"""

from pushforward.registries import exports

__getattr__ = exports(__name__, __file__)

"""Planted faults of `networks`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "networks/autoencoder.py": [
        ("(place * positions.shape[1]).long()", "(0 * place).long()", "q u a n t i s e d"),
        ("candidates[torch.argsort(choice)[: len(dead)]]", "candidates[: len(dead)]", "q u a n t i s e d"),
        ("enabled=False", "enabled=True", "q u a n t i s e d"),
        ("distances.argmin(1)", "distances.argmax(1)", "q u a n t i s e d"),
        ("q.detach() + (h - h.detach())", "q", "q u a n t i s e d"),
        ("self.counts[dead] = even", "pass", "q u a n t i s e d"),
        ("(self.counts < DEAD * even)", "(self.counts < 0)", "q u a n t i s e d"),
        ("(1 + 1e-3) / 2 for", "(1 - 1e-1) / 2 for", "q u a n t i s e d"),
        ("squashed.round()", "squashed.floor()", "q u a n t i s e d"),
    ],
    "networks/embedding.py": [
        ("((1, n) if self.shares_time else (n,))", "(1, n)", "t a b l e _ d n o i s r"),
    ],
    "networks/level_posterior.py": [
        ("and not torch.compiler.is_compiling()", "", "e x p o r t"),
        ("off.square() / 2 - ratio.log()", "off.square() / 2", "l i k e h o d"),
        ("and not narrow.any():", "and not narrow.all():", "l i k e h o d"),
        ("torch.hypot(torch.ones_like(ratio), ratio)", "1", "l i k e h o d"),
        ("(mean * ratio.square() + noisy * std.square())", "(noisy * ratio.square() + mean * std.square())", "l i k e h o d"),
    ],
    "networks/mlp.py": [
        ("x.device.type, enabled=False", "x.device.type, dtype=torch.bfloat16", "n e t w o r k _ p a s"),
        ("angles.sin(), angles.cos()", "angles.sin(), angles.sin()", "n e t w o r k _ p a s"),
        ("math.log10(low), math.log10(high)", "math.log10(high), math.log10(low)", "n e t w o r k _ p a s"),
        (
            "nn.functional.normalize(torch.randn(fourier_features, inputs), dim=1)",
            "torch.ones(fourier_features, inputs) / inputs**0.5",
            "n e t w o r k _ p a s",
        ),
        ("act = ACTIVATIONS[self.activation]", 'act = ACTIVATIONS["silu"]', "g a n _ r e c i p"),
        ("x[:, : self.sign_codes] > 0", "x[:, -self.sign_codes :] > 0", "n e t w o r k _ p a s"),
        ("x[:, : self.sign_codes] > 0", "x[:, : self.sign_codes] < 0", "n e t w o r k _ p a s"),
        ("self.scale * x,", "x,", "n e t w o r k _ p a s"),
        ("F.embedding(pattern, self.codes)", "F.embedding(pattern, self.codes.sign())", "n e t w o r k _ p a s"),
        ("if sign_codes > min(latent, MOST)", "if sign_codes > latent + 1", "n e t w o r k _ p a s"),
    ],
    "networks/pretrained.py": [
        ("2 ** (levels - level)", "2**level", "f e a t u r _ c i"),
    ],
    "networks/table.py": [
        ("order.argsort()", "order", "t a b l e _ d n o i s r"),
        ("flat.argsort()", "flat", "t a b l e _ d n o i s r"),
        ("layout.chosen(noisy) + (soft - soft.detach())", "soft", "t a b l e _ m o d s"),
        ("(soft - soft.detach())", "(soft - soft).detach()", "t a b l e _ m o d s"),
        (
            "torch.where(layout.closed, codes - scores, 0.0).detach()",
            "torch.where(layout.closed, codes - scores, 0.0)",
            "t a b l e _ m o d s",
        ),
        ("torch.where(layout.closed, codes - scores, 0.0).detach()", "0.0", "t a b l e _ m o d s"),
        ("layout.gated(rows) * scores", "scores", "t a b l e _ m o d s"),
    ],
}

"""Planted faults of `networks`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "networks/autoencoder.py": [
        ("(place * positions.shape[1]).long()", "(0 * place).long()", "perceptual"),
        ("candidates[torch.argsort(choice)[: len(dead)]]", "candidates[: len(dead)]", "perceptual"),
        ("enabled=False", "enabled=True", "perceptual"),
        ("distances.argmin(1)", "distances.argmax(1)", "perceptual"),
        ("q.detach() + (h - h.detach())", "q", "perceptual"),
        ("self.counts[dead] = even", "pass", "perceptual"),
        ("(self.counts < DEAD * even)", "(self.counts < 0)", "perceptual"),
        ("(1 + 1e-3) / 2", "(1 - 1e-1) / 2", "perceptual"),
        ("squashed.round()", "squashed.floor()", "perceptual"),
    ],
    "networks/mlp.py": [
        ("act = ACTIVATIONS[self.activation]", 'act = ACTIVATIONS["silu"]', "networks"),
    ],
    "networks/gan.py": [
        ("2 ** (levels - level)", "2**level", "finishing"),
    ],
    "networks/transformer.py": [
        ("order.argsort()", "order", "table_denoiser"),
        ("flat.argsort()", "flat", "table_denoiser"),
    ],
    "networks/wrappers.py": [
        ("and not torch.compiler.is_compiling()", "", "export"),
        ("off.square() / 2 - ratio.log()", "off.square() / 2", "likelihood"),
        ("and not narrow.any():", "and not narrow.all():", "likelihood"),
        ("torch.sqrt(1 + ratio.square())", "1", "likelihood"),
        (
            "(mean * variance + noisy * std.square())",
            "(noisy * variance + mean * std.square())",
            "likelihood",
        ),
        ("x.device.type, enabled=False", "x.device.type, dtype=torch.bfloat16", "networks"),
        ("angles.sin(), angles.cos()", "angles.sin(), angles.sin()", "networks"),
        ("math.log10(low), math.log10(high)", "math.log10(high), math.log10(low)", "networks"),
        (
            "F.normalize(torch.randn(fourier_features, inputs), dim=1)",
            "torch.ones(fourier_features, inputs) / inputs**0.5",
            "networks",
        ),
        ("x[:, : self.sign_codes] > 0", "x[:, -self.sign_codes :] > 0", "networks"),
        ("x[:, : self.sign_codes] > 0", "x[:, : self.sign_codes] < 0", "networks"),
        ("self.scale * x,", "x,", "networks"),
        ("F.embedding(pattern, self.codes)", "F.embedding(pattern, self.codes.sign())", "networks"),
        ("if sign_codes > min(latent, MOST)", "if sign_codes > latent + 1", "networks"),
    ],
}

"""Planted faults of `recipes`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "recipes/defaults.py": [
        ('("unet", "dit"), DENOISED)', '("unet", "dit"))', "recipes"),
    ],
    "recipes/adversarial.py": [
        ('("dcgan", "residual"))', '("residual", "dcgan"))', "recipes"),
        ("part * (size // pack) + place", "part + place", "table_models"),
        ("high=HIGHEST, ", "", "table_models"),
        (
            "penalty_interval = 4 if dcgan else 1",
            'penalty_interval = 4 if network in ("auto", "dcgan") else 1',
            "recipes",
        ),
        ("penalty_interval / (penalty_interval + 1)", "1.0", "recipes"),
        ("min(10, latent)", "10", "gan"),
        ('network in ("auto", "mlp") and not spectral', 'network in ("auto", "mlp")', "gan"),
        ("if points and penalised", "if not _continuous(space) and penalised", "gan"),
        ("if points and penalised", "if vector and penalised", "gan"),
        ("if points and penalised", "if points", "gan"),
        ("lr_ramp=0.01, shortest_ramp=shortest_ramp)", "lr_ramp=0.01)", "gan"),
        ("penalty_interval, difference, shortest_ramp", "penalty_interval, difference", "gan"),
    ],
    "recipes/diffusion.py": [
        ('"log_snr" if len(space.shape) == 1 else "time"', '"time"', "grid_learning"),
        ('output = "v" if preconditioned else None', "output = None", "paths"),
        ("els(levels))", "els(levels // 2))", "paths"),
    ],
    "recipes/flow_maps.py": [
        ("if model is not None and model.source is not None:", "if False:", "source_students"),
        ("STEPS if denoiser.source is None else STEPS_FROM_DATA", "STEPS", "source_students"),
    ],
    "recipes/flow_matching.py": [
        ("from_data = teacher.source is not None", "from_data = False", "source_students"),
        (
            '"velocity", space, source=couple.source)',
            '"velocity", space, source=start)',
            "source_students",
        ),
        (
            "if given is None:\n        return most\n    return whole",
            "return given or most or ",
            "table_students",
        ),
    ],
    "recipes/recipe.py": [
        ("kind = str if str in plain else plain[-1]", "kind = plain[0]", "help"),
        ("^Args:\\n(.*?)(?=^\\S|\\Z)", "^Args:\\n(.*)", "help"),
        ("self.lr_end + (1 - self.lr_end) *", "self.lr_end *", "training"),
        ("self.lr_ramp, self.shortest_ramp)", "self.lr_ramp)", "gan"),
    ],
    "recipes/students.py": [
        ("        source=teacher.source,\n", "", "source_students"),
    ],
}

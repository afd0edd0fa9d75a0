"""Planted faults of `recipes`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "recipes/choice.py": [
        ("flat(space, DENOISED)", "flat(space)", "recipes"),
        ('"mlp" if flat(space) else "dcgan"', '"mlp" if flat(space) else "residual"', "recipes"),
        ('WAVES if network in ("auto", "mlp") else 0', "WAVES", "table_denoiser"),
        ("BATCH * TOKENS // columns // 64 * 64", "BATCH", "given_values"),
        ("part * (size // pack) + place", "part + place", "table_models"),
        ("high=HIGHEST, ", "", "table_models"),
    ],
    "recipes/diffusion.py": [
        ('"log_snr" if len(space.shape) == 1 else "time"', '"time"', "grid_learning"),
        (
            '\n            Tabulated(betas),\n            "noise",\n            space,\n           '
            ' preconditioning=Preconditioning(output="v" if preconditioned else None),',
            ' Tabulated(betas), "noise", space, preconditioning=Preconditioning(output=None)',
            "paths",
        ),
        ("els(levels))", "els(levels // 2))", "paths"),
    ],
    "recipes/distil.py": [
        ("if source is not None:", "if False:", "source_students"),
        (
            "\n            name\n            for name, value in given.items()\n            if name "
            "in OF_NUMBERS and value != usual[name].default\n        ",
            "name for name, value in given.items() if name in OF_NUMBERS and False",
            "table_students",
        ),
        ("STEPS if denoiser.source is None else STEPS_FROM_DATA", "STEPS", "source_students"),
    ],
    "recipes/flow.py": [
        (
            'if teacher.source is None else (32, "time")',
            'if True else (32, "time")',
            "source_students",
        ),
        (
            '"velocity", space, source=couple.source)',
            '"velocity", space, source=start)',
            "source_students",
        ),
        ("rate=0.0, ", "", "table_denoiser"),
        ("if isinstance(space, TableSpace):", "if False:", "table_students"),
        (
            "if given is None:\n        return most\n    return whole",
            "return given or most or ",
            "table_students",
        ),
    ],
    "recipes/gan.py": [
        ("f convolutional and ne", "f ne", "recipes"),
        ("penalty_interval / (penalty_interval + 1)", "1.0", "recipes"),
        ("min(10, latent)", "10", "gan"),
        (
            '(\n            32 if vector and resolved and network in ("auto", "mlp") and not '
            "spectral else 0\n        )",
            '32 if vector and resolved and network in ("auto", "mlp") else 0',
            "gan",
        ),
        (
            "\n        lr_end=lr_end, lr_ramp=lr_ramp, beta2_end=beta2_end, ramp=ramp, "
            "shortest_ramp=shortest_ramp\n    ",
            "lr_end=lr_end, lr_ramp=lr_ramp, ramp=ramp, shortest_ramp=shortest_ramp",
            "gan",
        ),
        (" ramp is None and p", " p", "gan"),
        ("d vector and no", "d no", "gan"),
        ("r and not _continuous(space):", "r:", "gan"),
        ("penalised and ", "", "gan"),
        (
            "\n        lr_end=lr_end, lr_ramp=lr_ramp, beta2_end=beta2_end, ramp=ramp, "
            "shortest_ramp=shortest_ramp\n    ",
            "lr_end=lr_end, lr_ramp=lr_ramp, beta2_end=beta2_end, ramp=ramp",
            "gan",
        ),
        (
            "\n            penalty, gamma, gamma_end, ramp, penalty_interval, difference, "
            "shortest_ramp\n        ",
            "penalty, gamma, gamma_end, ramp, penalty_interval, difference",
            "gan",
        ),
    ],
    "recipes/recipe.py": [
        ("kind = str if str in plain else plain[-1]", "kind = plain[0]", "help"),
        ("^Args:\\n(.*?)(?=^\\S|\\Z)", "^Args:\\n(.*)", "help"),
    ],
    "recipes/learning_rate.py": [
        ("self.lr_end + (1 - self.lr_end) *", "self.lr_end *", "training"),
        ("self.lr_ramp, self.ramp, self.shortest_ramp)", "self.lr_ramp, self.ramp)", "gan"),
        ("self.beta2_end, self.ramp, self.shortest_ramp)", "self.beta2_end, self.ramp)", "gan"),
    ],
    "recipes/students.py": [
        (
            "teacher.space, source=teacher.source, **options",
            "teacher.space, **options",
            "source_students",
        ),
        ("student.shift.copy_(teacher.shift)", "pass", "table_students"),
        (
            "STEPS if teacher_steps is None else whole(",
            "STEPS if not teacher_steps else whole(",
            "table_students",
        ),
    ],
}

"""Planted faults of `recipes`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "recipes/choice.py": [
        ("flat(space, DENOISED)", "flat(space)", "r e c i p s"),
        ('"mlp" if flat(space) else "dcgan"', '"mlp" if flat(space) else "residual"', "r e c i p s"),
        ('WAVES if network in ("auto", "mlp") else 0', "WAVES", "t a b l e _ d n o i s r"),
        ("BATCH * TOKENS // columns // 64 * 64", "BATCH", "e d g _ t a b l s"),
    ],
    "recipes/diffusion.py": [
        ('"log_snr" if len(space.shape) == 1 else "time"', '"time"', "d e f a u l t _ s m p r"),
        ('output="v" if preconditioned else None', "output=None", "p a t h s"),
        (
            "        path, times = Tabulated(betas), Stratified(Levels(levels)",
            "        path, times = Tabulated(betas), Stratified(Levels(levels // 2)",
            "p a t h s",
        ),
    ],
    "recipes/distil.py": [
        ("if source is not None:", "if False:", "s o u r c e _ t d n"),
    ],
    "recipes/flow.py": [
        ('if teacher.source is None else (32, "time")', 'if True else (32, "time")', "s o u r c e _ t d n"),
        ('"velocity", space, source=couple.source)', '"velocity", space, source=start)', "s o u r c e _ t d n"),
        ("rate=0.0, ", "", "t a b l e _ d n o i s r"),
    ],
    "recipes/gan.py": [
        ("penalty_interval = 4 if convolutional and", "penalty_interval = 4 if", "r e c i p s"),
        ("share = penalty_interval / (penalty_interval + 1)", "share = 1.0", "r e c i p s"),
        ("(min(10, latent) if vector else 0)", "(10 if vector else 0)", "g a n _ r e c i p"),
        ("and not spectral else 0", "else 0", "g a n _ r e c i p"),
        ("beta2_end=beta2_end, ", "", "g a n _ r e c i p"),
        ("if shortest_ramp is None and ramp is None and", "if shortest_ramp is None and", "g a n _ r e c i p"),
        ("and penalised and vector and not _continuous(space)", "and penalised and not _continuous(space)", "g a n _ r e c i p"),
        ("and penalised and vector and not _continuous(space)", "and penalised and vector", "g a n _ r e c i p"),
        ("and penalised and vector and not _continuous(space)", "and vector and not _continuous(space)", "g a n _ r e c i p"),
        ("ramp=ramp, shortest_ramp=shortest_ramp)", "ramp=ramp)", "g a n _ r e c i p"),
        ("penalty_interval, difference, shortest_ramp)", "penalty_interval, difference)", "g a n _ r e c i p"),
    ],
    "recipes/recipe.py": [
        ('elif inside and not line.startswith("    "):', "elif False:", "h e l p"),
        ("kind = str if str in plain else plain[-1]", "kind = plain[0]", "h e l p"),
        ("self.lr_ramp, self.ramp, self.shortest_ramp)", "self.lr_ramp, self.ramp)", "g a n _ r e c i p"),
        ("self.beta2_end, self.ramp, self.shortest_ramp)", "self.beta2_end, self.ramp)", "g a n _ r e c i p"),
    ],
    "recipes/students.py": [
        ("teacher.space, source=teacher.source, **options", "teacher.space, **options", "s o u r c e _ t d n"),
        ("student.shift.copy_(teacher.shift)", "pass", "t a b l e _ s u d n"),
        ("if isinstance(space, TableSpace):", "if False:", "t a b l e _ r d i n g"),
        ("most if trajectories is None else whole(", "trajectories or most or (", "t a b l e _ s u d n"),
    ],
}

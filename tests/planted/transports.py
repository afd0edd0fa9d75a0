"""Planted faults of `transports`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "transports/flow.py": [
        ("fits = isinstance(self.grid, str) or steps == self.steps", "fits = True", "sampling"),
        ("self.grid_for(solver, steps) if grid is None else grid", "grid", "words"),
        ("self.source.starts(draws)", "self.source(draws)", "frozen"),
        ("z * self.width", "z", "solvers recipes"),
        ("return state / self.width", "return state", "solvers recipes methods"),
        ("times[::-1]", "times", "solvers methods"),
        (
            "autoencoder.drawn(\n            self.decode(self.inner(z, condition, draws), "
            "condition), draws\n        ",
            "decode(self.inner(z, condition, draws), condition",
            "table_models",
        ),
        ("return self.inner.calls + 1", "return self.inner.calls", "solvers methods"),
        ("self.inner.space.to_data(codes)", "codes", "methods codes"),
        (
            (
                "        x = call(self.network, z, None, condition)\n"
                "        if self.likelihood is None or draws is None:\n            return x"
            ),
            "        x = call(self.network, z, None, condition)\n        if True:\n            "
            "return x",
            "class_prior",
        ),
    ],
    "transports/transport.py": [
        ("all(isinstance(value, Tensor) for value in condition.values()):", "True:", "solvers"),
        (
            "        return self.space.finished(x,",
            "        return x.double() if True else self.space.finished(x,",
            "table_digits",
        ),
        ("dtype=self.space.precision", "dtype=torch.float32", "table_digits"),
        ("return redrawing.checked(self._parts(", "return (self._parts(", "table_samples"),
        ("            own.check()", "            pass", "table_samples"),
        ("seed + start, size, device", "seed, size, device", "solvers methods laws"),
        ("part, seed + start)", "part, seed)", "solvers methods laws"),
        ("value[start : start + size]", "value[:size]", "table_samples"),
        ("(min(TURNS, MEASURED) if _unmet_allowed else TURNS)", "TURNS", "table_samples"),
        ("            tally.unmet += unmet", "            tally.unmet = 0", "table_samples"),
        (
            "        part.waiting = waiting[~valid]",
            "        part.waiting = waiting[:0]",
            "table_samples",
        ),
        ("                if self.hopeless:\n                    break\n", "", "table_samples"),
        ("self.lost >= HOPELESS and not _unmet_allowed", "self.lost >= HOPELESS", "table_samples"),
        (
            "self.lost >= HOPELESS and not _unmet_allowed",
            "HOPELESS <= self.tally.drawn == self.tally.refused",
            "table_samples",
        ),
        ("turn * self.n + seed - self.seed < HOPELESS", "True", "table_samples"),
        ("if self.unmet and not _unmet_allowed:", "if not _unmet_allowed:", "table_samples"),
        ("            if self.hopeless:\n                self.check()\n", "", "table_samples"),
        (
            "(\n            0 < self.tally.refused == self.tally.drawn\n            and self.lost "
            "< HOPELESS\n            and not _unmet_allowed\n        )",
            "False and self.lost < HOPELESS and not _unmet_allowed",
            "table_samples",
        ),
        ("       warn(", "       str(", "table_samples"),
        ('f"{draws.name}/again {turn}"', "draws.name", "table_samples"),
        ("None if _off else self.space.valid(x)", "self.space.valid(x)", "table_samples"),
        (
            "seeds = [draws.seeds[place] for place in waiting.tolist()]\n        cond",
            "seeds = list(draws.seeds)[: len(waiting)]\n        cond",
            "table_samples",
        ),
        ("own is not None and source == rank", "False", "launched"),
        (
            "return not (_active and _active[-1]) or torch.distributed.get_rank() == 0",
            "return True",
            "launched",
        ),
        ("        self.unmet += unmet", "        self.unmet = unmet", "table_samples"),
        ("if not np.all(single.valid(x)):", "if True:", "table_samples"),
        (
            "if valid is None or valid.all():\n        return\n    texts",
            "if True:\n        return\n    texts",
            "table_samples",
        ),
        (
            "        self._joined = (self.tally.drawn,",
            "        _ = (self.tally.drawn,",
            "table_samples",
        ),
    ],
}

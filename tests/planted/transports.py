"""Planted faults of `transports`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "transports/flow.py": [
        ("fits = isinstance(self.grid, str) or steps == self.steps", "fits = True", "sampling"),
        ("grid = self.grid_for(solver, steps)", "pass", "words"),
        ("self.source.starts(draws)", "self.source(draws)", "frozen"),
        ("z * self.width", "z", "solvers recipes"),
        ("given)) / self.width", "given))", "solvers recipes methods"),
        ("times[::-1]", "times", "solvers methods"),
        ("return self.autoencoder.drawn(x, draws)", "return x", "table_models"),
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
        ("slice(start, start + size)", "slice(size)", "table_samples"),
    ],
    "transports/redrawing.py": [
        ("min(TURNS, MEASURED) if _unmet_allowed else TURNS", "TURNS", "table_samples"),
        ("            tally.unmet += unmet", "            tally.unmet = unmet", "table_samples"),
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
        ("self.lost += number < HOPELESS", "self.lost += 1", "table_samples"),
        ("if self.tally.unmet and not _unmet_allowed:", "if not _unmet_allowed:", "table_samples"),
        ("            if self.hopeless:\n                self.check()\n", "", "table_samples"),
        ("return none_met and self.lost", "return False and self.lost", "table_samples"),
        ("    warn(\n", "    str(\n", "table_samples"),
        ('f"{part.draws.name}/again {turn}"', "part.draws.name", "table_samples"),
        ("None if _off else self.space.valid(x)", "self.space.valid(x)", "table_samples"),
        (
            "for place in self.waiting.tolist()]",
            "for place in range(len(self.waiting))]",
            "table_samples",
        ),
        ("if not np.all(single.valid(x)):", "if True:", "table_samples"),
        (
            "if valid is None or valid.all():\n        return\n    warn",
            "if True:\n        return\n    warn",
            "table_samples",
        ),
        ("        self._joined = self._counts", "        pass", "table_samples"),
    ],
    "transports/sharing.py": [
        ("own is not None and source == rank", "False", "launched"),
        (
            "return not _spreads() or distributed.get_rank() == 0",
            "return True",
            "launched",
        ),
    ],
}

"""Planted faults of `transports`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "transports/flow.py": [
        ("return super().facts() | {", "return super().facts() or {", "sampling"),
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
        ("facts_table(type(self).__name__, self.facts())", "repr(None)", "sampling"),
        ("own is not None and source == rank", "False", "launched"),
        (
            "return not _spreads() or distributed.get_rank() == 0",
            "return True",
            "launched",
        ),
        ("all(isinstance(value, Tensor) for value in condition.values()):", "True:", "solvers"),
        (
            "        return self.space.finished(x,",
            "        return x.double() if True else self.space.finished(x,",
            "table_digits",
        ),
        ("dtype=self.space.precision", "dtype=torch.float32", "table_digits"),
        ("return redrawing.checked(parts)", "return parts", "table_samples"),
        ("            own.check()", "            pass", "table_samples"),
        ("seed + start, size, device", "seed, size, device", "solvers methods laws"),
        ("part, seed + start)", "part, seed)", "solvers methods laws"),
        ("slice(start, start + size)", "slice(size)", "table_samples"),
    ],
    "transports/redrawing.py": [
        ("min(TURNS, MEASURED) if _unmet_allowed else TURNS", "TURNS", "table_samples"),
        ("            tally.unmet += unmet", "            tally.unmet = unmet", "table_samples"),
        (
            "            waiting = waiting[~valid]",
            "            waiting = waiting[:0]",
            "table_samples",
        ),
        ("if self.hopeless or not len(waiting):", "if not len(waiting):", "table_samples"),
        ("return none_met and not _unmet_allowed", "return none_met", "table_samples"),
        (
            "elif self.tally.unmet and not _unmet_allowed:",
            "elif not _unmet_allowed:",
            "table_samples",
        ),
        ("            if self.hopeless:\n                self.check()\n", "", "table_samples"),
        ("    warn(f", "    str(f", "table_samples"),
        ('f"{draws.name}/again {turn}"', "draws.name", "table_samples"),
        ("None if _off else self.space.valid(x)", "self.space.valid(x)", "table_samples"),
        (
            "for place in waiting.tolist()]",
            "for place in range(len(waiting))]",
            "table_samples",
        ),
        (
            "if valid is None or valid.all():\n        return\n    count",
            "if True:\n        return\n    count",
            "table_samples",
        ),
        ("        self._joined = list(astuple(self.tally))", "        pass", "table_samples"),
    ],
}

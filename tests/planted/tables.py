"""Planted faults of `tables`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "tables/reading/string_columns.py": [
        ("mix(name, 0, values", "mix(name, 0, np.arange(len(values)) + values", "splits_of_tables"),
        ("if text in MISSING else text", "if False else text", "splits_of_tables"),
        ("key=lambda entry: entry[0])[1]", "key=lambda entry: -entry[0])[1]", "table_reading"),
        (
            '\n                "q", (line for place, line in enumerate(self.lines) if place not in '
            "others)\n            ",
            '"q", (line for place, line in enumerate(self.lines))',
            "table_reading",
        ),
        ("(?!\\d)", "", "table_kinds"),
        ("and 0 <= count <= MOST_DIGITS", "and count <= MOST_DIGITS", "table_kinds"),
        ('or "%" in _DIRECTIVE.sub("", self.pattern)', "", "table_kinds"),
        ("np.isfinite(values) & ", "", "table_kinds"),
        (
            "\n            (0.0, len(self.levels) - 1.0)\n            if self.levels\n            "
            "else _DATES\n            if self.pattern\n            else (-math.inf, math.inf)\n    "
            "    ",
            "0.0, len(self.levels) - 1.0) if self.levels else (-math.inf, math.inf",
            "table_kinds",
        ),
    ],
    "tables/reading/rows.py": [
        ('fraction.rstrip("0").ljust(least, "0")', 'fraction.rstrip("0")', "table_kinds"),
        ('"%S": 1.0', '"%S": 60.0', "table_kinds"),
        ('form["plus"] and float(text) > 0', 'form["plus"] and float(text) >= 0', "table_kinds"),
        ('if form["bare"] and not fraction', "if False and not fraction", "table_kinds"),
        (
            "np.where(short[place] == scores,",
            "np.where(short[place] == scores.astype(np.float32),",
            "table_digits",
        ),
        ("short = edges.astype(np.float32).astype(np.float64)", "short = edges", "table_digits"),
        ("np.where(short[place] == scores, numbers[place], values)", "values", "table_kinds"),
        ('column["start"] : column["stop"]', 'column["start"] + 1 : column["stop"]', "export"),
        ("indicators[:, 0] = -np.inf", "pass", "export"),
        ('if space.get("export") != EXPORT:', "if False:", "export"),
        ('space["table"]["separator"]', '","', "export"),
    ],
    "tables/columns.py": [
        ("for place in np.flatnonzero(np.isnan(values)):", "for place in ():", "table_samples"),
        ("return named[np.where(", "return values + 0 * named[np.where(", "table_samples"),
        ("if here.levels == there.levels:", "if True:", "table_values"),
        ("if lost.any():", "if False:", "table_values"),
        ("place = np.searchsorted(self.knots, values) +", "place =", "table_kinds"),
        ("away <= np.abs(values - held)", "away < np.abs(values - held)", "given_values"),
        (
            "        for atom in self.atoms:\n            away",
            "        for atom in ():\n            away",
            "given_values",
        ),
        (
            "            places = np.union1d(places, np.flatnonzero(rounded))",
            "            return field",
            "table_digits",
        ),
        ("np.repeat(self.knots, 2)", "np.repeat(self.knots, 2) + 1", "table_kinds"),
        ("np.where(counts > 1, WITHIN * share, 0.0)", "WITHIN * share", "table_digits"),
        ("WITHIN = 0.999", "WITHIN = 1.0", "table_digits"),
        (
            "half = np.array(self.spans) / 2 if",
            "half = 0 * np.array(self.spans) if",
            "table_denoiser",
        ),
        (
            "share * (edges[2 * after] - edges[2 * place + 1])",
            "share * edges[2 * after]",
            "table_kinds",
        ),
        ("0 < rank <= top", "0 < rank", "table_kinds"),
    ],
    "tables/constraints.py": [
        ("if not all(named) or all(", "if True or all(", "table_samples"),
        ("compared | missing", "compared", "table_samples"),
        ("(values[:, place] < low) | ", "", "given_values"),
        (
            "for column in numbers.values()], axis=0)",
            "for column in [*numbers.values()][:2]], axis=0)",
            "table_samples",
        ),
    ],
    "tables/reading/csv_dialect.py": [
        ("read = wanted.read(", "read = 0 * wanted.read(", "table_samples"),
        ('evidence.count("name") >= 2 and', "False and", "csv_files"),
        ('evidence.count("name") >= 2 and', "True and", "csv_files"),
        (
            "(\n            len(self.levels) != len(self.types)\n            or "
            "len(self.separator) != 1\n            or any(len(text) > LONGEST for text in texts)\n "
            "       ",
            "len(self.levels) != len(self.types) or any(len(text) > LONGEST for text in texts",
            "table_kinds",
        ),
        ("if share > most + ", "if share >= most + ", "table_reading"),
        ('line.strip().replace("\\t", " ")', "line.strip()[1:]", "table_reading"),
        ('if any("\\n" in cell', 'if not any("\\n" in cell', "table_reading"),
        ("== len(names) else numbered", "== len(names) else names", "imputation"),
    ],
    "tables/coordinates.py": [
        ("+ gumbel(noise)", "", "table_models"),
        ("(layout.gated(rows) * each)", "each", "table_models"),
        (
            "torch.where(layout.closed, log_between(low, high), densities)",
            "densities",
            "table_models",
        ),
        (
            "        densities = -(errors.square() + self.log_variance + LOG_TAU",
            "        densities = -(errors.square() + LOG_TAU",
            "table_models",
        ),
        (
            "        scores = rows[:, layout.scores] + torch.exp(self.log_variance / 2) * noise",
            "        scores = rows[:, layout.scores] + noise",
            "table_models",
        ),
        (
            "torch.where(turned, -high, low), torch.where(turned, -low, high)",
            "low, high",
            "table_models",
        ),
        ("layout.gated(rows) * scores", "scores", "table_models"),
        ("layout.chosen(noisy) + (soft - soft.detach())", "soft", "table_models"),
        ("(soft - soft.detach())", "(soft - soft).detach()", "table_models"),
        (
            "torch.where(layout.closed, codes - scores, 0.0).detach()",
            "torch.where(layout.closed, codes - scores, 0.0)",
            "table_models",
        ),
        ("torch.where(layout.closed, codes - scores, 0.0).detach()", "0.0", "table_models"),
        ("np.log(np.maximum(shares, LEAST_SHARE))", "0 * shares", "table_denoiser"),
        ("u = lower + (upper - lower)", "u = lower + 0.5 * (upper - lower)", "table_denoiser"),
        ("> 0.5, drawn, normal)", "> 0.5, drawn, scores)", "table_denoiser"),
        ("self.closed | (after.T % 2 == 1)", "self.closed", "table_denoiser"),
        (
            "np.array(scored, dtype=np.int64) + 1",
            "np.array(scored, dtype=np.int64) + 2",
            "table_denoiser",
        ),
        ("    stop - 1", "    stop - 2", "imputation"),
        (
            "-torch.log(-torch.special.log_ndtr(noise))",
            "-torch.log(-torch.special.log_ndtr(noise / 2))",
            "table_models",
        ),
        (
            "torch.ones_like(indicators[:, :1])",
            "torch.zeros_like(indicators[:, :1])",
            "table_models",
        ),
        ("[-FARTHEST, *inner, FARTHEST]", "[-1.0, *inner, FARTHEST]", "table_models"),
        ("torch.log_softmax(block, dim=2)", "torch.log_softmax(block, dim=1)", "table_models"),
        ("(0, VECTOR - logits.shape[0] % VECTOR)", "(0, 0)", "table_denoiser"),
        ("spans[-1][1:] == (first, width)", "spans[-1][1] == first", "table_denoiser"),
        (
            "index_copy(1, self.order, parts)",
            "index_copy(1, self.indicators, parts)",
            "table_models",
        ),
        ("log_softmax(blocks, dim=1)", "log_softmax(blocks, dim=0)", "table_denoiser"),
    ],
    "tables/reading/frames.py": [
        ("whole = len(present) < len(values) and", "whole = False and", "table_reading"),
        ("index=source.index, dtype=source.dtype)", "index=source.index)", "imputation"),
        ("if math.isinf(value):", "if False:", "table_reading"),
        ('name in ("Categorical", "Enum")', 'name in ("Enum",)', "polars"),
        (
            "source.clone()",
            "pl.Series(source.name, source.to_list(), dtype=source.dtype)",
            "polars",
        ),
        ("drawn.cast(source.dtype)", "drawn.cast(source.dtype, strict=False)", "polars"),
    ],
    "tables/reading/inference.py": [
        (
            "self.form.rounded(texts[places]) if self.rounds",
            "texts[places] if self.rounds",
            "table_reading",
        ),
        ("identifier = n > IDENTIFIER_ROWS and ", "identifier = ", "table_kinds"),
        ("several = different > MOST_CATEGORIES", "several = False", "table_reading"),
        (">= CODES * n", ">= n", "table_kinds"),
        (">= CODES * n", ">= 0", "table_kinds"),
        ("> MIXED * n and", "> n and", "table_reading"),
        ("key=lambda text: (float(text), text)", "key=lambda text: text", "table_samples"),
        ("and form.cell(value) == text", "", "table_kinds"),
        ("or is_code(text)", "", "table_kinds"),
        ("[1-9]\\d{{0,2}}", "\\d{{1,3}}", "table_kinds"),
        ("and not is_whole(text))", "and False)", "table_kinds"),
        ("len(fraction) - int(exponent or 0)", "len(fraction)", "table_kinds"),
        ("(steps > 0).all() or (steps < 0).all()", "(steps > 0).all()", "table_kinds"),
        ("(steps > 0).all() or (steps < 0).all()", "(steps > 0).any()", "table_kinds"),
    ],
    "tables/reading/schema.py": [
        (
            '\n        f"  {plain(name)}: {plain(value)}" for name, value in schema.items() if '
            'name != "columns"\n    ',
            'f"  {plain(name)}: {plain(value)}" for name, value in schema.items()',
            "table_reading",
        ),
        (
            'tuple(entry["names"]) if "names" in entry else ordered(texts)',
            "ordered(texts)",
            "table_reading",
        ),
        ("if odd:", "if False:", "table_reading"),
        (
            "dropped.setdefault(_reason(finding), [])",
            "dropped.setdefault(finding.name, [])",
            "table_reading",
        ),
        (
            'isinstance(content.get("target"), str | None)',
            'isinstance(content.get("target", ""), str)',
            "table_reading",
        ),
        (
            'isinstance(content.get("target"), str | None)',
            'isinstance(content.get("target") or "", str)',
            "table_reading",
        ),
        ("[:count] > 1)", "[:count] > 0)", "personal_data"),
        ("key=[seed, place]", "key=[0, place]", "personal_data"),
    ],
    "tables/baselines.py": [
        ("(joint - norm).exp()", "torch.ones_like(joint) / joint.shape[1]", "no_network"),
        ("+ mixture.weights.log()", "", "no_network"),
        ("(squares - means.square())", "squares", "no_network"),
        ("torch.special.ndtr(z[:, 0].double())", "z[:, 0].double().sigmoid()", "no_network"),
        (
            "(\n            -(mixture.means.square() * precision + math.log(2 * math.pi)) / 2\n    "
            "        - mixture.deviations.log()\n        )",
            "-(mixture.means.square() * precision + math.log(2 * math.pi)) / 2",
            "no_network",
        ),
        (
            "\n            torch.zeros(space.size, dtype=torch.int64) if whole else "
            "torch.tensor(space.owners),",
            " torch.tensor(space.owners) if whole else torch.tensor(space.owners)",
            "no_network",
        ),
        (
            "else torch.tensor(space.owners)",
            "else torch.zeros(space.size, dtype=torch.int64)",
            "no_network",
        ),
        ("torch.special.ndtr(z.double())", "torch.special.ndtr(z.double()).square()", "no_network"),
    ],
    "tables/recipes.py": [
        (
            "if name not in STUDENT_SETTINGS and value != usual[name].default",
            "if False",
            "table_students",
        ),
        ("rate=0.0, ", "", "table_denoiser"),
        ('WAVES if network in ("auto", "mlp") else 0', "WAVES", "table_denoiser"),
        ("BATCH * TOKENS // columns // 64 * 64", "BATCH", "given_values"),
        ("student.shift.copy_(teacher.shift)", "pass", "table_students"),
        (
            "STEPS if teacher_steps is None else whole(",
            "STEPS if not teacher_steps else whole(",
            "table_students",
        ),
    ],
}

"""Planted faults of `data`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "data/core/check.py": [
        ("if out is not None and Path(out).exists():", "if False:", "data"),
        ("return pairs.shape[1] - len(distinct(hashes))", "return 0", "data"),
        ("name] != file", "name] == file", "data"),
    ],
    "data/core/dataset.py": [
        (
            "labels, self.hashes[index], given, table_values)",
            "labels, None, given, table_values)",
            "held_out",
        ),
        ("kind(train.given[name], chosen=chosen)", "kind(train.given[name])", "numbers"),
        ("[column.name, list(column.levels)]", "[column.name]", "table_values"),
        ("_add(split.x, labelled, unlabelled)", "_add(split.x[:1], labelled, unlabelled)", "data"),
        ("range(0, len(array), step)", "range(0, step, step)", "packing"),
        ("    if not schema.apart:\n", "    if False:\n", "held_out"),
        ("[: len(here)] <= ATOM", "[: len(here)] > 0", "held_out"),
        (
            "            inherited.append(other.own[~among(other.own, other.shared)])\n",
            "",
            "lineage",
        ),
        ("other.own[~among(other.own, other.shared)]", "other.own", "lineage"),
        (" & ~among(held_out, self.shared)", "", "held_out"),
        ("shared = own[among(own, np.sort(data.held_out.hashes))]", "shared = own", "lineage"),
        (
            "inherited = [self.inherited, other.inherited]",
            "inherited = [self.inherited]",
            "lineage",
        ),
        ("{**self.seconds, **other.seconds}", "{**self.seconds}", "lineage"),
    ],
    "data/core/hashes.py": [
        ("mix(words ^ places)", "mix(words)", "held_out"),
        ("x = (x + np.float32(0))", "x = x", "held_out"),
        (
            "distinct < np.uint64(2**64 // SHARE)",
            "np.arange(len(distinct)) < len(distinct) / SHARE",
            "held_out",
        ),
        ("numbered_copies(hashes, ATOM)", "numbered_copies(hashes, 10**9)", "held_out"),
        ("known[order] = mix(ranked, number)", "known[order] = mix(ranked, order)", "held_out"),
        ("least = 2 if", "least = 0 if", "held_out"),
        ("REPEATING * len(hashes)", "len(hashes)", "splits_of_tables"),
        ("len(values) > most or ", "", "splits_of_tables"),
        ("2**24 / 255", "2**24 / 256", "data"),
        ("trained[highest[highest >= 0]] = True", "pass", "held_out data"),
    ],
    "data/core/examples.py": [
        ("sampler = sorted(set(source.sampler))", "pass", "words"),
        ("            return source.to_pandas()\n", "            pass\n", "words"),
    ],
    "data/core/load.py": [
        (
            "partial(kind.measure, columns=names)",
            "partial(kind.measure, columns=names[::-1])",
            "numbers",
        ),
        ("if data.table is not None and data.table.sentences:", "if False:", "csv_files"),
        (
            '    refuse_unknown(options, DataOptions, "data.load", also=["name_or_path"])\n',
            "",
            "newcomers",
        ),
    ],
    "data/core/named_set.py": [
        ("np.log(self.weights) - squares", "-squares", "toys"),
        ("axis=1) - log_norm", "axis=1)", "toys"),
        ('if place.startswith("~"):', "if False:", "hostile"),
        ("if split is not None and", "if False and", "new_file"),
    ],
    "data/core/sampler.py": [
        (
            "return torch.from_numpy(self._coming[key].result())",
            "return torch.from_numpy(next(iter(self._coming.values())).result())",
            "packing",
        ),
        (
            "positions_of(later, self.sampler.batch_size, part)",
            "positions_of(number, self.sampler.batch_size, part)",
            "packing",
        ),
        ("{name: value[index] for name, value in self.fields.items()}", "self.fields", "prepared"),
        (
            "return number * size + start, number",
            "return number * size + start + 1, number",
            "draws training splitting",
        ),
        (
            "_ORDER, self.seed, epoch)",
            'abs(hash("order")) % 9999, self.seed, epoch)',
            "state_digest",
        ),
        (
            "permutation(len(self.dataset.train), _ORDER, self.seed, epoch)",
            "np.random.permutation(len(self.dataset.train))",
            "kills",
        ),
    ],
    "data/images/image_file.py": [
        ("        or height * width * channels != size\n", "", "packing"),
        (
            "read.hash = pixel_hash(pixels",
            "read.hash = pixel_hash(_pixels(conversion.applied(Images.fromarray(pixels.squeeze()), "
            "[]))",
            "held_out",
        ),
        ("    with _PARSING:\n", "    if True:\n", "array_files"),
        ("@lru_cache(maxsize=256)", "@lru_cache(maxsize=0)", "array_files"),
        ("    if size > MAX_BYTES:\n", "    if size > 2**40:\n", "array_files"),
    ],
    "data/images/image_set.py": [
        ("self.counts += level_counts(", "self.counts = level_counts(", "packing"),
        (
            "level_counts(stacked(self.images, 4))",
            "level_counts(stacked([image[:, :, :1] for image in self.images], 4))",
            "packing",
        ),
    ],
    "data/images/image_store.py": [
        ("stamp != tuple(self._stamps[i])", "False", "packing"),
        ("[0] != content:", "[0] != 0:", "packing"),
        ("content=self.content[index])", "content=self.content)", "packing"),
        ("store.again(int(self.places[number])", "store.again(int(number)", "packing"),
        ("return counts - rest.level_counts()", "return counts", "packing"),
    ],
    "data/images/pack.py": [
        ("split.hashes[i]:016x", "i:016x", "packing"),
    ],
    "data/images/tars.py": [
        ("if file.parent != path or", "if", "packing"),
        (" or not classes.issuperset(index.labels):", ":", "packing"),
        ("if member.offset_data + member.size > end:", "if False:", "packing"),
        ("self.labels[-1] = label", "pass", "packing"),
        ("if size > MAX_MEMBER:", "if False:", "packing"),
        ("names.sort(key=int)", "names.sort(reverse=True)", "packing"),
    ],
    "data/readers/array_files.py": [
        (" or len(content) - start != math.prod(sides)", "", "image_folders"),
        ("content[:4] != bytes([0, 0, 8, dimensions]) or ", "", "data"),
        ('name = name.replace("idx3", "idx1")', "pass", "image_folders"),
    ],
    "data/readers/images.py": [
        (" == digest\n", " is not None\n", "packing"),
    ],
    "tables/reading/reader.py": [
        ('str(schema.get("target") or "")', 'str(schema.get("target", ""))', "table_reading"),
        ("if broken:", "if False:", "table_samples"),
        ("bool(np.isnan(column).any()) for column", "False for column", "table_reading"),
        ("table.header is not Fals", "Tru", "table_samples"),
        (' or kind.endswith("category:Enum")', "", "polars"),
        ("{some(table.names, 12)}", "{some(space.names, 12)}", "given_values"),
        ("range(DECIMALS + 1)", "range(DECIMALS)", "table_reading"),
    ],
    "data/sets/derived.py": [
        ("seed, part, rows)", "seed, part, 0 * rows)", "data"),
        ("np.arange(len(split))[start : start + _CHUNK]", "np.arange(len(grey))", "data"),
    ],
    "data/sets/image_sets.py": [
        ('in", "t10k")', 'in", "train")', "data"),
    ],
    "data/sets/toys.py": [
        ("cell.sum(axis=1) % 2 == 0", "cell.sum(axis=1) % 2 >= 0", "toys"),
        ("WEIGHTS / 2 / panels", "WEIGHTS / panels", "toys"),
        ("noise * scale, weights)", "noise, weights)", "toys"),
    ],
    "data/core/encoder.py": [
        (
            '"generated": self.at(split, picked),',
            '"generated": self.at(split, picked) + 1,',
            "table_distances",
        ),
    ],
    "data/spaces/space.py": [
        (", *spec.plugins(Space))", ")", "spaces"),
    ],
    "tables/space.py": [
        ("return 10  # metrics of rows take long", "return 20", "table_report"),
        ("return max(n, attack, min(training, TO_LEARN))", "return max(n, attack)", "table_report"),
        ("renumbered(self.values(x), self", "renumbered(space.values(x), self", "table_distances"),
        (
            'if self.size <= RAW_COORDINATES:\n            return "raw"',
            'if False:\n            return "raw"',
            "table_report",
        ),
        ("        if not differing:", "        if True:", "table_samples"),
        (
            "torch.from_numpy(space.encoded(values, foreign=True)), values",
            "torch.from_numpy(space.encoded(values, foreign=True)), None",
            "table_values",
        ),
        (
            '"meanflow": "tables.recipes:no_map"',
            '"meanflow": "recipes.flow_maps:meanflow"',
            "table_students",
        ),
        ("within * torch.from_numpy(", "0 * within * torch.from_numpy(", "table_digits"),
        (
            "if isinstance(kind, Known) and condition is not None",
            "if False and condition is not None",
            "table_digits",
        ),
        (
            "known = given[:, self.shape[0] :][:, self.owners] > 0.5",
            "known = given[:, self.shape[0] :][:, self.owners] > -0.5",
            "table_digits",
        ),
        ("super().to_model(x.float())", "super().to_model(x)", "table_digits"),
        ("f field.open", "f field.scores", "table_digits"),
        (
            "for field, start, _ in self.spans if field.scores",
            "for field, start, _ in self.spans if True",
            "table_models",
        ),
        ("or texts - {0, len(self.fields)}:", "or False:", "table_kinds"),
        ("out[first : first + ROWS, start:stop]", "out[:ROWS, start:stop]", "table_models"),
        ("check_constraints(self.constraints, {", "check_constraints((), {", "table_kinds"),
    ],
    "data/spaces/scaled.py": [
        (") / self._broadcast(self.std, x)", ") * self._broadcast(self.std, x)", "data spaces"),
        ("statistics(x, 1 + cls.axis)", "statistics(x, 1)", "spaces"),
        ("self.size // self.shape[self.axis]", "self.size // self.shape[0]", "spaces"),
        ("row[column] = int(row[column])", "pass", "cli"),
    ],
}

"""Planted faults of `data`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "data/ahead.py": [
        ("if self._last is None or self._last[0] != key:", "if self._last is None:", "streaming"),
        ("self._coming.pop(key, None)", "self._coming.pop(next(iter(self._coming), key), None)", "streaming"),
        ("submit(self.x.decoded, self.numbers(later, part))", "submit(self.x.decoded, self.numbers(number, part))", "streaming"),
    ],
    "data/binarised.py": [
        ("2**24 / 255", "2**24 / 256", "binarised"),
        ("np.arange(at, min(at + _CHUNK, len(split)))", "np.zeros(min(at + _CHUNK, len(split)) - at, int)", "binarised"),
    ],
    "data/building.py": [
        ("    train, removed = _without_copies(train, held_out, scaled)\n", "    removed = 0\n", "held_out"),
        ("[: len(here)] <= ATOM", "[: len(here)] > 0", "held_out"),
    ],
    "data/census.py": [
        ("self.skipped.append((self.store.title(number), ", "self.skipped.append((read.file, ", "changing_data"),
    ],
    "data/checking.py": [
        ("None if _is_part(loading) else report", "report", "data_check"),
        ("if len(group) > 1]", "if len(group) > 2]", "data_check"),
        ('.get("sha256") != digest]', '.get("sha256") is None]', "data_check"),
        ("if out is not None and Path(out).exists():", "if False:", "data_check"),
        ("max(0, len(groups) - _GROUPS)", "0", "data_check"),
        ('"both" if len(inside) > 1 else', "", "data_check"),
        ("if np.ptp(labels[group])", "", "data_check"),
        ("group[first]", "group[:0]", "data_check"),
        ("return_counts=True)[1] > 1", "return_counts=True)[1] > 9", "data_check"),
    ],
    "data/dataset.py": [
        ("labels, self.hashes[index], given, values)", "labels, None, given, values)", "held_out_images"),
    ],
    "data/example_hashes.py": [
        ("mix(words ^ places)", "mix(words)", "held_out"),
        ("x = (x + np.float32(0))", "x = x", "held_out"),
        ("gray = (", "gray = ~(", "held_out"),
        ("distinct < np.uint64(2**64 // SHARE)", "np.arange(len(distinct)) < len(distinct) / SHARE", "held_out"),
        ("if counts.max() <= ATOM:", "if True:", "held_out"),
        ("numbered[order] = mix(ranked, number)", "numbered[order] = mix(ranked, order)", "held_out"),
        ("held[free[: 2 if", "held[free[: 0 if", "held_out"),
        ("trained[_highest(ranks, labels)] = True", "pass", "held_out data"),
    ],
    "data/file_hashes.py": [
        ("for name in (known.reading | now.reading)", "for name in ()", "data_check"),
        ('{"fingerprint": [known.fingerprint, now.fingerprint]}', "{}", "data_check"),
        ("known[name] != file]", "known[name] == file]", "data_check"),
    ],
    "data/fingerprints.py": [
        ("and not coordinates:", "and False:", "table_runs"),
        ("[field.name, list(field.levels)]", "[field.name]", "table_runs"),
        ("_add(split.x, whole, unlabelled)", "_add(split.x[:1], whole, unlabelled)", "data"),
        ("range(0, len(array), step)", "range(0, step, step)", "streaming"),
    ],
    "data/given.py": [
        ("kind.measure(train.given[name], names, examples)", "kind.measure(held_out.given[name], names[::-1])", "numbers"),
        ("names, examples)", "names)", "numbers"),
    ],
    "data/header.py": [
        ('evidence.count("name") >= 2 and', "False and", "header"),
        ('evidence.count("name") >= 2 and', "True and", "header"),
    ],
    "data/array_headers.py": [
        ("    with _PARSING:\n", "    if True:\n", "array_headers"),
        ("@lru_cache(maxsize=256)", "@lru_cache(maxsize=0)", "array_headers"),
        ("    except SystemError:\n", "    except KeyError:\n", "array_headers"),
        ("    if size > MAX_BYTES:\n", "    if size > 2**40:\n", "array_headers"),
    ],
    "data/image_files.py": [
        (" or math.prod(wanted) != end - handle.tell():", ":", "packing"),
        ("read.hash = example_hashes(pixels", "read.hash = example_hashes(_pixels(fit(image, size))", "held_out_images"),
    ],
    "data/image_store.py": [
        ("if stamp != tuple(self._stamps[i]):", "if False:", "streaming packing"),
        ("[0] != content:", "[0] != 0:", "streaming packing"),
    ],
    "data/images.py": [
        ("total[3, 255] += self.counts[1].sum() + self.counts[3][0].sum()", "pass", "streaming"),
        (
            "self.counts[images.shape[1]] += level_counts(images)",
            "self.counts[images.shape[1]] = level_counts(images)",
            "streaming",
        ),
        ("if len(tally.skipped) > MAX_SKIPPED * len(store):", "if False:", "data_check"),
    ],
    "data/memory.py": [
        ('    refuse_unknown(options, ArrayOptions, "data.from_arrays")\n', "", "newcomers"),
    ],
    "data/packed.py": [
        ("if getattr(index, name) != getattr(known, name)]", "if False]", "data_check"),
        ("if stated != total else []", "if False else []", "data_check"),
        ("if count != counts[file]]", "if False]", "data_check"),
        ('content.get("fingerprint") != fingerprint:', "False:", "data_check"),
        ("if file.parent != path or", "if", "packing"),
        ("if not numbers.issuperset(index.labels):", "if False:", "packing"),
        ("if any(offset < 0 or", "if False and any(offset < 0 or", "packing"),
        ("if not file.is_file():", "if False:", "packing"),
    ],
    "data/packing.py": [
        ("archive.offset + _HEADER", "archive.offset", "packing"),
        ("split.hashes[i]:016x", "i:016x", "packing"),
        ("if not named and", "if False and", "packing"),
        ("self._written[first] += 1", "pass", "changing_data"),
    ],
    "data/png_chunks.py": [
        ("if texts > MAX_TEXTS:", "if False:", "hostile_images"),
        ("if beside > MAX_BESIDE:", "if False:", "hostile_images"),
        ("if chunks > MAX_CHUNKS:", "if False:", "hostile_images"),
    ],
    "data/sampler.py": [
        ("{name: value[index] for name, value in self.fields.items()}", "self.fields", "prepared"),
        ("return number * size + start, number", "return number * size + start + 1, number", "batches training splitting"),
        (
            "permutation(self.examples_per_epoch, _ORDER, self.seed, epoch)",
            "np.random.permutation(len(self.dataset.train))",
            "kills",
        ),
        ("_ORDER, self.seed, epoch)", 'abs(hash("order")) % 9999, self.seed, epoch)', "state_digest"),
    ],
    "data/seen.py": [
        ("+ ([] if other.own is None else [other.own[~among(other.own, other.shared)]])", "", "lineage"),
        ("other.own[~among(other.own, other.shared)]", "other.own", "held_out"),
        (" & ~among(held_out, self.shared)", "", "held_out"),
        ("shared=own[among(own, np.sort(data.held_out.hashes))]", "shared=own", "lineage"),
        ("hashes = [self.inherited, other.inherited]", "hashes = [self.inherited]", "lineage"),
    ],
    "data/source.py": [
        ("if split is not None and", "if False and", "new_file"),
        ("(None, 0) if self.whole", "(reading.limit, 0) if self.whole", "stacked"),
    ],
    "data/sources.py": [
        ("if data.table is not None and data.table.sentences:", "if False:", "left_out"),
        ('    refuse_unknown(options, LoadOptions, "data.load", also=["name_or_path"])\n', "", "newcomers"),
    ],
    "data/streamed.py": [
        ("content=self.content[index])", "content=self.content)", "streaming"),
        ("store.again(int(self.places[number])", "store.again(int(number)", "streaming packing"),
        ("return counts - rest.level_counts()", "return counts", "streaming"),
    ],
    "data/tabular.py": [
        ('str(schema.get("target") or "")', 'str(schema.get("target", ""))', "table_schema"),
        (
            "    if not faults.sentences:\n        refuse_constraints(",
            "    if True:\n        refuse_constraints(",
            "table_schema",
        ),
        ("wrong = list(wanted.refused)", "wrong = []", "table_constraints"),
        ("if not unread & set(each.names)", "if True", "table_schema"),
        ("unread | wanted.unusable", "unread", "table_schema"),
        ('all(option != "schema" for _, option in unknown)', "True", "table_schema"),
        ("if words and not faults.sentences and", "if words and", "table_schema"),
        ("is_ordered(kind) and entry is None", "False", "given_values"),
        ("is_ordered(kind) and entry is None", "is_ordered(kind)", "given_values"),
        ("if broken:", "if False:", "table_samples"),
        ("bool(np.isnan(column).any()) for column", "False for column", "table_reading"),
        ("texts[places] = field.read(", "texts[places] = 0 * field.read(", "table_samples"),
        ("table.header is not False", "True", "table_samples"),
        ('("", *missing)', "missing", "table_reading"),
    ],
    "data/tar_index.py": [
        ("if not 0 <= size <= MAX_HEADER:", "if False:", "packing"),
        ("if member.offset_data + member.size > end:", "if False:", "packing"),
        ("index.labels[-1] = label", "pass", "packing"),
    ],
    "data/vectors.py": [
        ("or _has_atom(values, codes) or", "or", "table_reading"),
        ("(target is None and _fixed(texts))", "False", "table_reading"),
        ("(target is None and _fixed(texts))", "_fixed(texts)", "csv_files"),
        ("range(DECIMALS + 1)", "range(DECIMALS)", "table_reading"),
    ],
}

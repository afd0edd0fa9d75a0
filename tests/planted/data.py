"""Planted faults of `data`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "data/core/array_headers.py": [
        ("    with _PARSING:\n", "    if True:\n", "a r y _ h e d s"),
        ("@lru_cache(maxsize=256)", "@lru_cache(maxsize=0)", "a r y _ h e d s"),
        ("    except SystemError:\n", "    except KeyError:\n", "a r y _ h e d s"),
        ("    if size > MAX_BYTES:\n", "    if size > 2**40:\n", "a r y _ h e d s"),
    ],
    "data/core/arrays.py": [
        ('    refuse_unknown(options, ArrayOptions, "data.from_arrays")\n', "", "n e w c o m r s"),
    ],
    "data/core/check.py": [
        ('.get("sha256") != digest]', '.get("sha256") is None]', "d a t _ c h e k"),
        ("if out is not None and Path(out).exists():", "if False:", "d a t _ c h e k"),
        ("return_counts=True)[1] > 1", "return_counts=True)[1] > 9", "d a t _ c h e k"),
        ("known[name] != file]", "known[name] == file]", "d a t _ c h e k"),
    ],
    "data/core/dataset.py": [
        ("labels, self.hashes[index], given, values)", "labels, None, given, values)", "h e l d _ o u t i m a g s"),
        ("and not coordinates:", "and False:", "t a b l e _ v u s"),
        ("[field.name, list(field.levels)]", "[field.name]", "t a b l e _ v u s"),
        ("_add(split.x, whole, unlabelled)", "_add(split.x[:1], whole, unlabelled)", "d a t"),
        ("range(0, len(array), step)", "range(0, step, step)", "p a c k i n g"),
    ],
    "data/core/example_hashes.py": [
        ("mix(words ^ places)", "mix(words)", "h e l d _ o u t"),
        ("x = (x + np.float32(0))", "x = x", "h e l d _ o u t"),
        ("distinct < np.uint64(2**64 // SHARE)", "np.arange(len(distinct)) < len(distinct) / SHARE", "h e l d _ o u t"),
        ("numbered_copies(hashes, ATOM)", "numbered_copies(hashes, 10**9)", "h e l d _ o u t"),
        ("known[order] = mix(ranked, number)", "known[order] = mix(ranked, order)", "h e l d _ o u t"),
        ("held[free[: 2 if", "held[free[: 0 if", "h e l d _ o u t"),
        ("REPEATING * len(hashes)", "len(hashes)", "s p l i t _ o f a b e"),
        ("len(values) <= min(CLOSED, len(first) / OCCURS) and", "", "s p l i t _ o f a b e"),
        ("trained[_highest(ranks, labels)] = True", "pass", "h e l d _ o u t a"),
    ],
    "data/core/keys.py": [
        ("2**24 / 255", "2**24 / 256", "b i n a r s e d"),
    ],
    "data/core/load.py": [
        ("if data.table is not None and data.table.sentences:", "if False:", "l e f t _ o u"),
        ('    refuse_unknown(options, LoadOptions, "data.load", also=["name_or_path"])\n', "", "n e w c o m r s"),
    ],
    "data/core/make_dataset.py": [
        ("else _without_copies(train, held_out, scaled)", "else (train, 0)", "h e l d _ o u t"),
        ("[: len(here)] <= ATOM", "[: len(here)] > 0", "h e l d _ o u t"),
        ("kind.measure(train.given[name], names, examples)", "kind.measure(held_out.given[name], names[::-1])", "n u m b e r s"),
        ("names, examples)", "names)", "n u m b e r s"),
    ],
    "data/core/named_set.py": [
        ('if place.startswith("~"):', "if False:", "f i l e _ d o r s"),
    ],
    "data/core/sampler.py": [
        ("if self._last is None or self._last[0] != key:", "if self._last is None:", "p a c k i n g"),
        ("self._coming.pop(key, None)", "self._coming.pop(next(iter(self._coming), key), None)", "p a c k i n g"),
        (
            "submit(self.x.decoded, self.numbers(later, part))",
            "submit(self.x.decoded, self.numbers(number, part))",
            "p a c k i n g",
        ),
        ("{name: value[index] for name, value in self.fields.items()}", "self.fields", "p r e a d"),
        ("return number * size + start, number", "return number * size + start + 1, number", "b a t c h e s r i n g p l"),
        (
            "permutation(self.examples_per_epoch, _ORDER, self.seed, epoch)",
            "np.random.permutation(len(self.dataset.train))",
            "k i l s",
        ),
        ("_ORDER, self.seed, epoch)", 'abs(hash("order")) % 9999, self.seed, epoch)', "s t a e _ d i g"),
    ],
    "data/core/train_hashes.py": [
        ("+ ([] if other.own is None else [other.own[~among(other.own, other.shared)]])", "", "l i n e a g"),
        ("other.own[~among(other.own, other.shared)]", "other.own", "h e l d _ o u t"),
        (" & ~among(held_out, self.shared)", "", "h e l d _ o u t"),
        ("shared=own[among(own, np.sort(data.held_out.hashes))]", "shared=own", "l i n e a g"),
        ("hashes = [self.inherited, other.inherited]", "hashes = [self.inherited]", "l i n e a g"),
        ("**other.seconds, ", "", "l i n e a g"),
    ],
    "data/images/image_file.py": [
        (" or math.prod(wanted) != end - handle.tell():", ":", "p a c k i n g"),
        (
            "read.hash = example_hashes(pixels",
            "read.hash = example_hashes(_pixels(fit(image, size))",
            "h e l d _ o u t i m a g s",
        ),
    ],
    "data/images/image_set.py": [
        ("total[3, 255] += self.counts[1].sum() + self.counts[3][0].sum()", "pass", "p a c k i n g"),
        (
            "self.counts[images.shape[1]] += level_counts(images)",
            "self.counts[images.shape[1]] = level_counts(images)",
            "p a c k i n g",
        ),
    ],
    "data/images/image_store.py": [
        ("if stamp != tuple(self._stamps[i]):", "if False:", "p a c k i n g"),
        ("[0] != content:", "[0] != 0:", "p a c k i n g"),
    ],
    "data/images/pack.py": [
        ("archive.offset + _HEADER", "archive.offset", "p a c k i n g"),
        ("split.hashes[i]:016x", "i:016x", "p a c k i n g"),
    ],
    "data/images/packed.py": [
        ("if file.parent != path or", "if", "p a c k i n g"),
        ("if not numbers.issuperset(index.labels):", "if False:", "p a c k i n g"),
        ("if any(offset < 0 or", "if False and any(offset < 0 or", "p a c k i n g"),
        ("if not 0 <= size <= MAX_HEADER:", "if False:", "p a c k i n g"),
        ("if member.offset_data + member.size > end:", "if False:", "p a c k i n g"),
        ("index.labels[-1] = label", "pass", "p a c k i n g"),
    ],
    "data/images/streamed.py": [
        ("content=self.content[index])", "content=self.content)", "p a c k i n g"),
        ("store.again(int(self.places[number])", "store.again(int(number)", "p a c k i n g"),
        ("return counts - rest.level_counts()", "return counts", "p a c k i n g"),
    ],
    "data/readers/shards.py": [
        ('content_digest(content_hashes(content.x)) != packed.manifest.get("content")', "False", "p a c k i n g"),
        ("if size > MAX_MEMBER:", "if False:", "p a c k i n g"),
        ("key=lambda label: (int(label) if numbers else 0, label)", "reverse=True", "p a c k i n g"),
    ],
    "data/readers/tables.py": [
        ("it has {some(table.names, 12)}", "it has {some(space.names, 12)}", "g i v e n _ a l u s"),
    ],
    "data/sets/binary.py": [
        ("np.arange(at, min(at + _CHUNK, len(split)))", "np.zeros(min(at + _CHUNK, len(split)) - at, int)", "b i n a r s e d"),
    ],
    "data/sets/torchvision.py": [
        ("or len(content) - start != math.prod(sides)", "", "d a t _ s e"),
        ("content[:4] != bytes([0, 0, 8, dimensions]) or ", "", "d a t _ s e"),
        ('for split in ("train", "t10k")[:: 1 if train else -1]', 'for split in ("train", "t10k")', "d a t _ s e"),
    ],
    "data/spaces/registry.py": [
        (", *spec.plugins(Space))", ")", "s p a c e"),
    ],
    "data/spaces/scaled.py": [
        ("return (x - mean) / std", "return (x - mean) * std", "d a t s p c e"),
        ("statistics(x, 1 + cls.axis)", "statistics(x, 1)", "s p a c e"),
        ("self.size // self.shape[self.axis]", "self.size // self.shape[0]", "s p a c e"),
    ],
    "data/spaces/table.py": [
        ("within * torch.from_numpy(", "0 * within * torch.from_numpy(", "t a b l e _ d i g s"),
        ("if isinstance(kind, Known) and condition is not None", "if False and condition is not None", "t a b l e _ d i g s"),
        (
            "known = given[:, self.shape[0] :][:, self.owners] > 0.5",
            "known = given[:, self.shape[0] :][:, self.owners] > -0.5",
            "t a b l e _ d i g s",
        ),
        ("super().to_model(x.float())", "super().to_model(x)", "t a b l e _ d i g s"),
        ("if field.open)", "if field.scores)", "t a b l e _ d i g s"),
        ("strict=False) if field.scores)", "strict=False))", "t a b l e _ m o d s"),
        ("not in (0, len(self.fields))", "not in range(99)", "t a b l e _ k i n d s"),
        ("check_constraints(self.constraints, {", "check_constraints((), {", "t a b l e _ k i n d s"),
    ],
    "data/spaces/vector.py": [
        ("int(v) if flag else float(v)", "float(v)", "c l i _ s a m p e"),
    ],
}

"""Planted faults of `transports`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "transports/flow.py": [
        ("self.source.starts(draws)", "self.source(draws)", "f l o w _ s u r c e"),
        ("z * self._width_at_start", "z", "s o l v e r c i p"),
        ("return state / self._width_at_start", "return state", "s o l v e r c i p m t h d"),
        ("times[::-1]", "times", "s o l v e r m t h d"),
    ],
    "transports/latent.py": [
        (
            "self.autoencoder.drawn(self.decode(self.inner(z, condition, draws), condition), draws)",
            "self.decode(self.inner(z, condition, draws), condition)",
            "t a b l e _ m o d s",
        ),
        ("return self.inner.calls + 1", "return self.inner.calls", "s o l v e r m t h d"),
        ("self.inner.space.to_data(codes)", "codes", "m e t h o d s l a n _ c"),
        (
            "        x = call(self.network, z, None, condition)\n        if self.likelihood is None or draws is None:\n            return x",  # noqa: E501
            "        x = call(self.network, z, None, condition)\n        if True:\n            return x",
            "d e c o r _ n i s",
        ),
    ],
    "transports/rejection.py": [
        ("return min(TURNS, MEASURED) if measured else TURNS", "return TURNS", "t a b l e _ c o n s r i"),
        ("            tally.unmet += unmet", "            tally.unmet = 0", "t a b l e _ c o n s r i"),
        ("        part.waiting = waiting[~valid]", "        part.waiting = waiting[:0]", "t a b l e _ s m p"),
        ("                if self.hopeless:\n                    break\n", "", "t a b l e _ s m p"),
        ("self.lost >= HOPELESS and not _unmet_allowed", "self.lost >= HOPELESS", "t a b l e _ s m p"),
        (
            "self.lost >= HOPELESS and not _unmet_allowed",
            "HOPELESS <= self.tally.drawn == self.tally.refused",
            "t a b l e _ s m p",
        ),
        ("turn * self.n + seed - self.seed < HOPELESS", "True", "t a b l e _ s m p"),
        ("if self.unmet and not _unmet_allowed:", "if not _unmet_allowed:", "t a b l e _ s m p"),
        ("        self.unmet += unmet", "        self.unmet = unmet", "t a b l e _ s m p"),
        ("            if self.hopeless:\n                self.check()\n", "", "t a b l e _ s m p"),
        ("return 0 < self.tally.refused == self.tally.drawn and", "return False and", "t a b l e _ s m p"),
        ("if not np.all(replace(space, constraints=(each,)).valid(x))", "", "t a b l e _ s m p"),
        ("            self._refused = x[waiting]\n", "            pass\n", "t a b l e _ s m p"),
        ("        warn(f", "        str(f", "t a b l e _ s m p"),
        ('f"{draws.name}/again {turn}"', "draws.name", "t a b l e _ s m p"),
        ("None if _off else self.space.valid(x)", "self.space.valid(x)", "t a b l e _ s m p"),
        (
            "seeds = [draws.seeds[place] for place in waiting.tolist()]\n        cond",
            "seeds = list(draws.seeds)[: len(waiting)]\n        cond",
            "t a b l e _ s m p",
        ),
    ],
    "transports/shared_sampling.py": [
        ("own is not None and source == rank", "False", "l a u n c h e d"),
        ("return not (_active and _active[-1]) or torch.distributed.get_rank() == 0", "return True", "l a u n c h e d"),
    ],
    "transports/transport.py": [
        ("all(isinstance(value, Tensor) for value in condition.values()):", "True:", "s o l v e r"),
        (
            "        return self.space.finished(x,",
            "        return x.double() if True else self.space.finished(x,",
            "t a b l e _ d i g s",
        ),
        ("dtype=self.space.precision", "dtype=torch.float32", "t a b l e _ d i g s"),
        ("return redrawing.checked(self._parts(", "return (self._parts(", "t a b l e _ s m p"),
        ("            own.check()", "            pass", "t a b l e _ s m p"),
        ("seed + start, size, device", "seed, size, device", "s o l v e r m t h d a w"),
        ("part, seed + start)", "part, seed)", "s o l v e r m t h d a w"),
        ("value[start : start + size]", "value[:size]", "s o l v e r m t h d a w"),
    ],
}

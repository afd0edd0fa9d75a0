"""Planted faults of `serving`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "serving/admission.py": [
        ("flow.grid, flow.learned))", "flow.grid))", "serving"),
        ("if not 1 <= n <= self.most:", "if not 1 <= n:", "serving"),
        ("not 1 <= steps <= self.steps:", "not 1 <= steps:", "serving"),
        ("            if name not in known:", "            if False:", "serving"),
    ],
    "serving/engine.py": [
        ("                row.done, self.made = True, self.made + 1\n", "                self.made += 1\n", "serving"),
        ("                    self._release(row)\n", "                    pass\n", "serving"),
        ("if row.done or row.request.gone:", "if row.done:", "serving"),
        ('return f"sample/again {self.turn}" if self.turn else "sample"', 'return "sample"', "serving"),
        ("noise[number] = row.draws.normal(self._slots.shape[2:])[0]", "noise[number].normal_()", "serving"),
        ("schedule.noises[row.at + 1]", "schedule.noises[row.at]", "serving"),
        ("            values[row.place] = request.condition[name][row.number]\n", "            pass\n", "serving"),
        ("self._scales[row.place] = request.scale", "self._scales[row.place] = 1.0", "serving"),
        ("self.calls / AGEING", "0.0", "serving"),
        ('sorted(alive, key=attrgetter("rank"))', "alive", "serving"),
        ("row.rank + len(row.kinds) + 1", "row.rank + len(row.kinds)", "serving"),
        ("(not chosen or", "(True or", "serving"),
        ("            if len(self._rows) + len(request.rows) > self.queue:", "            if False:", "serving"),
        ("            for row in rows:\n                row.request.end(error)", "            raise", "serving"),
        ("            elif row.request.refused(row.number, row.turn):", "            elif False:", "serving"),
    ],
    "serving/http.py": [
        ("known or path == HEALTH", "known or path != HEALTH", "serving"),
        ("            if taken > self.most:", "            if False:", "serving"),
        ('{"Retry-After": "1"}', "{}", "serving"),
        ("            if not answer.done():", "            if not await asyncio.sleep(9, answer.done()):", "serving"),
        ("            request.cancel()\n", "", "serving"),
        ('extra="forbid", strict=True', 'extra="ignore", strict=True', "serving"),
        ("body.size not in (None,", "body.size in (", "serving"),
        ("openapi_url=None, docs_url=None, redoc_url=None", "redoc_url=None", "serving"),
        ("return None if missing else cell", "return cell", "serving"),
    ],
    "serving/schedule.py": [
        ('kind if apart or kind == "jump" else "data"', '"data"', "serving"),
        ("or self._packed[kind][0] is not layout", "", "serving"),
    ],
    "serving/server.py": [
        ("    check_installed()\n    import", "    import", "serving"),
    ],
}

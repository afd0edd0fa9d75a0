"""Planted faults of `export/page.py` and of the page's own files."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "export/page.py": [
        ("default-src 'none'", "default-src *", "page"),
        ('.replace("<", "\\\\u003c")', "", "page"),
        ("autoescape=True", "autoescape=False", "page"),
        ("report=report", "report=None", "page"),
        ('                kind["control"] = first["control"]\n', "", "page"),
    ],
    "export/templates/worker.js": [
        ("drawnAt(about.stream, 1 + i, shape)", "drawnAt(about.stream, i, shape)", "page"),
        ("drawnAt(about.decoder_stream, 0", "drawnAt(about.stream, 0", "page"),
        ("BigInt.asUintN(64, BigInt(seed))", "BigInt(Math.abs(seed))", "page"),
        ("if (rest < inside[strip]) return x;", "return x;", "page"),
        (
            "if (strip === 0) return tail(bits, (rest >>> 8) & 1);",
            "if (strip === 0) return x;",
            "page",
        ),
        ("float(end) <= place", "float(end) <= 1 - place", "page"),
        ("(1 - share) * norm(from) + share * norm(to)", "norm(from)", "page"),
        ("(_, i) => drawnAt(about.stream", "(_, i) => noise(seeds, about.stream", "page"),
        ("Object.keys(about.draws).indexOf(solver)", "0", "page"),
        ('give("scale", several(scale), [n])', 'give("scale", several(1), [n])', "page"),
    ],
    "export/templates/cells.js": [
        ("return column.texts[chosen - 1]", "return column.texts[chosen]", "page"),
        ("slope * (score - edges[left])", "0 * slope", "page"),
        ("if (Math.fround(edges[short]) === score) return numbers[short];", "", "page"),
        ("Math.abs(value % 1) === 0.5 && upper % 2", "false", "page"),
        ("form.plus && Number(text) > 0", "false", "page"),
    ],
    "export/templates/page.js": [
        ("at = (k) => (k * n + i) * numbers", "at = (k) => (i * frames + k) * numbers", "page"),
        ("panel.key === key ||", "panel.key ||", "page"),
        (".catch(failed(panel))", "", "page"),
        ("const part = seeds.slice(at, at + size)", "const part = seeds.slice(0, size)", "page"),
    ],
    "export/templates/page.html": [
        ("{{ kind.usual[loop.index0] }}", '{{ "%.4g" | format(kind.usual[loop.index0]) }}', "page"),
    ],
}

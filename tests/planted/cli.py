"""Planted faults of `cli`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "cli/comparison.py": [
        ("data_of(informed(dict(runs)))", "data_of(runs[0][1])", "c l i _ o m p a r e"),
    ],
    "cli/demo.py": [
        ("        refuse_links(unfinished[0], ())\n", "", "c l a i m e d _ f o r s"),
    ],
    "cli/entry.py": [
        (
            "Lasting(sys.stderr or io.StringIO(), OSError)",
            "Lasting(sys.stderr or io.StringIO(), KeyError)",
            "c l o s e d _ t r a m",
        ),
        ("Lasting(sys.stdout or io.StringIO(), BrokenPipeError)", "Lasting(sys.stdout, KeyError)", "c l o s e d _ t r a m"),
        ("os.O_RDWR)) < 3:", "os.O_RDWR)) < 0:", "c l o s e d _ t r a m"),
        ("        out.ends = OSError  # the error was said; what is left goes nowhere\n", "", "c l i"),
        ("words[0] not in app and words[0] in RECIPES", "False", "c l i"),
    ],
    "cli/evaluation.py": [
        ("if runs_inside(Path(path)) or", "if", "n a m e d _ r u s"),
        (' or (data is None and (Path(path) / "report.html").is_file())', "", "n a m e d _ r u s"),
    ],
    "cli/inputs.py": [
        ("if key not in known:", "if False:", "c l i"),
        ("lexer.quotes, lexer", "lexer.wordchars, lexer", "g i v e n _ a l u s"),
        ('and value not in getattr(fields[name], "names", ())', "", "g i v e n _ a l u s"),
    ],
    "cli/inventory.py": [
        ("if name.lower() not in installed)", "if False)", "c l i"),
    ],
    "cli/options.py": [
        ("allow_leading_hyphen=True", "allow_leading_hyphen=False", "g i v e n _ a l u s"),
    ],
    "cli/processes.py": [
        ("if sharing.shard and sharing.devices in (None, 1)", "if sharing.shard and False", "p l a n i g"),
        ("(HashStore(), ", '(__import__("torch").distributed.TCPStore("localhost", 0, 1, True), ', "l a u n c h e d"),
    ],
    "cli/sampling.py": [
        ('None if only is None else column_names(only, "--only")', "None", "i m p u t a o n"),
        ('column_names(only, "--only")', "column_names(only)", "i m p u t a o n"),
        ("isinstance(imputed.source, GappyFile)", "hasattr(imputed.source, 'numbers')", "i m p u t a o n"),
        ("for sentence in unfinished_warnings(loaded):", "for sentence in ():", "n a m e d _ r u s"),
    ],
    "cli/summary.py": [
        ('if step is None or row["step"] == step]', "]", "f i r s t _ u n"),
        ("name: round(ratio, 2) for", "name: ratio for", "f i r s t _ u n"),
        ("and max(ratios.values()) <= 1", "", "f i r s t _ u n"),
        ('if _start(run) and run.state.get("weights_step") == 0 else folder', "if False else folder", "f i r s t _ u n g a d"),
        ("checks[-1].get(", "checks[0].get(", "f i r s t _ u n"),
        ("if size < 2**20", "if False", "p l a n i g"),
    ],
    "cli/terminal.py": [
        ("7 a missing extra, ", "", "h e l p"),
    ],
    "cli/training.py": [
        ("if overwrite or dry_run or launched", "if overwrite or launched", "p l a n i g"),
        ("130 if number ==", "75 if number ==", "c l i _ r u n s"),
        ("            if trainer.done:", "            if False:", "n a m e d _ r u s"),
        ("show_default=default is not None", "show_default=True", "h e l p"),
        ("sort_key=11 + place", "sort_key=11", "h e l p"),
    ],
    "cli/tuning.py": [
        ("if solver is None and flow.solver.stochastic:", "if False:", "g r i d _ l e a n"),
    ],
}

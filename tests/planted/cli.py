"""Planted faults of `cli`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "cli/comparison.py": [
        ('about["number"] = known[about["name"]]', "pass", "cli"),
        ("data_of(informed(dict(runs)))", "data_of(runs[0][1])", "cli"),
        ("report.opening, LIVE)", "report.opening)", "cli"),
        ("(model.trainings or (model,))[0].name", "model.name", "cli"),
        (
            "except (KeyboardInterrupt, SystemExit) as stop:",
            "except ZeroDivisionError as stop:",
            "named_runs",
        ),
    ],
    "cli/demo.py": [
        ("        refuse_links(unfinished[0], ())\n", "", "damaged_runs"),
    ],
    "cli/editing.py": [
        ("words = [named[side] for side in _SIDES]", "words = list(named.values())", "words"),
    ],
    "cli/entry.py": [
        (
            "Lasting(sys.stderr or io.StringIO(), OSError)",
            "Lasting(sys.stderr or io.StringIO(), KeyError)",
            "help",
        ),
        (" or io.StringIO(), BrokenPipe", ", Key", "help"),
        ("while number < 3:", "while number < 0:", "help"),
        ("        out.ends = OSError  # the error has been printed; discard the rest\n", "", "cli"),
        (
            "(HashStore(), ",
            '(__import__("torch").distributed.TCPStore("localhost", 0, 1, True), ',
            "launched",
        ),
    ],
    "cli/evaluation.py": [
        ("if runs_inside(Path(path)):", "if False:", "named_runs"),
    ],
    "cli/inputs.py": [
        ("if key not in known:", "if False:", "cli"),
        ("xer.quotes = ", "xer.wordchars = ", "given_values"),
        ("            if value not in texts:", "            if True:", "given_values"),
        (
            "if sharing.shard and sharing.devices in (None, 1)",
            "if sharing.shard and False",
            "planning",
        ),
    ],
    "cli/inventory.py": [
        (
            "if _canonical(name) not in installed)",
            "if False)",
            "cli",
        ),
    ],
    "cli/options.py": [
        ("if recipes and", "if False and", "cli"),
        ('if error.argument.name == "--[KEYWORD]":', "if False:", "cli"),
        ("allow_leading_hyphen=True", "allow_leading_hyphen=False", "given_values"),
        ("7 missing extra, ", "", "help"),
    ],
    "cli/sampling.py": [
        ('None if only is None else column_names(only, "--only")', "None", "imputation"),
        ('column_names(only, "--only")', "column_names(only)", "imputation"),
        (
            "isinstance(imputed.source, RawTable)",
            "hasattr(imputed.source, 'numbers')",
            "imputation",
        ),
        ("for sentence in loaded.unfinished:", "for sentence in ():", "named_runs"),
    ],
    "cli/training.py": [
        ("130 if number ==", "75 if number ==", "cli"),
        ("            if trainer.done:", "            if False:", "named_runs"),
        ("show_default=default is not None", "show_default=True", "help"),
        ("sort_key=11 + place", "sort_key=11", "help"),
        ("better = _start(run) or str(run.folder)", "better = str(run.folder)", "best_checkpoint"),
        ("if size < 2**20", "if False", "planning"),
        ("(overwrite or dry_run or launched", "(overwrite or launched", "planning"),
    ],
    "cli/tuning.py": [
        ("if solver is None and flow.solver.stochastic:", "if False:", "grid_learning"),
    ],
}

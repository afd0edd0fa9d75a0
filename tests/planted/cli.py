"""Planted faults of `cli`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "cli/comparison.py": [
        ('about["number"] = known[about["name"]]', "pass", "cli"),
        ("data_of(informed(dict(runs)))", "data_of(runs[0][1])", "cli"),
        ("report.opening, LIVE)", "report.opening)", "cli"),
        ("(model.trainings or (model,))[0].name", "model.name", "cli"),
        (
            "except (KeyboardInterrupt, SystemExit):",
            "except ZeroDivisionError:",
            "named_runs",
        ),
    ],
    "cli/demo.py": [
        ('            refuse_links(place.rglob("*"))\n', "", "damaged_runs"),
        ("== options:", "!= {}:", "best_checkpoint"),
    ],
    "cli/editing.py": [
        ("x, holes, solver=solver, rounds=rounds", "x, holes, solver=solver", "cli_editing"),
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
    ],
    "cli/inventory.py": [
        ("{what: len(names) for what", "{what: 0 for what", "data"),
    ],
    "cli/options.py": [
        ("if recipes and", "if False and", "cli"),
        ("        if unnamed:  # the verb", "        if False:  # the verb", "cli"),
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
        ("STOPWATCH.lap() - sum(spent.values())", "STOPWATCH.lap()", "cli"),
        ("        spent[what] -= seconds", "        pass", "cli"),
        ("(overwrite or dry_run or launched", "(overwrite or launched", "planning"),
    ],
    "cli/distillation.py": [
        ("if solver is None and flow.solver.stochastic:", "if False:", "grid_learning"),
    ],
}

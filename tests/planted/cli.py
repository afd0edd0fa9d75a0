"""Planted faults of `cli`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "cli/comparison.py": [
        ("data_of(informed(dict(runs)))", "data_of(runs[0][1])", "cli_compare"),
    ],
    "cli/demo.py": [
        ("        refuse_links(unfinished[0], ())\n", "", "claimed_folders"),
    ],
    "cli/entry.py": [
        ("Lasting(sys.stderr or io.StringIO(), OSError)", "Lasting(sys.stderr or io.StringIO(), KeyError)", "closed_streams"),
        ("Lasting(sys.stdout or io.StringIO(), BrokenPipeError)", "Lasting(sys.stdout, KeyError)", "closed_streams"),
        ("os.O_RDWR)) < 3:", "os.O_RDWR)) < 0:", "closed_streams"),
        ("        out.ends = OSError  # the error was said; what is left goes nowhere\n", "", "cli"),
        ("words[0] not in app and words[0] in RECIPES", "False", "cli"),
    ],
    "cli/evaluation.py": [
        ("if runs_inside(Path(path)) or", "if", "named_runs"),
        (' or (data is None and (Path(path) / "report.html").is_file())', "", "named_runs"),
    ],
    "cli/inputs.py": [
        ("if key not in known:", "if False:", "cli"),
        ("lexer.quotes, lexer", "lexer.wordchars, lexer", "given_values"),
        ('and value not in getattr(fields[name], "names", ())', "", "given_values"),
    ],
    "cli/inventory.py": [
        ("if name.lower() not in installed)", "if False)", "cli"),
    ],
    "cli/options.py": [
        ("allow_leading_hyphen=True", "allow_leading_hyphen=False", "given_values"),
    ],
    "cli/processes.py": [
        ("if sharing.shard and sharing.devices in (None, 1)", "if sharing.shard and False", "planning"),
        ("(HashStore(), ", '(__import__("torch").distributed.TCPStore("localhost", 0, 1, True), ', "launched"),
    ],
    "cli/sampling.py": [
        ('None if only is None else column_names(only, "--only")', "None", "imputation"),
        ('column_names(only, "--only")', "column_names(only)", "imputation"),
        ("isinstance(imputed.source, GappyFile)", "hasattr(imputed.source, 'numbers')", "imputation"),
        ("for sentence in unfinished_warnings(loaded):", "for sentence in ():", "named_runs"),
    ],
    "cli/summary.py": [
        ('if step is None or row["step"] == step]', "]", "first_run"),
        ("name: round(ratio, 2) for", "name: ratio for", "first_run"),
        ("and max(ratios.values()) <= 1", "", "first_run"),
        ('if _start(run) and run.state.get("weights_step") == 0 else folder', "if False else folder", "first_run guard"),
        ("checks[-1].get(", "checks[0].get(", "first_run"),
    ],
    "cli/terminal.py": [
        ("7 a missing extra, ", "", "help"),
    ],
    "cli/training.py": [
        ("130 if number ==", "75 if number ==", "cli_runs"),
        ("            if trainer.done:", "            if False:", "named_runs"),
        ("show_default=default is not None", "show_default=True", "help"),
        ("sort_key=11 + place", "sort_key=11", "help"),
    ],
    "cli/tuning.py": [
        ("if solver is None and flow.solver.stochastic:", "if False:", "grid_learning"),
    ],
}

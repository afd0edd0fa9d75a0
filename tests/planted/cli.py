"""Planted faults of `cli`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "cli/__init__.py": [
        ("Lasting(sys.stderr or io.StringIO(), OSError)", "Lasting(sys.stderr or io.StringIO(), KeyError)", "closed_streams"),
        ("Lasting(sys.stdout or io.StringIO(), BrokenPipeError)", "Lasting(sys.stdout, KeyError)", "closed_streams"),
        ("os.O_RDWR)) < 3:", "os.O_RDWR)) < 0:", "closed_streams"),
        ("        out.ends = OSError  # the error was said; what is left goes nowhere\n", "", "cli"),
        ("short = category is UserWarning", "short = False", "table_messages"),
        ("words[0] not in app and words[0] in RECIPES", "False", "cli"),
    ],
    "cli/announcing.py": [
        ('critic = f"; critic: {name}" if name else ""', 'critic = ""', "guard"),
        ('part = part.get("network")', "part = None", "gan_recipe"),
    ],
    "cli/checking.py": [
        ("if write_schema is not None and not", "if False and not", "table_reading"),
        ('"note": report.get("read_as") and as_options(report["read_as"])', '"note": report.get("read_as")', "plain_numbers"),
    ],
    "cli/closing.py": [
        ('if step is None or row["step"] == step]', "]", "first_run"),
        ("    if _lower(ratios):\n        weights +=", "    if False:\n        weights +=", "first_run"),
        ("STRONGER * anchor", "anchor", "guard"),
        ('f"{how}: {words} --out {folder}"', 'f"{words} --out {folder} {how}"', "guard"),
        ("name: round(ratio, 2) for", "name: ratio for", "first_run"),
        ("and max(ratios.values()) <= 1", "", "first_run"),
        ('run.state.get("weights_step") == 0 else folder', "False else folder", "first_run guard"),
        ("checks[-1].get(", "checks[0].get(", "first_run"),
    ],
    "cli/compared.py": [
        ("data_of(informed(dict(runs)))", "data_of(runs[0][1])", "cli_compare"),
        ("if Path(name).is_dir() and", "if", "cli_compare"),
        ("if not any(Path(name).iterdir()) else", "if False else", "cli_compare"),
    ],
    "cli/data_group.py": [
        ("allow_leading_hyphen=True", "allow_leading_hyphen=False", "given_values"),
    ],
    "cli/evaluating.py": [
        ("if runs_inside(Path(run)) or", "if", "named_runs"),
        (' or (data is None and (Path(run) / "report.html").is_file())', "", "named_runs"),
    ],
    "cli/foreseen.py": [
        ("if size < 2**20", "if False", "planning"),
    ],
    "cli/going_on.py": [
        ("        refuse_links(unfinished, ())\n", "", "claimed_folders"),
    ],
    "cli/given.py": [
        ("for part in masked.split", "for part in given.split", "given_values"),
        (" and word.strip() not in fields:", ":", "given_values"),
        ('and value not in names and getattr(field, "missing", False)', "", "given_values"),
        ("replace('\"\"', '\"')", "strip()", "given_values"),
        ("value if name in refused else", "value if False else", "table_messages"),
    ],
    "cli/imputing.py": [
        ('None if only is None else column_names(only, "--only")', "None", "imputation"),
        ('column_names(only, "--only")', "column_names(only)", "imputation"),
        ("isinstance(imputed.source, GappyFile)", "hasattr(imputed.source, 'numbers')", "imputation"),
    ],
    "cli/launching.py": [
        ("not (stopped and code == -signal.SIGTERM)", "True", "launched"),
        ("if sharing.shard and sharing.devices in (None, 1)", "if sharing.shard and False", "planning"),
    ],
    "cli/listing.py": [
        ("if _version(package) is None]", "if False]", "cli"),
    ],
    "cli/loop.py": [
        ("130 if number ==", "75 if number ==", "cli_runs"),
        ("if trainer.done:", "if False:", "unfinished"),
    ],
    "cli/meeting.py": [
        ("(HashStore(), ", '(__import__("torch").distributed.TCPStore("localhost", 0, 1, True), ', "launched"),
    ],
    "cli/neighbours.py": [
        ("written to {", "{", "cli_options"),
        ("_nearest_rows if data.space.names else _nearest_csv", "_nearest_csv", "table_messages"),
    ],
    "cli/parsing.py": [
        ("if key not in known:", "if False:", "cli"),
    ],
    "cli/reading.py": [
        ("    if loaded.read_as:\n", "    if not loaded.read_as:\n", "plain_numbers"),
        ("reading.workers is not None and not loaded.train.on_disk", "False", "streaming"),
    ],
    "cli/sampling.py": [
        ("    say_if_unfinished(loaded)\n", "", "named_runs"),
    ],
    "cli/unfinished.py": [
        ("except (KeyboardInterrupt, SystemExit) as stop:", "except ZeroDivisionError as stop:", "unfinished"),
        ("words += [word] if is_value or option in (*SCORING, *FLAGS) else []", "pass", "unfinished"),
        ("is_value = option in SCORING and not equals", "is_value = option in SCORING", "unfinished"),
        ("is_value = option in SCORING and", "is_value = option in (*SCORING, *FLAGS) and", "unfinished"),
    ],
    "cli/recipe_help.py": [
        ("show_default=default is not None", "show_default=True", "help"),
        ("sort_key=11 + place", "sort_key=11", "help"),
    ],
    "cli/terminal.py": [
        ('if name in ("--image", "--images"):', "if False:", "table_messages"),
        ('RENAMED = {("tune", "--rows"): "--examples"}', "RENAMED = {}", "cli"),
        ("7 a missing extra, ", "", "help"),
    ],
    "cli/training.py": [
        ("if overwrite or dry_run or not", "if overwrite or not", "planning"),
    ],
    "cli/tuning.py": [
        ("if solver is None and flow.solver.stochastic:", "if False:", "grid_learning"),
    ],
}

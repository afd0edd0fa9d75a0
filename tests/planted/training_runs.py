"""Planted faults of `training`: what a checkpoint and a run hold, and how trainings are started and
taken up.
"""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "training/api.py": [
        ("            _warn_of(recipe.method)", "            pass", "training"),
        ("        claimed.discard()\n", "        pass\n", "budgets run_folders"),
        ("newest = next_good(newest) or newest", "pass", "saving"),
        ("check_spec(folder, content, stored.state)", "pass", "damaged_runs"),
        ("budget.check_beyond", "", "training crashes"),
        (
            "            extend(folder, content, budget, trainer.clock.step, writes)\n",
            "",
            "training failing_trainings",
        ),
        ("except (CheckpointError, DataError):", "except CheckpointError:", "failing_trainings"),
        ("except Diverged as error:", "except KeyError as error:", "failing_trainings"),
        ("if fallen and len(fallen) == len(trainers):", "if False:", "failing_trainings"),
    ],
    "training/checkpoint/checkpointer.py": [
        ("self._seconds >= interval", "self._seconds < 0", "crashes"),
        ("self.clock.budget.seconds / 4)", "self.clock.budget.seconds)", "failing_trainings"),
        ("    os.register_at_fork(before=lambda: wait_for(list(_writing)))", "    pass", "saving"),
        ("        self.weights_step = step_of(folder)\n", "", "finishing"),
        ("            self.go_back(state, returns[0])", "            pass", "finishing"),
        ("            write_latest(", "            (", "crashes"),
        ("after=self.step,", "after=None,", "damaged_runs"),
        ("held=kept,", "held=(),", "best_checkpoint"),
        ("bytes_of(tensors.values()) <= SHARE * memory", "True", "saving"),
        ("self.processes.failure(None if", "(lambda words: words)(None if", "saving_beside"),
        ("if self.refused or (self", "if (self", "saving_beside"),
        ("beside=not self.clock.done)", "beside=True)", "saving"),
        ("value = whole(tensor.detach())", "value = tensor.detach()", "launched"),
        ("and not numbers_in(requests, Action.WITHHOLD)", "", "skipping"),
        ("                self.journal.sync()\n", "", "crashes"),
    ],
    "training/checkpoint/storage.py": [
        ('    "peak_memory_mb": (*_NUMBER, _NONE),\n', "", "hostile"),
        (
            "    with staged(final) as temporary:\n        fill(",
            "    [_remove(old) for old in all_in(folder)]\n    with staged(final) as temporary:\n  "
            "      fill(",
            "kills",
        ),
        (
            "        fill(temporary, tensors, state)\n        commit(temporary, final)",
            "        commit(temporary, final)\n        fill(final, tensors, state)",
            "kills",
        ),
        ("(*given_up, *remaining[:-keep])", "given_up", "damaged_runs"),
        ("(*given_up, *remaining[:-keep])", "remaining[:-keep]", "damaged_runs"),
        ('        flush(folder / f"{name}.safetensors")\n', "", "crashes"),
        (
            "private(folder.parent) as gone:\n        os.rename(folder, gone / folder.name)",
            "private(folder.parent) as gone:\n        shutil.rmtree(folder)",
            "crashes",
        ),
        ("    check_space(final, bytes_of(tensors.values()))\n", "", "saving"),
        ('and state["step"] != step_of(folder):', "and False:", "crashes"),
        ("if (name := wrong_counter(state)) is not None:", "if False:", "damaged_runs"),
        ("if isinstance(error.__cause__, PermissionError):", "if False:", "hostile"),
        ('sha256(path) == entry["sha256"]', "True", "crashes"),
        (
            'if (version := manifest.get("format_version")) != FORMAT:',
            "if (version := FORMAT) != FORMAT:",
            "crashes",
        ),
        (
            "\n        (path for path in reversed(checkpoints) if fault(path) is None),\n        "
            "checkpoints[-1] if checkpoints else None,\n    ",
            "(path for path in reversed(found)), checkpoints[-1] if checkpoints else None",
            "damaged_runs",
        ),
        (
            "reversed(checkpoints) if fault(path) is None),\n        checkpoints[-1] if "
            "checkpoints else None,",
            "found if fault(path) is None), checkpoints[-1] if checkpoints else None",
            "damaged_runs",
        ),
        ("{'method' if raw else 'average'}.safetensors", "average.safetensors", "grid_learning"),
        ("    path.chmod(mode)\n", "", "hostile"),
    ],
    "training/checkpoint/tensors.py": [
        ("placed(tensors[name], current[name])", "tensors[name]", "launched"),
        (" value.hex()", " round(value, 9)", "state_digest"),
        (
            '\n        row for row in log.read(folder / "metrics.jsonl") if row["step"] <= '
            'stored.state["step"]\n    ',
            'row for row in log.read(folder / "metrics.jsonl")',
            "state_digest",
        ),
        (
            "\n        counters,\n        *({name: value for name, value in row.items() if name != "
            '"seconds"} for row in rows),\n    ',
            "counters, *({name: value for name, value in row.items()} for row in rows)",
            "state_digest",
        ),
        (" if name not in MEASURED}", "}", "state_digest"),
        ("torch.stack(norms).norm()", "norms[0]", "processes"),
        (".full_tensor(", ".to_local(", "processes"),
    ],
    "training/recipe_argument.py": [
        ("(*recipe.builds_on, *ancestors)", "recipe.builds_on", "frozen"),
        ("if tuple(trained.shape) != tuple(space.shape) or", "if False and", "frozen"),
        (
            "mean.var(axes, correction=0) + log_variance.exp().mean(axes)",
            "mean.var(axes, correction=0)",
            "codes",
        ),
        ("    if trainings(recipe.method):\n", "    if False:\n", "budgets run_folders"),
        ("module.load_state_dict(recipe.method.parts[name].state_dict())", "pass", "codes"),
        ("restore(recipe.method, run.method.state_dict(), run.folder)", "pass", "training"),
        ('if trained.names and "FlowMap" in kinds:', "if False:", "table_students"),
    ],
    "training/runs/folder.py": [
        ('    "export": "the sampler for use without pushforward",\n', "", "export"),
        ("if others := _others(folder):", "if others := []:", "damaged_runs"),
        ("path.name not in ENTRIES and", "False and", "damaged_runs"),
        ("{what}{run_suggestion(folder)}", "{what}", "newcomers named_runs"),
        ("self.replaced.rename(self.folder)", "pass", "sampling"),
        ('(Path("runs"), folder.parent)', "(folder.parent,)", "named_runs"),
        ("    refuse_links(folder, (), known=())\n", "", "damaged_runs"),
        ("raise busy(folder) from None", "return None", "run_folders"),
        (
            "if self._closed_at != self._standing()",
            "if False and self._standing()",
            "budgets run_folders",
        ),
    ],
    "training/runs/learned_solvers.py": [
        ('entry.get("weights") == self.weights', "True", "grid_learning"),
        ("        if named:\n", "        if False:\n", "grid_learning"),
    ],
    "training/runs/log.py": [
        ("self._steps[-IN_A_ROW] == step - IN_A_ROW + 1", "True", "skipping"),
        ("self._steps[0] <= step - WINDOW", "self._steps[0] < step - WINDOW", "skipping"),
        ("len(self._steps) > MOST", "len(self._steps) >= MOST", "skipping"),
        ("** (1 / len(BY))", "", "best_checkpoint"),
        ("measured < BETTER * best.quality", "measured < best.quality", "best_checkpoint"),
        ("if problem is None and last and self.skips.all:", "if False:", "skipping"),
        ("rows = rows[: number + 1]", "rows = []", "observers"),
        ("                flush(self.path)\n", "                pass\n", "crashes"),
        ("            self.skips.read(row)\n", "", "skipping"),
        (
            "\n                player: loss for player, loss in losses.items() if "
            "math.isfinite(loss)\n            ",
            "player: loss for player, loss in losses.items()",
            "budgets skipping",
        ),
        ("observer.row(row, again=True)", "pass", "observers"),
        ("cut(self.path, step)", "pass", "kills"),
        ('if row["step"] <= step', "if True", "damaged_runs"),
        (
            "temporary.write_text(remaining, encoding",
            "path.write_text(remaining, encoding",
            "crashes",
        ),
    ],
    "training/runs/provenance.py": [
        ('if content["fingerprint"] != dataset.fingerprint:', "if False:", "damaged_runs cli"),
        ('sha256(path) != record["sha256"]', "False", "lineage"),
        ("    if seen.unknown:\n", "    if False:\n", "lineage"),
        (
            'state.get("seconds", 0.0) + (state.get("store_seconds") or 0.0)',
            'state.get("seconds", 0.0)',
            "lineage",
        ),
        ('if name != "download"', "", "hostile"),
    ],
    "training/runs/run.py": [
        ("if sha256(path) != hashes.get(name):", "if False:", "codes"),
        (
            'return Flow(flow.denoiser, spec.build(stored["solver"]), stored',
            "return Flow(flow.denoiser, flow.solver, stored",
            "ladder",
        ),
        ("seen = seen.joined_by(str(folder), seen_by(folder))", "pass", "sampling"),
        ("stored.weights(raw)", "stored.weights(not raw)", "training"),
        ("    check_spec(folder, content, stored.state)\n", "", "damaged_runs"),
        (
            "if counted and isinstance(content, (int, float))",
            "if False and isinstance(content, (int, float))",
            "hostile",
        ),
        ("FORMAT = 4\n", "FORMAT = 5\n", "golden_folders"),
        ("if not words or any(", "if True or any(", "named_runs"),
        ("if not words or any(", "if any(", "named_runs"),
    ],
}

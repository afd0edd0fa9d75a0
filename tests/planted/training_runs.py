"""Planted faults of `training`: what a checkpoint and a run hold, and how trainings are started and taken up."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "training/api.py": [
        ("        claimed.discard()\n", "        pass\n", "budgets run_folders"),
        ("newest = next_good(newest) or newest", "pass", "saving"),
        ("check_spec(folder, content, stored.state)", "pass", "damaged_runs"),
        (
            'budget.check_beyond(folder, stored.state["seconds"]',
            '(folder, stored.state["seconds"]',
            "training_settings interrupted",
        ),
        ("            left.unlink(missing_ok=True)", "            pass", "crashes"),
        ("        extend(folder, content, budget, trainer.clock.step, writes)\n", "", "training failing_trainings"),
    ],
    "training/checkpoint/contents.py": [
        ('    "peak_memory_mb": (*_NUMBER, _NONE),\n', "", "hostile"),
        (
            "    with staged(final) as temporary:\n"
            "        fill(",
            "    [_remove(old) for old in all_in(folder)]\n"
            "    with staged(final) as temporary:\n"
            "        fill(",
            "kills",
        ),
        (
            "        fill(temporary, tensors, state)\n"
            "        commit(temporary, final)",
            "        commit(temporary, final)\n"
            "        fill(final, tensors, state)",
            "kills",
        ),
        ("(*given_up, *remaining[:-keep])", "given_up", "damaged_runs"),
        ("(*given_up, *remaining[:-keep])", "remaining[:-keep]", "damaged_runs"),
        (
            "        shutil.rmtree(temporary, ignore_errors=True)\n"
            "\n"
            "\n"
            "def commit",
            "        pass\n"
            "\n"
            "\n"
            "def commit",
            "failing_trainings",
        ),
        ('        flush(folder / f"{name}.safetensors")\n', "", "crashes"),
        ("            left.unlink(missing_ok=True)", "            pass", "crashes"),
        (
            "        os.rename(folder, gone)\n"
            "        shutil.rmtree(gone)",
            "        shutil.rmtree(folder)",
            "crashes",
        ),
        ("    check_space(final, bytes_of(tensors.values()))\n", "", "saving"),
        ('and state["step"] != step_of(folder):', "and False:", "crashes"),
        ("if (name := wrong_counter(state)) is not None:", "if False:", "damaged_runs"),
        ("if isinstance(error.__cause__, PermissionError):", "if False:", "file_doors"),
        ('sha256(path) == entry["sha256"]', "True", "crashes"),
        ('if (version := manifest.get("format_version")) != FORMAT:', "if (version := FORMAT) != FORMAT:", "crashes"),
        ("for path in reversed(checkpoints) if fault(path) is None", "for path in reversed(found)", "damaged_runs"),
        ("for path in reversed(checkpoints) if", "for path in found if", "damaged_runs"),
        ("{'method' if raw else 'average'}.safetensors", "average.safetensors", "tuned"),
        ("    path.chmod(mode)\n", "", "file_doors"),
    ],
    "training/checkpoint/saver.py": [
        (
            "return bool(clock.seconds - self._seconds >=",
            "return bool(clock.seconds - self._seconds < 0 *",
            "interrupted",
        ),
        ("limit / 4)", "limit)", "failing_trainings"),
        ("    os.register_at_fork(before=lambda: wait_for(list(_writing)))", "    pass", "saving"),
        ("    trainer.saver.weights_step = ", "    _ = ", "guard"),
        ('player.restore(stored.tensors["optimizer"])', "pass", "training"),
        ("restore(trainer.average.method, stored.weights(), stored.folder)", "pass", "training"),
        ("for player in trainer.players.values():", "for player in ():", "training laws"),
        ('player.restore(stored.tensors["optimizer"])', "pass", "kills"),
        ("    take_up(trainer, stored_for(trainer", "    (trainer, stored_for(trainer", "guard"),
        ("            write_latest(", "            (", "interrupted"),
        ('state.get("budget", trainer.content["budget"])', "asdict(trainer.budget)", "failing_trainings"),
        ('"after": self.step', '"after": None', "damaged_runs"),
        ("            self.step, self._seconds = self._before", "            pass", "saving"),
        ("bytes_of(tensors.values()) <= SHARE * memory", "True", "saving"),
        ("processes.failure(None if", "(lambda words: words)(None if", "saving_beside"),
        ("if self.refused or (processes", "if (processes", "saving_beside"),
    ],
    "training/checkpoint/tensors.py": [
        ("    check_space(where, bytes_of(tensors.values()))\n", "    pass\n", "processes"),
        ("        with _all_or_none(channel), disk(where):\n", "        with disk(where):\n", "saving_beside"),
        (
            "    except Exception as error:  # whatever",
            "    except CheckpointError as error:  # whatever",
            "saving_beside",
        ),
        ("        player.restore(optimizer", "        (optimizer", "launched"),
        ("_fill(folder, expected, trainer.processes.control)", "for _ in ()", "launched"),
        ("start != end or kind", "kind", "hostile"),
        ("        check_tensors(path)\n", "", "hostile"),
        (
            "return value.hex() if isinstance(value, float)",
            "return round(value, 9) if isinstance(value, float)",
            "state_digest",
        ),
        (' if row["step"] <= stored.state["step"]]', "]", "state_digest"),
        (' if name != "seconds"}', "}", "state_digest"),
        (" if name not in MEASURED}", "}", "state_digest"),
        ("else torch.stack(norms).norm()", "else norms[0]", "processes"),
        ("return tensor.full_tensor() if", "return tensor.to_local() if", "processes"),
    ],
    "training/recipe_argument.py": [
        ('if trained.names and "FlowMap" in kinds:', "if False:", "table_students"),
        ("(*recipe.builds_on, *ancestors)", "recipe.builds_on", "frozen"),
        ("if tuple(trained.shape) != tuple(space.shape) or", "if False and", "frozen"),
        ("mean.var(axes, correction=0) + log_variance.exp().mean(axes)", "mean.var(axes, correction=0)", "latent_codes"),
        ("    if trainings(recipe.method):\n", "    if False:\n", "budgets unsaved_runs"),
        ("module.load_state_dict(recipe.method.parts[name].state_dict())", "pass", "encoded"),
        ("restore(recipe.method, run.method.state_dict(), run.folder)", "pass", "training"),
    ],
    "training/runs/folder.py": [
        ("if others := _others(folder):", "if others := []:", "claimed_folders"),
        ("path.name not in ENTRIES and", "False and", "claimed_folders"),
        ("{what}{run_suggestion(folder)}", "{what}", "newcomers named_runs"),
        ("self.replaced.rename(self.folder)", "pass", "sampling"),
        ('(Path("runs"), folder.parent)', "(folder.parent,)", "named_runs"),
        ("    refuse_links(folder, (), known=())\n", "", "claimed_folders"),
        ("raise busy(folder) from None", "return None", "run_folders"),
        ("if self._closed_at != self._standing()", "if False and self._standing()", "budgets run_folders"),
    ],
    "training/runs/learned_solvers.py": [
        ("AttributeError, LookupError", "LookupError", "ladder"),
        ('entry.get("weights") == self.weights', "True", "tuned"),
        ("    if named and sentences:\n", "    if False:\n", "tuned"),
    ],
    "training/runs/log.py": [
        ("self._steps[-IN_A_ROW] == step - IN_A_ROW + 1", "True", "skipping"),
        ("self._steps[0] <= step - WINDOW", "self._steps[0] < step - WINDOW", "skipping"),
        ("len(self._steps) > MOST", "len(self._steps) >= MOST", "skipping"),
        ("** (1 / len(BY))", "", "best_checkpoint"),
        ("measured < BETTER * best.quality", "measured < best.quality", "best_checkpoint"),
        ("if problem is None and last and self.skips.all:", "if False:", "skipping"),
        ("rows = rows[: number + 1]", "rows = []", "budgets run_folders unsaved_runs"),
        ("                flush(self.path)\n", "                pass\n", "crashes"),
        ("            self.skips.read(row)\n", "", "skipping"),
        ("if math.isfinite(loss)}", "}", "budgets skipping"),
        ("observer.row(row, again=True)", "pass", "observers"),
        ("cut(self.path, step)", "pass", "kills"),
        ('if row["step"] <= step', "if True", "damaged_runs training"),
        ("write_text(path, remaining)", "path.write_text(remaining)", "interrupted"),
    ],
    "training/runs/provenance.py": [
        ('if content["fingerprint"] != dataset.fingerprint:', "if False:", "damaged_runs cli_compare"),
        ('sha256(path) != record["sha256"]', "False", "lineage"),
        ("    if seen.unknown:\n", "    if False:\n", "lineage"),
        ('state.get("seconds", 0.0) + (state.get("store_seconds") or 0.0)', 'state.get("seconds", 0.0)', "lineage"),
        ('if name != "download"', "", "hostile"),
    ],
    "training/runs/run.py": [
        ("if sha256(path) != hashes.get(name):", "if False:", "encoded"),
        (
            'return flow.with_solver(spec.build(stored["solver"]), stored',
            "return flow.with_solver(flow.solver, stored",
            "ladder",
        ),
        ("seen = seen.joined_by(str(folder), seen_by(folder))", "pass", "sampling"),
        ("stored.weights(raw)", "stored.weights(not raw)", "training"),
        ("    check_spec(folder, content, stored.state)\n", "", "damaged_runs"),
        ("if counted and isinstance(content, (int, float))", "if False and isinstance(content, (int, float))", "hostile"),
        ("FORMAT = 4\n", "FORMAT = 5\n", "golden_folders"),
    ],
}

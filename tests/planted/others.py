"""Planted faults of the smaller folders of the package."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "conditions/embeddings.py": [
        ("(values - mean) / std", "values / std * 0", "conditions"),
        ("self.null.to(vector.dtype), vector)", "vector, vector)", "conditions"),
    ],
    "conditions/kind.py": [
        ("hide | condition[mask] if mask in condition else hide", "hide", "guidance conditions"),
        ("self.entries.index(entry)", "0", "conditions"),
        ("if not kind.learned and (", "if (", "table_denoiser"),
        ('{"label"} - conditions.keys', "set", "conditions"),
        ("if name in self.columns or name in self.numbers:", "if False:", "table_models"),
        ("ExampleDraws(seed, n, ", "ExampleDraws(0, n, ", "conditions"),
    ],
    "conditions/label.py": [
        (
            "np.cumsum(self.frequencies)[:-1]",
            "np.arange(1, len(self.names)) / len(self.names)",
            "conditions methods",
        )
    ],
    "editing/given_data.py": [
        ("z, condition", "z, condition, draws", "class_prior"),
        (
            "checked_example(flow, x)[None], given)",
            "checked_example(flow, x)[None], None)",
            "codes",
        ),
    ],
    "tables/imputation.py": [
        ("if name not in there)", "if False)", "imputation"),
        ("ing & chosen", "ing", "imputation"),
        ("| known_missing)", ")", "imputation"),
        ("np.array([field.missing for field in space.fields])", "True", "imputation"),
        ("    if beyond:", "    if False:", "given_values"),
        ("np.where(missing[index], drawn, values[index])", "drawn", "imputation"),
        ("np.where(missing[rows] | rare, -1, ", "np.where(missing[rows] | rare, 0, ", "imputation"),
        (
            "seeds[part] + draw * PERIOD,",
            "seeds[start : start + len(part)] + draw * PERIOD,",
            "imputation",
        ),
        (" + (seed + rows) // PERIOD * 2**40", "", "imputation"),
        ('"sample/again {turn}"', '"sample/again"', "imputation"),
        ("waiting[possible[waiting] & ", "waiting[", "imputation"),
        ("space.met(values", "~np.isnan(values[:, 0]", "imputation"),
    ],
    "editing/interpolation.py": [("last = end.z", "last = start.z", "cli_editing")],
    "errors.py": [
        ("if not synonyms.is_listed(word):", "if True:", "words"),
        ("get_close_matches(lower, names", "get_close_matches(word, names", "table_reading"),
        ("if not close and len(lower) >= 3:", "if len(lower) >= 3:", "table_reading"),
    ],
    "extractors/pretrained.py": [
        (
            "torch.load(io.BytesIO(self._content), weights_only=True)",
            "pass",
            "extractors",
        )
    ],
    "extractors/self_supervised.py": [
        ("VARIANCE * functional.relu(1 - std).mean()", "0 * std.mean()", "extractors"),
    ],
    "numbers.py": [
        ('.replace("\\n", "\\\\n")', "", "table_reading"),
    ],
    "trackers/services.py": [
        ("if known is not None:", "if False:", "trackers"),
        ("add_scalar(name, value, step)", "add_scalar(name, value)", "trackers"),
        ('os.environ.get("WANDB_MODE", "offline")', '"online"', "trackers"),
    ],
}

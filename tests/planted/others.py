"""Planted faults of the smaller folders of the package."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "conditions/columns.py": [
        ("type(cell).__name__ in (", "False and type(cell).__name__ in (", "g i v e n _ a l u s"),
        ("quote = '\"' if any", 'quote = "" if any', "g i v e n _ a l u s"),
        ("torch.as_tensor(request, dtype=torch.float64)", "torch.as_tensor(request, dtype=torch.float32)", "t a b l e _ d i g s"),
        ("* (marks[:, place, None] > 0)", "", "t a b l e _ d n o i s r"),
        ("len(self.fields) + place] = 1.0", "len(self.fields) + place] = 0.0", "t a b l e _ d n o i s r"),
        ("not low <= numbers[i] <= high", "False", "i m p u t a o n"),
        ("            warn(", "            (", "g i v e n _ a l u s"),
        ("moved |= np.abs(held - numbers) > SAME", "moved &= np.abs(held - numbers) > SAME", "g i v e n _ a l u s"),
        ("moved &= np.abs(held - numbers) > ROUNDING", "moved |= np.abs(held - numbers) > ROUNDING", "g i v e n _ a l u s"),
        ("moved |= (field.kind ==", "moved &= (field.kind ==", "g i v e n _ a l u s"),
        ("columns = [field.nearest(values[:, place])", "columns = [(values[:, place])", "g i v e n _ a l u s"),
    ],
    "conditions/embeddings.py": [
        ("(like - mean) / std", "like / std * 0", "c o n d i t s"),
        ("self.null.to(vector.dtype), vector)", "vector, vector)", "c o n d i t s"),
    ],
    "conditions/kind.py": [
        ("hide | condition[mask]", "hide", "g u i d a n c e o t s"),
        ("self.entries.index(entry)", "0", "c o n d i t s"),
        ("if not kind.learned}", "}", "t a b l e _ d n o i s r"),
        ('{"label"} - conditions.keys() if kind.learned', "set() if kind.learned", "t a b l e _ d n o i s r"),
    ],
    "conditions/label.py": [
        ('"one of" if numbered else', '"one of" if False else', "g i v e n _ a l u s"),
        ("np.cumsum(self.frequencies)[:-1]", "np.arange(1, len(self.names)) / len(self.names)", "c o n d i t s m e h"),
    ],
    "conditions/requests.py": [
        ("if name in self.columns:", "if False:", "t a b l e _ m o d s"),
        ("ExampleDraws(seed, n, name)", "ExampleDraws(0, n, name)", "c o n d i t s"),
    ],
    "editing/imputation.py": [
        ("field.name not in there)", "False)", "i m p u t a o n"),
        ("missing & ~chosen, missing & chosen", "missing & ~chosen, missing", "i m p u t a o n"),
        ("| known_missing)", ")", "i m p u t a o n"),
        ("np.array([field.missing for field in space.fields])", "True", "i m p u t a o n"),
        ("if not all(holds(c, fields, values).all()", "if not all(True", "i m p u t a o n"),
        ("    if imputed.beyond:", "    if False:", "g i v e n _ a l u s"),
        ("~self.missing[rows], places", "~self.missing[rows] & False, places", "g i v e n _ a l u s"),
        ("np.where(missing[index], filled, values[index])", "filled", "i m p u t a o n"),
        ("np.where(missing[rows], -1, ", "np.where(missing[rows], 0, ", "i m p u t a o n"),
        ("seeds[part] + draw * PERIOD,", "seeds[start : start + len(part)] + draw * PERIOD,", "i m p u t a o n"),
        (" + (seed + rows) // PERIOD * 2**40", "", "i m p u t a o n"),
        ('"sample/again {turn}"', '"sample/again"', "i m p u t a o n"),
        ("waiting[possible[waiting] & ", "waiting[", "i m p u t a o n"),
        ("space.met(values) if space.constraints", "~np.isnan(values[:, 0]) if space.constraints", "i m p u t a o n"),
    ],
    "editing/interpolation.py": [
        ("+ self.strength * z, condition)", "+ self.strength * z, condition, draws)", "d e c o r _ n i s"),
        ("checked_example(flow, x)[None], given)", "checked_example(flow, x)[None], None)", "e n c o d"),
    ],
    "editing/inversion.py": [
        ("first.z[0], last.z[0], frames", "first.z[0], first.z[0], frames", "c l i _ e d t n g"),
    ],
    "extractors/inception.py": [
        ("torch.load(io.BytesIO(self._content), weights_only=True)", "pass", "f e a t u r _ s p c"),
    ],
    "extractors/self_supervised.py": [
        ("VARIANCE * functional.relu(1 - spread).mean()", "0 * spread.mean()", "e x t r a c o s"),
    ],
    "trackers/tensorboard.py": [
        ("add_scalar(name, value, step)", "add_scalar(name, value)", "t r a c k e s"),
    ],
    "trackers/wandb.py": [
        ('os.environ.get("WANDB_MODE", "offline")', '"online"', "t r a c k e s"),
    ],
}

"""Faults in samplers that are exported."""

FAULTS = {
    "export/tables.py": [
        ("held = (held - {call.estimate}) | {call.point}", "held = held | {call.point}", "export"),
        ('_NEUTRAL = {"state": 0.0', '_NEUTRAL = {"state": 1.0', "export"),
        ("table.start[:, None] * width", "table.start[:, None]", "export"),
    ],
    "export/program.py": [
        ("x = self.transport(states.flatten(0, 1), each, draws)", "x = self.transport(states.flatten(0, 1), each)", "export"),
        ("return self.transport.space.to_data(x).unflatten", "return x.unflatten", "export"),
    ],
    "export/onnx_file.py": [
        ("np.where(np.arange(most) < counts[:, None], places, 0)", "places - 1", "export"),
        ('node.ClearField("metadata_props")', "pass", "export"),
        ("(numbers.to_array(small) != values).any()", "False", "export"),
    ],
    "export/description.py": [
        ('key("rows", "sample")', 'key("rows", "samples")', "export"),
        ('"draws": counts or noise_count(transport)', '"draws": 0', "export"),
    ],
    "export/files.py": [
        ("    away = checked(made)\n", "    away = ()\n", "export"),
        ("flow.grid, flow.learned)", "None)", "export"),
        ("has_steps(inner_of(left[name])) in kinds", "False", "page"),
        ("    checked(made)\n", "", "page"),
    ],
}

"""Faults in samplers that are exported."""

FAULTS = {
    "export/tables.py": [
        (
            "needed = (needed - {call.estimate}) | {call.point}",
            "needed = needed | {call.point}",
            "export",
        ),
        ('state": 0.0,', 'state": 1.0,', "export"),
        ('"output": 1.0', '"output": 0.0', "serving"),
        ("table.start[:, None] * width", "table.start[:, None]", "export"),
    ],
    "export/program.py": [
        (
            "self.transport.decoded(x, condition, draws)",
            "self.transport.decoded(x, condition)",
            "export",
        ),
        ("return self.transport.space.to_data(x).unflatten", "return x.unflatten", "export"),
    ],
    "export/onnx_file.py": [
        ('names["scale"] = "scale_rows"', "pass", "export"),
        ("np.where(numbers < counts, firsts + numbers, 0)", "firsts + numbers - 1", "export"),
        ('node.ClearField("metadata_props")', "pass", "export"),
        ("        nodes += _constant(onnx, weight, half)\n", "        pass\n", "export"),
        ("  last = Slice (slots_end, zeros", "  last = Slice (slots_end, ones", "export"),
        ("(numbers.to_array(small) == values).all()", "True", "export"),
        (
            "np.full((len(flows) + 1, most + 2), _MISSING)",
            "np.full((len(flows), most + 1), _MISSING)",
            "export",
        ),
        (
            "np.array([*range(len(space.classes)), _MISSING])",
            "np.arange(len(space.classes))",
            "export",
        ),
        ('size.dim_param = "n"', "pass", "export"),
    ],
    "export/files.py": [
        ('key("rows", "sample")', 'key("rows", "samples")', "export"),
        ('"draws": draws', '"draws": 0', "export"),
        ("    away = checked(onnx_graph)\n", "    away = ()\n", "export"),
        ("flow.solver, flow.steps, flow.grid)", "flow.solver, flow.steps, None)", "export"),
        ("        free -= weights\n", "", "page"),
        ("    checked(onnx_graph)\n", "", "page"),
        ("own.grid if isinstance(own.grid, str) else None", "None", "export"),
        ("        if solver.adaptive:", "        if False:", "export"),
        ("(temporary / name).write_bytes(content)", "(out / name).write_bytes(content)", "export"),
        (
            "close_enough(program_distances(program, transport))",
            "tuple(program_distances(program, transport))",
            "export",
        ),
        ("and (solvers or steps_up_to or half)", "and False", "export"),
    ],
    "export/templates/run.py": [
        ('space["stream"], 1 + i', 'space["stream"], i', "export"),
        ("% 2**64", "", "export"),
        ('if not EXPORT == space.get("export") == about.get("export"):', "if False:", "export"),
        ("if n < 1:", "if n < 0:", "export"),
        ('if out.suffix != ".npy":', "if False:", "export"),
    ],
}

"""Planted faults of `solvers`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "solvers/adaptive.py": [
        ("- growth * y) / k.dlog_snr", ") / k.dlog_snr", "solvers"),
        ("y * over(path.at(s).r, x)", "y", "solvers"),
    ],
    "solvers/ddim.py": [
        ("there.alpha * data + there.sigma * noise", "there.alpha * data + here.sigma * noise", "solvers"),
        ("there.sigma**2 - fresh**2", "there.sigma**2", "solvers"),
        ("DDIM(1.0)", "DDIM(0.5)", "solvers"),
        ("torch.sqrt(1 - ratio)", "torch.sqrt(ratio)", "solvers"),
    ],
    "solvers/dense.py": [
        ("held = (held - {call.estimate}) | {call.point}", "held = held | {call.point}", "export"),
        ('_NEUTRAL = {"state": 0.0', '_NEUTRAL = {"state": 1.0', "export"),
    ],
    "solvers/exponential_step.py": [
        ("toward = 1.0 if kind", "toward = -1.0 if kind", "solvers"),
        ("factor = toward * (there.alpha", "factor = (there.alpha", "solvers"),
        ("/ (at - other[:, None])", "/ (other[:, None] - at)", "solvers"),
        ("(points - lam_s[:, None])", "(points - lam_t[:, None])", "solvers"),
    ],
    "solvers/grids.py": [
        ("np.linspace(most ** (1 / rho), least ** (1 / rho), steps) ** rho", "np.linspace(most, least, steps)", "time_grids"),
        ("shift * u / (1 + (shift - 1) * u)", "u", "time_grids"),
    ],
    "solvers/jump.py": [
        ("cls(1.0 if", "cls(0.0 if", "finishing"),
        ("return denoiser.jump(x, t, s, condition), None", "return denoiser.jump(x, t, 0 * s, condition), None", "jumps"),
        ("- math.log1p(-(self.renoise**2))", "", "jumps"),
        ("self.renoise * there.sigma * noise_of", "there.sigma * noise_of", "jumps"),
    ],
    "solvers/learned.py": [
        ("sources = (0, *(2 * j + 2", "sources = (0, *(2 * j + 1", "table_learning"),
        ("stops.append(number)", "stops.append(number + 1)", "table_learning"),
    ],
    "solvers/multistep.py": [
        ("nodes[0][1] + slope / 2", "nodes[0][1] + slope", "solvers"),
        ("/ (newer[0] - older[0])", "/ (older[0] - newer[0])", "solvers"),
        ('SingleStep(2, "data") if self.order == 3', 'SingleStep(2, "data") if self.order == 4', "solvers"),
        ("new[1] - nodes[0][1]", "nodes[0][1] - new[1]", "solvers"),
        ("[new, *nodes])", "nodes)", "solvers"),
        ("(3 / 2, -1 / 2)", "(3 / 2, 1 / 2)", "solvers"),
        ("[: self.memory]", "", "solvers"),
        ("and steps > 1 else 0", "else 0", "solvers solves"),
    ],
    "solvers/runge_kutta.py": [
        ("t + node * gap", "t", "solvers"),
        ("(0.5, 0.5)", "(0.4, 0.6)", "solvers"),
        ("(1 / 6, 1 / 3, 1 / 3, 1 / 6)", "(1 / 4, 1 / 4, 1 / 4, 1 / 4)", "solvers"),
    ],
    "solvers/single_step.py": [
        ("start + gap * i / self.order", "start + gap / 2", "solvers"),
        ("[node] if self.order == 2 else", "[first] if self.order == 2 else", "solvers"),
    ],
    "solvers/stochastic.py": [
        ("-torch.expm1(-2 * h)", "-torch.expm1(-h)", "solvers"),
        ("(h / (2 * h_before))", "(h / h_before)", "solvers"),
        ("torch.sqrt(2 * h)", "torch.sqrt(h)", "solvers"),
        ("self.strength**2 * h", "self.strength * h", "solvers"),
        ("(first + second) / 2", "first", "solvers"),
        ("1 + acts * (self.churn", "1 + (self.churn", "solvers"),
        ("torch.log(level * grown)).clamp(*path.ends)", "torch.log(level * grown))", "solvers"),
        ("extra * self.excess", "2 * extra * self.excess", "solvers"),
        ("2 * self.snr * sigma * noise_of", "3 * self.snr * sigma * noise_of", "solvers"),
    ],
    "solvers/symbols.py": [
        ('raise NotAffine(f"a state is asked for `{name}`")', "return lambda *_: self", "tables"),
        ("terms[register] = sign * weight if coefficient is None", "terms[register] = weight if coefficient is None", "tables"),
    ],
    "solvers/table.py": [
        ("for register in row.dropped:", "for register in ():", "tables"),
        ("torch.add(out, value, alpha=weight)", "torch.add(out, value)", "tables"),
        ("return sum(denoiser.calls(", "return sum(1 or denoiser.calls(", "guidance cost"),
    ],
    "solvers/table_cache.py": [
        ("times.tolist() == list(self.learned.grid)", "len(times)", "table_learning"),
        ("[*_settings(self.solver), *_settings(denoiser)]", "_settings(denoiser)", "tables"),
        ("[*_settings(self.solver), *_settings(denoiser)]", "_settings(self.solver)", "tables"),
        ("*chain(*map(_settings, inner))", "", "tables"),
        ('if name != "training"', "", "tables"),
    ],
    "solvers/tracing.py": [
        ("if condition is not self.condition:", "if False:", "tables"),
        ("                self._register(part)\n", "                pass\n", "tables"),
        ("if tuple(shape) != self._tracer.shape:", "if False:", "tables"),
    ],
}

"""Planted faults of `testing`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "testing/metrics.py": [
        ("assert all(map(np.array_equal", "assert any(map(np.array_equal", "conformance"),
        ("better = sign * score.number >= sign * bad[name].number", "better = sign", "conformance"),
        ("thing(_backwards(given))", "thing(given)", "conformance"),
        ("assert scores.keys() <= set(thing.scores)", "assert set(thing.scores)", "conformance"),
    ],
    "testing/models.py": [
        (
            'assert known is kind or not known.__module__.startswith("pushforward.")',
            "assert known",
            "conformance",
        ),
        ("raise Broken(", "raise ValueError(", "conformance"),
        ("assert len(owned) == len(set(owned))", "assert owned", "conformance"),
        ("assert gradient > 0", "assert gradient >= 0", "conformance"),
        ("assert player in method.players", "assert player", "conformance"),
        ("assert [float(loss) for _, loss, _ in first] == ", "assert first or ", "conformance"),
        ("moved(transport, seed, n)", "whole[seed : seed + n]", "conformance"),
        (
            "        assert_same(final_state(trained.whole.folder), "
            "final_state(trained.run.folder))",
            "        pass",
            "conformance",
        ),
    ],
    "testing/solvers.py": [
        (
            "torch.testing.assert_close(derivative, exact, rtol=1e-9, atol=1e-11)",
            "pass",
            "conformance",
        ),
        (
            "torch.testing.assert_close(log_snr, expected, rtol=1e-8, atol=1e-8)",
            "pass",
            "conformance",
        ),
        (
            "torch.testing.assert_close(thing.time(log_snr), t, rtol=1e-9, atol=1e-10)",
            "pass",
            "conformance",
        ),
        (
            "cholesky(here.alpha**2 * covariance",
            "cholesky(here.alpha * covariance",
            "solvers",
        ),
        ('"velocity", torch.from_numpy(points)', '"v", torch.from_numpy(points)', "solvers"),
        ("self.count += 1", "self.count += 2", "solvers"),
        (
            "assert abs(order - solver.order) < tolerance",
            "assert order < solver.order + tolerance",
            "conformance",
        ),
        ("assert vars(thing) == before", "assert vars(solver) is not None", "conformance"),
        ("assert vars(rebuilt(thing)) == vars(thing)", "assert rebuilt(solver)", "conformance"),
        (
            "assert solver.adaptive or flow.calls == solver.calls(steps)",
            "assert flow.calls",
            "conformance",
        ),
        (
            "torch.testing.assert_close(flow.sample(2, seed=5), x[2:], rtol=1e-5, atol=1e-5)",
            "pass",
            "conformance",
        ),
        ("assert end.requires_grad", "assert end is not None", "conformance"),
        ("off = (covariance - exact).abs()", "off = 0 * covariance", "conformance"),
    ],
}

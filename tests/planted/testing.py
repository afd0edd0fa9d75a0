"""Planted faults of `testing`."""

FAULTS: dict[str, list[tuple[str, str, str]]] = {
    "testing/metrics.py": [
        ("assert all(map(np.array_equal", "assert any(map(np.array_equal", "c o n f r m a e"),
        ("assert sign * score.number >= sign * bad[name].number", "assert sign", "c o n f r m a e"),
        ("given.generated[::-1].copy()", "given.generated", "c o n f r m a e"),
        ("assert scores.keys() <= set(thing.scores)", "assert set(thing.scores)", "c o n f r m a e"),
    ],
    "testing/models.py": [
        ('assert known is kind or not known.__module__.startswith("pushforward.")', "assert known", "c o n f r m a e"),
        ("raise Broken(", "raise ValueError(", "c o n f r m a e"),
        ("assert len(owned) == len(set(owned))", "assert owned", "c o n f r m a e"),
        ("assert slope > 0", "assert slope >= 0", "c o n f r m a e"),
        ("assert player in method.players", "assert player", "c o n f r m a e"),
        ("assert [float(loss) for _, loss, _ in first] == ", "assert first or ", "c o n f r m a e"),
        (
            "torch.testing.assert_close(moved(transport, seed, n)",
            "torch.testing.assert_close(whole[seed : seed + n]",
            "c o n f r m a e",
        ),
        (
            "        assert_same(final_state(trained.whole.folder), final_state(trained.run.folder))",
            "        pass",
            "c o n f r m a e",
        ),
    ],
    "testing/solvers.py": [
        ("torch.testing.assert_close(derivative, slope, rtol=1e-9, atol=1e-11)", "pass", "c o n f r m a e"),
        (
            "torch.testing.assert_close(value, 2 * (k.alpha.log() - k.sigma.log()), rtol=1e-8, atol=1e-8)",
            "pass",
            "c o n f r m a e",
        ),
        ("torch.testing.assert_close(path.time(path.log_snr(t)), t, rtol=1e-9, atol=1e-10)", "pass", "c o n f r m a e"),
        (
            "    root = torch.linalg.cholesky(here.alpha**2 * Correlated.covariance",
            "    root = torch.linalg.cholesky(here.alpha * Correlated.covariance",
            "s o l v e r",
        ),
        ('"velocity", torch.from_numpy(points)', '"v", torch.from_numpy(points)', "s o l v e r"),
        ("self.count += 1", "self.count += 2", "s o l v e r"),
        ("assert abs(order - solver.order) < tolerance", "assert order < solver.order + tolerance", "c o n f r m a e"),
        ("assert vars(solver) == before", "assert vars(solver) is not None", "c o n f r m a e"),
        ("assert vars(rebuilt(solver)) == vars(solver)", "assert rebuilt(solver)", "c o n f r m a e"),
        ("assert solver.adaptive or flow.calls == solver.calls(steps)", "assert flow.calls", "c o n f r m a e"),
        ("torch.testing.assert_close(flow.sample(2, seed=5), x[2:], rtol=1e-5, atol=1e-5)", "pass", "c o n f r m a e"),
        ("assert end.requires_grad", "assert end is not None", "c o n f r m a e"),
        ("off = (covariance - wanted).abs()", "off = 0 * covariance", "c o n f r m a e"),
    ],
}

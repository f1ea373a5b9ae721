"""One ingredient of the prior dropped or shifted at a time, at equal budgets of tasks; see `benchmarks/ablation.md`."""

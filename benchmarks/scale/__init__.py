"""Past one machine's memory or cores: what Ray costs and brings, measured; benchmarks/scale.md gathers it."""

"""Networks and ingredients raced against each other at an equal, small budget; see `benchmarks/race.md`."""

"""What an analysis returns: estimates, intervals, diagnostics, plans, and how they are shown."""

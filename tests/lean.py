"""Imported first in processes of tests: nothing that they import is garbage, neither meanwhile nor when they end.

With torch, scikit-learn and transformers a new interpreter takes 3.3 s so, 4.9 s else, of which 1.0 to end.
"""

BEGIN = "import atexit, gc; gc.set_threshold(20_000, 10, 10); atexit.register(gc.freeze)\n"  # before the code of others
exec(BEGIN)

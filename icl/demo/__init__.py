"""The demonstration behind `icl demo`: real tables, hidden labels, and what can be said about them."""

from icl.demo.run import Demonstration, run_demo

__all__ = ["Demonstration", "run_demo"]

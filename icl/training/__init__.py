"""Pretraining: the stream of synthetic tasks, the Lightning modules, what they log and what they leave."""

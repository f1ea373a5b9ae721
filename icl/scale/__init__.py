"""Folders of Parquet shards, and the engines that work on them: this process, or the workers of Ray."""

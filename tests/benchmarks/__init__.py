"""What the README claims about speed, measured beside its peer in one run: ``python -m tests.benchmarks``."""

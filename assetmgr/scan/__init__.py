"""Reads what a project says of models and datasets, and drafts a manifest of it. Nothing is imported or run.

`walking` finds the files, `documents` takes the Python out of pages and notebooks, `python_calls` and `lavis_config`
find what is used, and `draft` decides what of it is certain enough to declare.
"""

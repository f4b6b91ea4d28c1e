"""The commands: a file a family, with what each takes and what it does."""

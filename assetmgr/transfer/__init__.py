"""Moves bytes from a source to a partial file: bounded, patient, hashing as it goes. Nothing else does."""

"""What other tools have on this machine already: their caches, looked into before anything is fetched.

A cache is somebody else's: it is read, and linked to, and never written, changed, locked or removed. Nothing of it is
believed either: a name and a size only say what is worth hashing.
"""

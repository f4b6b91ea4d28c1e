"""Moves bytes from a source to a partial file: bounded, patient, hashing as it goes. Nothing else does.

``engine`` fetches many files, ``fetch`` one. Beneath: ``gather`` holds the state of one file, ``segments`` its further
connections, ``pieces`` who takes what, ``journal`` what survives a kill, ``follower`` the hashing; ``wire`` asks a
source, over ``connection`` or, through a proxy, ``proxied``.
"""

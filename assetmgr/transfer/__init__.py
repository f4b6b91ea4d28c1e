"""Moves bytes from a source to a partial file: bounded, patient, hashing as it goes. Nothing else does.

``engine`` fetches many files with a ``crew`` of threads, ``fetch`` one of them: a ``small`` one in memory; of a larger
one ``gather`` holds the state, ``segments`` its further connections and ``growth`` how many there are, ``pieces`` who
takes what, ``journal`` what survives a kill, ``follower`` the hashing. ``wire`` asks a source, by ``http1`` over a kept
``connection`` or, through a proxy, ``proxied``.
"""

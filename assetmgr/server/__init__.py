"""The lab mirror: the hub's own protocol, blobs by sha256 and whole assets, out of one store, read-only.

Only what a receipt names is given out, and only while it fits its stamp. One thread turns events into requests and
answers what is small and known (`assetmgr.server.loop`); all else has a thread for as long as it takes
(`assetmgr.server.crew`), where the kernel sends files by itself. What is asked for is decided without sockets: a
request is parsed strictly (`assetmgr.server.requests`), routed (`assetmgr.server.routes`) and becomes an answer.
"""

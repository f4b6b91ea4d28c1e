"""What `assetmgr run` adds to every Python: run at its start, in whatever Python 3 the command uses.

An older Python is left as it is. A ``sitecustomize`` that this one hides is run after it.
"""

import importlib.machinery
import os
import sys

if sys.version_info >= (3, 8):
    try:
        import assetmgr_hook  # type: ignore[import-not-found]

        assetmgr_hook.start()
    except Exception as error:  # noqa: BLE001 - whatever is wrong here, the user's program runs, and is told
        sys.stderr.write("assetmgr run: the start-up hook failed: %r\n" % (error,))

_here = os.path.realpath(os.path.dirname(__file__))
_spec = importlib.machinery.PathFinder.find_spec(
    "sitecustomize", [path for path in sys.path if os.path.realpath(path) != _here]
)
if _spec is not None and _spec.loader is not None:
    import importlib.util

    # It takes this one's place, as if it had been found first; what it raises is told by `site`, as ever.
    sys.modules["sitecustomize"] = _module = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(_module)

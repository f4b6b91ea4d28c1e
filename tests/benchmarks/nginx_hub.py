"""A hub served by nginx: so that neither side of a benchmark waits for a server in Python."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from assetmgr.digests import hash_file
from tests.transfer.nginx import running

COMMIT = "a" * 40


@contextlib.contextmanager
def served(place: Path, **repos: Path) -> Iterator[str]:
    """Serve folders as models ``bench/NAME``, every file with its sha256; give the endpoint."""
    directives = ["etag off;", "keepalive_timeout 60;"]
    for name, folder in repos.items():
        rows = []
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            size, digests = hash_file(path)
            relative, sha256 = path.relative_to(folder).as_posix(), digests["sha256"]
            rows.append(
                {
                    "type": "file",
                    "oid": sha256[:40],
                    "size": size,
                    "path": relative,
                    "lfs": {"oid": sha256, "size": size, "pointerSize": 130},
                }
            )
            directives.append(
                f"location = /bench/{name}/resolve/{COMMIT}/{relative} {{ alias {path}; "
                f"add_header ETag '\"{sha256}\"'; add_header X-Repo-Commit {COMMIT}; }}"
            )
        documents = place / f"documents-{name}"
        documents.mkdir(parents=True)
        siblings = [{"rfilename": row["path"]} for row in rows]
        (documents / "info.json").write_text(json.dumps({"id": f"bench/{name}", "sha": COMMIT, "siblings": siblings}))
        (documents / "tree.json").write_text(json.dumps(rows))
        directives += [
            f"location = /api/models/bench/{name}/revision/main {{ alias {documents}/info.json; }}",
            f"location = /api/models/bench/{name}/tree/{COMMIT} {{ alias {documents}/tree.json; }}",
        ]
    with running(place, "\n".join(directives)) as nginx:
        yield nginx.url

"""Every environment variable that has a meaning here: the one table that help and README show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Variable(NamedTuple):
    """Names that mean one thing, and what they do."""

    names: tuple[str, ...]
    meaning: str


OURS: Sequence[Variable] = (
    Variable(("ASSETMGR_ROOT",), "the store, where --root names none"),
    Variable(("ASSETMGR_MANIFEST",), "the manifests, where --manifest names none; several are separated as in PATH"),
    Variable(("ASSETMGR_MIRRORS",), "mirrors, asked after those of --mirror; separated by blanks"),
    Variable(("ASSETMGR_MIRROR_TOKENS",), "tokens for mirrors that ask for one: ADDRESS TOKEN, separated by blanks"),
    Variable(
        ("ASSETMGR_LOCAL_CACHES",),
        "more folders to look into before fetching, separated as in PATH; off: none at all",
    ),
    Variable(("ASSETMGR_SERVE_TOKEN",), "the token that `serve` asks for, where its options name none"),
    Variable(("ASSETMGR_LIMIT_RATE",), "bytes a second for a whole run, where --limit-rate says nothing: 20M"),
    Variable(("ASSETMGR_TRANSPORT",), "how a hub's bytes are moved, over every manifest: auto, direct or snapshot"),
    Variable(
        ("ASSETMGR_IMG2DATASET_PYTHON",), "the Python that has img2dataset, for url_list: by default assetmgr's own"
    ),
    Variable(("ASSETMGR_SPARK_MASTER",), "the Spark cluster for `distributor: pyspark`: by default this machine"),
    Variable(("ASSETMGR_LAVIS_PYTHON",), "the Python that runs a LAVIS script: by default assetmgr's own"),
)
OTHERS: Sequence[Variable] = (
    Variable(("HF_ENDPOINT",), "the hub, where a manifest names none; else https://huggingface.co"),
    Variable(("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"), "the token for that hub, and for no other"),
    Variable(("HF_TOKEN_PATH", "HF_HOME"), "where `hf auth login` keeps the token"),
    Variable(
        ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_RUNTIME_DIR"),
        "where `podman login` and `docker login` keep the logins of registries",
    ),
    Variable(("HF_HUB_DISABLE_IMPLICIT_TOKEN",), "1: the token is sent to nobody"),
    Variable(
        ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE", "TORCH_HOME"),
        "other tools' caches, looked into before fetching, and by `whereis`",
    ),
    Variable(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"), "1: never ask the network, as --offline"),
    Variable(("HF_HUB_DISABLE_XET",), "1: large files of a hub do not come over Xet"),
    Variable(("HF_HUB_DOWNLOAD_TIMEOUT",), "seconds that the snapshot transport waits for a server"),
    Variable(("NETRC",), "logins for hosts, where they are not in ~/.netrc"),
    Variable(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"), "proxies, in capitals or not"),
    Variable(
        ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
        "certificates to believe, the first that is set; else certifi's",
    ),
    Variable(("HF_HUB_ENABLE_HF_TRANSFER",), "1: what fails without hf_transfer, says `doctor`; assetmgr needs none"),
    Variable(
        ("CUDA_VISIBLE_DEVICES", "CUDA_HOME", "CUDA_PATH", "CONDA_PREFIX", "LD_LIBRARY_PATH", "BNB_CUDA_VERSION"),
        "what CUDA's libraries are found by: looked at by `doctor` alone",
    ),
    Variable(("XDG_CACHE_HOME", "LOCALAPPDATA"), "the user's cache folder, with the store where nothing names one"),
    Variable(("NO_COLOR",), "set to anything: no colours"),
    Variable(("CLICOLOR",), "0: no colours"),
    Variable(("TERM",), "dumb: neither colours nor bars"),
)


def table() -> str:
    """All of them, as plain text."""
    lines = []
    for title, variables in (("of assetmgr", OURS), ("of others", OTHERS)):
        lines.append(f"{title}:")
        for one in variables:
            lines += [f"  {name}" for name in one.names[:-1]]
            last = one.names[-1]
            lines.append(f"  {last:<24}  {one.meaning}" if len(last) <= 24 else f"  {last}\n{'':28}{one.meaning}")
        lines.append("")
    return "\n".join(lines).rstrip()

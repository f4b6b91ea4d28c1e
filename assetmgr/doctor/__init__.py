"""Is this machine ready? One check a function; each says what is well, what is not, and what mends it.

Nothing that may be broken is imported here: a check reads metadata and files, or asks a child that has so many seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from assetmgr.doctor.cuda_libraries import check_cuda_libraries, check_search_paths
from assetmgr.doctor.driver import check_driver, check_gpus
from assetmgr.doctor.evidence import Evidence
from assetmgr.doctor.finding import Examination, Finding, exit_code
from assetmgr.doctor.libraries import check_extras, check_imports, check_python, check_versions
from assetmgr.doctor.logins import check_token
from assetmgr.doctor.machine import Machine, Wanted
from assetmgr.doctor.quantising import check_leftovers, check_native_library
from assetmgr.doctor.storing import check_disk, check_sharing, check_store
from assetmgr.doctor.variables import check_caches, check_network_variables

__all__ = ["CHECKS", "Examination", "Finding", "Machine", "Wanted", "examine", "exit_code"]

# In the order in which they are told. A new check is a function here.
CHECKS: Sequence[Callable[[Evidence], Iterable[Finding]]] = (
    check_store,
    check_disk,
    check_sharing,
    check_caches,
    check_network_variables,
    check_token,
    check_python,
    check_driver,
    check_gpus,
    check_cuda_libraries,
    check_search_paths,
    check_imports,
    check_versions,
    check_leftovers,
    check_native_library,
    check_extras,
)


def examine(machine: Machine) -> list[Finding]:
    """What all checks find. A check that fails itself is a finding too."""
    found: list[Finding] = []
    with Evidence(machine) as evidence:
        for check in CHECKS:
            try:
                found += check(evidence)
            except Exception as error:  # noqa: BLE001 - the doctor goes on, whatever it meets
                name = check.__name__.removeprefix("check_").replace("_", " ")
                found.append(Finding("warning", name, f"cannot be told: {type(error).__name__}: {error}"))
    return found

"""A registry's tag over what was pushed there: with it, what lies in the registry is a bundle."""

from __future__ import annotations

from collections.abc import Sequence

from assetmgr.bundle.image import image
from assetmgr.carried import carriage
from assetmgr.mirrors.pushing import HeldFile, PushReport, PushTarget
from assetmgr.mirrors.registry_target import RegistryTarget
from assetmgr.receipt import Receipt
from assetmgr.reporting import Reporter


def tag(
    target: PushTarget, receipts: Sequence[Receipt], files: Sequence[HeldFile], report: PushReport, reporter: Reporter
) -> None:
    """Let the target's tag name assets, all of whose files were pushed. What is not whole gets no tag."""
    if not isinstance(target, RegistryTarget) or not receipts:
        return
    if report.errors:
        reporter.say(f"{report.target}: the tag stays as it was: not everything could be pushed")
        return
    made = image(carriage(receipts), {file.sha256: file.size for file in files})
    target.tag([made.config], made.manifests, made.named)

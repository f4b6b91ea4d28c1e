"""Every form of LAVIS's datasets, by name; see `forms`."""

from __future__ import annotations

from collections.abc import Mapping

from tests.lavis.forms import IMAGES, Form
from tests.lavis.video_forms import VIDEOS

FORMS: Mapping[str, Form] = {**IMAGES, **VIDEOS}

"""How many examples hypothesis tries: as many as are worth it in CI, fewer where somebody waits."""

from __future__ import annotations

from hypothesis import settings


def examples(in_ci: int) -> int:
    """CI=true says that this is CI, to hypothesis as well: its own profile of that name is the one that is on then."""
    return in_ci if settings.get_current_profile_name() == "ci" else max(10, in_ci // 12)

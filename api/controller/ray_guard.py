"""Nothing is launched on a Ray cluster that takes jobs from anybody.

Whoever reaches the job API of a Ray cluster without a token runs code on it, and `ray start` asks for none unless
it is told to.  So the controller asks as a stranger, and only a refusal will do.
"""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request

from api.settings import Settings

TIMEOUT = 5.0
GOOD_FOR = 60.0  # seconds that a refusal is believed
REFUSED = (401, 403)
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class RayGuard:
    """Whether drivers may be launched, as far as Ray is concerned."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._refused_at: float | None = None

    def objection(self) -> str | None:
        """Why nothing may be launched; None where that is fine."""
        settings = self.settings
        if settings.backend != "ray" or settings.ray_address is None:
            return None  # a cluster that a driver starts for itself listens on loopback only
        if settings.ray_dashboard_url is None:
            return "GRISTMILL_RAY_DASHBOARD_URL is not set, so nobody knows whether the cluster refuses strangers"
        if self._refused_at is not None and time.monotonic() - self._refused_at < GOOD_FOR:
            return None
        objection = _ask_as_a_stranger(settings.ray_dashboard_url)
        self._refused_at = time.monotonic() if objection is None else None
        return objection


def _ask_as_a_stranger(url: str) -> str | None:
    """Ask the job API without a token; None if it refuses."""
    try:
        with _DIRECT.open(f"{url.rstrip('/')}/api/jobs/", timeout=TIMEOUT) as answer:
            status = int(answer.status)
    except urllib.error.HTTPError as error:
        status = error.code
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"Ray's job API at {url} cannot be asked ({type(error).__name__}), so nobody knows whether it is open"
    if status in REFUSED:
        return None
    return (
        f"Ray's job API at {url} answers strangers (status {status}): start the cluster with RAY_AUTH_MODE=token, or "
        "whoever reaches it runs code on it"
    )

"""The service from Python: ``Client().runs.submit(recipe="crawl", inputs=["crawl:*.warc.gz"])``.

Answers are plain data, as the API's description has them.  Nothing of the service itself is loaded.
"""

from __future__ import annotations

from api.client.client import Client
from api.client.download import DownloadError
from api.client.errors import NotFinishedError, ServiceError, UnreachableError

__all__ = ["Client", "DownloadError", "NotFinishedError", "ServiceError", "UnreachableError"]

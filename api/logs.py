"""Log lines as JSON, one a line, without secrets."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from api.redaction import redact


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"at": moment, "level": record.levelname.lower(), "from": record.name, "said": record.getMessage()}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(redact(line), ensure_ascii=True)

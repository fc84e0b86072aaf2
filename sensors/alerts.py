"""Telling people: in the log, to `$CLINICAL_ALERT_WEBHOOK` where one is set, and as counts that Prometheus reads.

Never with patients' data. `clinical exporter` shows the counts as `clinical_alerts_total`.
"""

import json
import logging
import os
import time
import urllib.request
from pathlib import Path

from clinical_assets.foundation.files import write_atomic
from clinical_assets.foundation.home import Home
from clinical_assets.foundation.locks import exclusive
from clinical_assets.monitoring.surroundings import GIVEN


def alert(log: logging.Logger, what: str, **facts: str) -> None:
    """A webhook that does not answer is logged too, and stops nothing."""
    message = {"what": what, **facts}
    log.error(f"{what}: {json.dumps(facts)}")
    _count(Home.from_env().root / "metrics", what, facts.get("cancer", ""))
    webhook = os.environ.get("CLINICAL_ALERT_WEBHOOK")
    if not webhook:
        return
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(webhook, json.dumps(message).encode(), headers, method="POST")
    try:
        urllib.request.urlopen(request, timeout=10).close()
    except OSError as error:
        log.error(f"the alert webhook does not take the message: {error}")


def _count(directory: Path, what: str, cancer: str) -> None:
    """Add one to the counter of this alert; the counts outlive the process."""
    directory.mkdir(parents=True, exist_ok=True)
    kept = directory / GIVEN
    with exclusive(directory / "alerts.lock"):
        rows = json.loads(kept.read_text()) if kept.exists() else []
        counts = {(row["what"], row["cancer"]): row for row in rows}
        before = counts.get((what, cancer), {"count": 0})
        counts[what, cancer] = {"what": what, "cancer": cancer, "count": before["count"] + 1, "latest": time.time()}
        write_atomic(kept, json.dumps([counts[key] for key in sorted(counts)], indent=1).encode())

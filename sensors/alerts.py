"""Telling people: in the log, to `$CLINICAL_ALERT_WEBHOOK` where one is set, and as counts that Prometheus reads.

Never with patients' data. `metrics/alerts.prom` in the state directory is for node_exporter's textfile collector.
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
    kept = directory / "alerts.json"
    with exclusive(directory / "alerts.lock"):
        counts: dict[str, list[float]] = json.loads(kept.read_text()) if kept.exists() else {}
        labels = f'what="{what}",cancer="{cancer}"'
        counts[labels] = [counts.get(labels, [0, 0])[0] + 1, time.time()]
        write_atomic(kept, json.dumps(counts).encode())
        lines = ["# HELP clinical_alerts_total Alerts given to people.", "# TYPE clinical_alerts_total counter"]
        lines += [f"clinical_alerts_total{{{labels}}} {n:.0f}" for labels, (n, _) in sorted(counts.items())]
        lines += [
            "# HELP clinical_alert_timestamp_seconds Latest alert.",
            "# TYPE clinical_alert_timestamp_seconds gauge",
        ]
        lines += [
            f"clinical_alert_timestamp_seconds{{{labels}}} {at:.3f}" for labels, (_, at) in sorted(counts.items())
        ]
        write_atomic(directory / "alerts.prom", ("\n".join(lines) + "\n").encode())

"""Telling people: in the log, and to `$CLINICAL_ALERT_WEBHOOK` where one is set. Never with patients' data."""

import json
import logging
import os
import urllib.request


def alert(log: logging.Logger, what: str, **facts: str) -> None:
    """A webhook that does not answer is logged too, and stops nothing."""
    message = {"what": what, **facts}
    log.error(f"{what}: {json.dumps(facts)}")
    webhook = os.environ.get("CLINICAL_ALERT_WEBHOOK")
    if not webhook:
        return
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(webhook, json.dumps(message).encode(), headers, method="POST")
    try:
        urllib.request.urlopen(request, timeout=10).close()
    except OSError as error:
        log.error(f"the alert webhook does not take the message: {error}")

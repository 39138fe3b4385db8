"""The bot's certificate: how long the service will still take it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from bot.findings import Finding

NOTED_DAYS = 30
_CURE = (
    "Renew it: upload the new certificate to the app's registration, then put the new PEM file in the place of "
    "MICROSOFT_APP_CERTIFICATE."
)


def lasting(subject: str, file: Path, now: float) -> list[Finding]:
    """What its dates say; `now` in seconds since the epoch. A file that cannot be read is for whoever signs with it."""
    try:
        certificate = x509.load_pem_x509_certificates(file.read_bytes())[0]
    except (OSError, ValueError, IndexError):
        return []
    moment, ends = datetime.fromtimestamp(now, UTC), certificate.not_valid_after_utc
    begins = certificate.not_valid_before_utc
    if moment >= ends:
        return [Finding(subject, "problem", f"The bot's certificate ended on {ends:%Y-%m-%d}.", _CURE)]
    if moment < begins:
        words = f"The bot's certificate holds only from {begins:%Y-%m-%d %H:%M} UTC on."
        return [Finding(subject, "problem", words, "Wait for that, or set this machine's clock right.")]
    days = (ends - moment).days
    if days < NOTED_DAYS:
        return [Finding(subject, "note", f"The bot's certificate ends in {days} days, on {ends:%Y-%m-%d}.", _CURE)]
    return []

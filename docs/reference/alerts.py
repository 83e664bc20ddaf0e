"""Every alert, from config/prometheus/alerts.yml."""

import yaml

from docs.reference.markdown import code, plain, table
from docs.reference.modules import ROOT

FILE = ROOT / "config/prometheus/alerts.yml"


def alerts() -> str:
    """A table: how bad it is, and what to do. What Prometheus fills in stands as its name."""
    return table(
        ["alert", "how bad", "for", "what it means, and what to do"],
        [
            (
                code(rule["alert"]),
                rule["labels"]["severity"],
                rule.get("for", ""),
                plain(f"{rule['annotations']['description']}"),
            )
            for group in yaml.safe_load(FILE.read_text())["groups"]
            for rule in group["rules"]
        ],
    )

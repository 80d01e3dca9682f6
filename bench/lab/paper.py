"""Figures of the paper that a report compares with (Narasimhan et al., ICLR 2025, arXiv 2405.19261; T5 v1.1
pairs fine-tuned per task, TPUv4, batch 1, gamma 5, T = 1)."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

DEVICE = "TPUv4"


@dataclass(frozen=True)
class Claim:
    """reduction: latency at the verifier's quality, SpecCascade[Token]. best: quality within its latency."""

    task: str
    data: str
    pair: str
    reduction: float | None
    best: float | None
    metric: str


CLAIMS = (
    Claim("translation", "WMT EN-DE", "T5 small → large", 1.95, 22.50, "BLEU"),
    Claim("translation", "WMT EN-DE", "T5 small → XL", 2.61, None, "BLEU"),
    Claim("xsum", "XSum", "T5 small → large", None, 15.85, "ROUGE-2"),
    Claim("cnn-dm", "CNN/DailyMail", "T5 small → large", None, 12.63, "ROUGE-2"),
)

# in the name of a file of the same set
DATA_WORD = {"translation": "newstest", "xsum": "xsum", "cnn-dm": "cnn"}


def same(claim: Claim, identity: dict[str, Any], machine: str) -> tuple[str, str, str]:
    """Answers to: same pair? same data? same device?"""
    files = ", ".join(name.split(":", 1)[1] for name in identity["data"])
    set_is = DATA_WORD[claim.task] in files.lower()
    return (f"no: {' ← '.join(identity['setting']['paths'])}",
            f"same set, the sample may differ: {files}" if set_is else f"no: {files}",
            f"no: {machine}")

"""What ./make.sh demo measures, with the lab: a setting for this machine, and its quality and speed.

    measure.py choose FOLDER [OPTION...]    FOLDER/profile.json and FOLDER/words: the setting of weir tune
    measure.py compare FOLDER [OPTION...]   FOLDER/rows: that setting beside the verifier, `exact` and the
                                            drafter, as table.awk reads it, on other draws than the choice

Run at the top of the tree with bench/ on PYTHONPATH. OPTION: of every `weir generate` (--isa avx2). Exit
status 1 with one line on standard error.
"""
from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from lab.analysis import COLUMN, Measured, analyse, interval, ratio
from lab.errors import LabError
from lab.grid import Plan, Point, point_of
from lab.sweep import run_plan
from lab.tune import Budget, NoSetting, profile_of, tune, write_profile

# The candidates. Rules that lost on this pair at every α are left out (bench/results/demo); the search is
# weir tune's.
RULES: dict[str, Any] = {"exact": None,
                         "token-v2": [0.1, 0.2, 0.3, 0.4, 0.5],
                         "token-v3": [0.2, 0.5, 0.8, 0.95]}
GAMMAS = [1, 3, 5, "auto"]
PROMPTS = 300
MAX_LOSS = 1.0          # BLEU
SEEDS = [1]             # of the choice
FRESH_SEEDS = [2, 3]    # of the comparison: the best of many is partly luck, which other draws show
SECONDS = 8.0           # after which the comparison begins with no other seed


def plan_of(options: list[str]) -> Plan:
    return Plan(limit=PROMPTS, gammas=list(GAMMAS), seeds=list(SEEDS), rules=dict(RULES), flags=options)


def quietly() -> Any:
    """Without the lab's own lines of progress. Errors are exceptions."""
    return contextlib.redirect_stderr(io.StringIO())


def name_of(point: Point) -> str:
    """For the table: rule, α, γ."""
    if point.method != "speculative":
        return f"{point.method} alone"
    return ", ".join([point.rule or "", *([f"α {point.alpha:g}"] if point.alpha is not None else []),
                      f"γ {point.gamma}"])


def choose(plan: Plan, folder: Path, tell: Any) -> None:
    """Profile and words: on one line the setting, on the next why tune would write no profile, if so."""
    try:
        with quietly():
            profile = tune(plan, Budget(MAX_LOSS, None), folder / "choice.jsonl", tell)
        words = [name_of(setting_of(profile))]
    except NoSetting as e:
        profile = profile_of(e.best, {"faster": False})
        words = [name_of(e.best), str(e).removesuffix("; no profile is written")]
    write_profile(profile, folder / "profile.json")
    (folder / "words").write_text("\n".join(words) + "\n", encoding="utf-8")


def setting_of(profile: dict[str, Any]) -> Point:
    """The point that a profile of `choose` names."""
    return point_of({"rule": profile["deferral_rule"], "alpha": profile.get("deferral_alpha"),
                     "gamma": profile["num_speculative_tokens"]})


def row_of(m: Measured, verifier: Measured, kind: str) -> list[str]:
    """A row of table.awk, whose head has the columns."""
    loss = m.figures["bleu"] - verifier.figures["bleu"]
    apart = interval(m.replicates["bleu"] - verifier.replicates["bleu"])
    low, high = m.interval("latency")
    sums, base = m.sums.sum(axis=0), verifier.sums.sum(axis=0)
    speed = 1000.0 * ratio(sums[COLUMN["tokens"]], sums[COLUMN["ms"]])
    token = ratio(base[COLUMN["decode_ms"]], base[COLUMN["tokens"]])
    block = ratio(ratio(sums[COLUMN["decode_ms"]], sums[COLUMN["steps"]]), token)
    per_block = ratio(sums[COLUMN["tokens"]], sums[COLUMN["steps"]])
    figures = (m.figures["bleu"], loss, *apart, speed, 1.0 / m.figures["latency"], 1.0 / high, 1.0 / low,
               block, per_block)
    return [kind, name_of(m.point), *(f"{x:.4f}" if x == x else "-" for x in map(float, figures))]


def compare(plan: Plan, folder: Path) -> None:
    said = json.loads((folder / "profile.json").read_text(encoding="utf-8"))
    chosen = setting_of(said)
    exact = Point(rule="exact", gamma=chosen.gamma)
    only = list(dict.fromkeys([exact, chosen, Point(method="drafter")]))
    store, start = folder / "comparison.jsonl", time.monotonic()
    for seed in FRESH_SEEDS:
        with quietly():
            run_plan(replace(plan, seeds=[seed], only=only), store)
        if time.monotonic() - start > SECONDS:
            break
    measured = {m.point: m for m in analyse(store, n_metric=1).points}
    verifier = measured[chosen.beside()]
    rows = [row_of(verifier, verifier, "verifier")]
    rows += [row_of(measured[p], verifier, "chosen" if p == chosen else p.rule or p.method) for p in only]
    (folder / "rows").write_text("".join("\t".join(r) + "\n" for r in rows), encoding="utf-8")


def main(argv: list[str]) -> int:
    command, folder, *options = argv
    width = 100

    def tell(line: str) -> None:
        if sys.stdout.isatty():
            print(f"\r  {line[:width]:<{width}}", end="", flush=True)

    try:
        if command == "choose":
            choose(plan_of(options), Path(folder), tell)
        else:
            compare(plan_of(options), Path(folder))
    except LabError as e:
        print(f"demo: {e}", file=sys.stderr)
        return 1
    except OSError as e:
        print(f"demo: {e.filename or 'output'}: {e.strerror or e}", file=sys.stderr)
        return 1
    finally:
        if sys.stdout.isatty():
            print("\r" + " " * (width + 2) + "\r", end="", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

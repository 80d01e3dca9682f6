"""The lab's commands."""
from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.grid import Plan, Point, fill_plan, plan_from_yaml, rule_points


def option_pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"{text}: expected KEY=VALUE")
    return key, value


def rule_entry(text: str) -> tuple[str, dict[str, Any]]:
    """RULE[:ALPHA,ALPHA…[:BETA,BETA…]]; a range is LOW..HIGH/STEPS."""
    name, *knobs = text.split(":")
    spec: dict[str, Any] = {}
    for key, said in zip(("alpha", "beta"), knobs):
        if said:
            spec[key] = knob_values(said)
    if len(knobs) > 2 or not name:
        raise argparse.ArgumentTypeError(f"{text}: expected RULE[:ALPHAS[:BETAS]]")
    return name, spec


def knob_values(said: str) -> Any:
    try:
        if ".." in said:
            ends, steps = said.split("/")
            low, high = ends.split("..")
            return {"from": float(low), "to": float(high), "steps": int(steps)}
        return ["auto" if x == "auto" else float(x) for x in said.split(",")]
    except ValueError as e:
        raise argparse.ArgumentTypeError(f"{said}: expected numbers with commas, or LOW..HIGH/STEPS") from e


def add_plan_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("plan", nargs="?", type=Path, help="YAML of the sweep; flags win over it")
    p.add_argument("--task",
                   help="translation, xsum, cnn-dm, gsm8k, mbpp, humaneval, squad, webquestions, nq-open, "
                        "triviaqa, spec-bench, prompts (default translation)")
    p.add_argument("--data", action="append",
                   help="the task's file; repeat for a second one (default: the included sample)")
    p.add_argument("--limit", type=int, help="the first N prompts (default 0: all)")
    p.add_argument("--option", action="append", type=option_pair, default=[], metavar="KEY=VALUE",
                   help="of the task: shots, prefix, max_tokens, …")
    p.add_argument("-m", "--model", help="verifier (default the demo pair's)")
    p.add_argument("-md", "--model-draft", help="drafter (default the demo pair's)")
    p.add_argument("--rule", action="append", type=rule_entry, metavar="RULE[:ALPHAS[:BETAS]]",
                   help="repeatable; ALPHAS: 0.1,0.2 or 0..1/12")
    p.add_argument("--method", action="append", help="drafter: the drafter alone as a point")
    p.add_argument("--temp", help="comma-separated temperatures (default 1)")
    p.add_argument("--gamma", help="comma-separated, numbers or auto (default 5)")
    p.add_argument("--seed", help="comma-separated (default 1)")
    p.add_argument("-t", "--threads", type=int, help="of the program (default: its own)")
    p.add_argument("-np", "--parallel", type=int,
                   help="prompts at once; latencies are of batch 1 only with 1 (default 1)")
    p.add_argument("-c", "--ctx-size", type=int, help="of the program (default: its own)")
    p.add_argument("--modifier", action="append", type=option_pair, default=[], metavar="KEY=VALUE",
                   help="of every setting: top_k, top_p, min_p, exact_first, gate, bonus")
    p.add_argument("--flag", action="append",
                   help="passed to every process of the program; repeatable (--flag=--isa=avx2)")
    p.add_argument("--program", help="default build/weir")


def modifier(key: str, said: str) -> Any:
    """A modifier's value as a YAML file would give it."""
    if key in ("gate", "bonus"):
        return said
    if key == "block_verify":
        return said not in ("0", "false")
    try:
        return int(said) if key in ("top_k", "exact_first") else float(said)
    except ValueError as e:
        raise LabError(f"--modifier {key}={said}: expected a number") from e


def numbers(flag: str, said: str) -> list[float]:
    try:
        return [float(x) for x in said.split(",")]
    except ValueError as e:
        raise LabError(f"{flag} {said}: expected numbers with commas") from e


def plan_of(args: argparse.Namespace) -> Plan:
    plan = plan_from_yaml(args.plan) if args.plan else Plan()
    said: dict[str, Any] = {}
    for key, value in (("task", args.task), ("data", args.data), ("limit", args.limit), ("model", args.model),
                       ("draft", args.model_draft), ("threads", args.threads), ("parallel", args.parallel),
                       ("ctx_size", args.ctx_size), ("program", args.program), ("methods", args.method),
                       ("flags", args.flag)):
        if value is not None:
            said[key] = value
    for key, value in (("temperatures", args.temp), ("seeds", args.seed)):
        if value is not None:
            said[key] = numbers("--" + key[:-1], value)
    if args.gamma is not None:
        said["gammas"] = [part if part == "auto" else numbers("--gamma", part)[0]
                          for part in args.gamma.split(",")]
    if args.rule:
        said["rules"] = dict(args.rule)
    if args.option:
        said["options"] = {**plan.options, **dict(args.option)}
    if args.modifier:
        said["modifiers"] = {**plan.modifiers, **{k: modifier(k, v) for k, v in args.modifier}}
    return fill_plan(plan, said, "command line")


def sweep(args: argparse.Namespace) -> int:
    from lab.sweep import clock, run_plan

    plan = plan_of(args)
    done = run_plan(plan, args.out, args.fresh, args.workers)
    if done["answers"]:
        print(f"{args.out}: {done['answers']:.0f} answers in {clock(done['seconds'])}; the engine's share of "
              f"the time {100 * done['engine'] / done['seconds']:.0f}%", file=sys.stderr)
    else:
        print(f"{args.out}: complete, nothing to run", file=sys.stderr)
    return 0


def report(args: argparse.Namespace) -> int:
    from lab.report import write_report

    folder = args.out or args.store.with_suffix("")
    done = write_report(args.store, folder, "./make.sh lab " + " ".join(sys.argv[1:]), args.replicates)
    print(f"{done['page']}: {done['points']} settings", file=sys.stderr)
    return 0


def law_of(plan: Plan, rule: str, spec: dict[str, Any]) -> Point:
    """The point that a recording's texts are drawn from, under the plan's modifiers."""
    base = dict(plan.modifiers, temp=plan.temperatures[0], gamma=plan.gammas[0])
    laws = list(rule_points(rule, spec, base))
    if len(laws) != 1:
        raise LabError(f"--law {rule}: {len(laws)} settings; the texts of a recording are drawn from one")
    return laws[0]


def record(args: argparse.Namespace) -> int:
    from lab.replay import record as run

    plan = plan_of(args)
    n = run(plan, args.out, args.tail, law_of(plan, *args.law))
    print(f"{args.out}: {n} texts", file=sys.stderr)
    return 0


def replay(args: argparse.Namespace) -> int:
    from lab import replay as r
    from lab.report import markdown

    if args.against:
        found = r.against(Path(args.program or "build/weir"), args.recording, args.against, args.replicates)
        rows = [[d.point.title, f"{d.point.alpha:g}" if d.point.alpha is not None else "–",
                 str(d.point.gamma), d.figure, f"{d.run:.4f} ± {d.run_error:.4f}",
                 f"{d.estimate:.4f} ± {d.estimate_error:.4f}", d.kind, f"{d.z:+.1f}"]
                for d in found]
        print(markdown(["rule", "α", "γ", "figure", "run", "replay", "by", "z"], rows))
        for figure in ("rejection", "deferral", "acceptance", "calls_token", "length"):
            print(r.summary(found, figure))
        print("quality: a replay cannot know it; only a run can")
        return 0
    plan = plan_of(args)
    points = [p for p in plan.points() if p.method == "speculative"]
    started = time.monotonic()
    estimates = r.replay(plan.program, args.recording, points)
    out = args.out or args.recording.with_suffix(".csv")
    r.write_estimates(estimates, out)
    print(f"{out}: {len(estimates)} settings in {time.monotonic() - started:.1f} s", file=sys.stderr)
    return 0


def tune(args: argparse.Namespace) -> int:
    from lab import tune as t

    plan = plan_of(args)
    if not args.rule and not args.plan:
        plan.rules = dict(t.CANDIDATES)
    t.check_profile(args.out)
    profile = t.tune(plan, t.Budget(args.max_quality_loss, args.min_speedup), args.store or
                     args.out.with_suffix(".runs.jsonl"), lambda line: print(line, file=sys.stderr))
    t.write_profile(profile, args.out)
    print(f"{t.words(profile)}\nweir generate … --profile {args.out}")
    return 0


def distill(args: argparse.Namespace) -> int:
    import torch

    from lab.distill import run
    from lab.distill.models import shape_of
    from lab.distill.training import Recipe

    plan = plan_of(args)
    if args.parallel is None:
        plan.parallel = 32  # answers are only written, not timed
    if args.device == "cuda" and not torch.cuda.is_available():
        raise LabError("--device cuda: PyTorch finds no CUDA device")
    torch.set_flush_denormal(True)
    if args.threads:
        torch.set_num_threads(args.threads)
    recipe = Recipe(args.steps, args.kl, args.batch, args.rate, plan.temperatures[0], plan.seeds[0],
                    args.bf16)
    print(run.distil(run.Request(
        plan, args.out, args.work or args.out.with_name(args.out.name + ".work"), args.held_out, args.judged,
        shape_of(args.shape), args.keep, recipe, torch.device(args.device), args.fresh)))
    return 0


def share(said: str) -> float:
    value = float(said)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{said}: expected 0 to 1")
    return value


def positive(said: str) -> int:
    value = int(said)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{said}: expected at least 1")
    return value


def add_distill(commands: Any) -> None:
    d = commands.add_parser("distill", help="train a drafter on its verifier's words and laws (PyTorch)",
                            description="The verifier answers the prompts; the drafter (-md) is trained on "
                            "both models' laws at each token; weir judges it on held-out prompts. Run it "
                            "again to continue.")
    add_plan_options(d)
    d.add_argument("--out", type=Path, required=True, help="folder of the trained drafter")
    d.add_argument("--work", type=Path, help="folder of samples, laws, checkpoint (default: OUT.work)")
    d.add_argument("--held-out", type=Path, metavar="FILE",
                   help="the task's prompts to judge on (default: the last of --data, which are then not "
                        "trained on)")
    d.add_argument("--judged", type=positive, default=300, help="prompts to judge on (default 300)")
    d.add_argument("--shape", default="", metavar="enc=N,dec=N,d=N,ff=N,heads=N,kv=N",
                   help="another shape for a T5 drafter, which then starts from what -md computes")
    d.add_argument("--steps", type=positive, default=4000, help="of training (default 4000)")
    d.add_argument("--kl", type=share, default=0.25,
                   help="share of them that minimise the forward KL divergence; the others minimise the "
                        "total variation distance (default 0.25)")
    d.add_argument("--batch", type=positive, default=4096,
                   help="tokens of a step, of prompts and answers (default 4096)")
    d.add_argument("--rate", type=float, default=1e-3,
                   help="largest learning rate of Adam (default 1e-3; a drafter of a million parameters "
                        "learns faster at 4e-3)")
    d.add_argument("--keep", type=positive, default=64,
                   help="likeliest tokens of each of the verifier's laws that are kept (default 64)")
    d.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of PyTorch (default cpu)")
    d.add_argument("--bf16", action="store_true",
                   help="the verifier's laws and the head's gradient by products in bf16 (faster on GPUs and "
                        "on CPUs with AMX)")
    d.add_argument("--fresh", action="store_true", help="start over: drop what --work holds")
    d.set_defaults(run=distill)


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="lab",
                                description="Quality and cost of a pair of models under deferral rules.")
    commands = p.add_subparsers(required=True, metavar="COMMAND")

    s = commands.add_parser("sweep", help="run rules over prompts into a store; run again to continue")
    add_plan_options(s)
    s.add_argument("--out", type=Path, required=True, help="the store, a .jsonl")
    s.add_argument("--fresh", action="store_true", help="start over: drop what the store holds")
    s.add_argument("--workers", default="", metavar="WHERE",
                   help="local:N processes, ssh:HOST,HOST, slurm:KEY=VALUE,… or a Dask scheduler's tcp://… "
                        "(default: one process after another, here)")
    s.set_defaults(run=sweep)

    r = commands.add_parser("report", help="tables, CSV, pictures and a page of a store")
    r.add_argument("store", type=Path)
    r.add_argument("--out", type=Path, help="folder (default: the store's name without .jsonl)")
    r.add_argument("--replicates", type=int, default=1000, help="of the bootstrap (default 1000)")
    r.set_defaults(run=report)

    c = commands.add_parser("record", help="answer the prompts under one law, keeping what any rule needs")
    add_plan_options(c)
    c.add_argument("--out", type=Path, required=True, help="the recording, a .jsonl")
    c.add_argument("--law", type=rule_entry, default=("exact", {}), metavar="RULE[:ALPHA]",
                   help="the law that texts are drawn from (default exact)")
    c.add_argument("--tail", type=float, default=1e-3,
                   help="most mass of a row that is merged (default 1e-3; 0: none)")
    c.set_defaults(run=record)

    e = commands.add_parser("replay",
                            help="rejection, deferral and block lengths of any rules from a recording")
    e.add_argument("recording", type=Path)
    add_plan_options(e)
    e.add_argument("--out", type=Path, help="CSV (default: the recording's name)")
    e.add_argument("--against", type=Path, metavar="STORE", help="compare with the runs of a store instead")
    e.add_argument("--replicates", type=int, default=1000, help="of the runs' bootstrap (default 1000)")
    e.set_defaults(run=replay)

    u = commands.add_parser("tune",
                            help="pick rule, alpha and gamma within a budget; writes a profile for weir "
                                 "generate")
    add_plan_options(u)
    u.add_argument("--out", type=Path, required=True, help="the profile, a .json")
    u.add_argument("--store", type=Path, help="where its runs are kept (default: next to the profile)")
    u.add_argument("--max-quality-loss", type=float,
                   help="against the verifier, in points of the task's first metric")
    u.add_argument("--min-speedup", type=float, help="over the verifier")
    u.set_defaults(run=tune)

    add_distill(commands)
    return p


def remedy(args: argparse.Namespace) -> str:
    """For a Python that lacks a package: what installs it, and how another Python is named."""
    command, packages = ("lab distill", "distill_requirements.txt") if args.run is distill else \
                        ("lab", "requirements.txt")
    other = "weir tune --lab-python FILE" if args.run is tune else f"PYTHON=FILE ./make.sh {command}"
    return f"./make.sh {command} --help installs bench/lab/{packages}; {other} takes another Python"


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0; 1 with one line on standard error; 130 after Ctrl-C, with a valid store."""
    args = parser().parse_args(argv)
    try:
        return int(args.run(args))
    except LabError as e:
        print(f"lab: {e}", file=sys.stderr)
        return 1
    except ImportError as e:
        print(f"lab: {sys.executable}: {e}; {remedy(args)}", file=sys.stderr)
        return 1
    except OSError as e:
        print(f"lab: {e.filename or 'output'}: {e.strerror or e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nlab: interrupted; run the same command again to go on", file=sys.stderr)
        return 130

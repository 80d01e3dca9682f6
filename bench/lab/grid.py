"""What a sweep measures: points, from a YAML file or from flags."""
from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Iterable, Mapping

from lab.errors import LabError
from lab.files import read_text

METHODS = ("speculative", "verifier", "drafter", "token-cascade", "oracle-cascade", "sequence-cascade")


@dataclass(frozen=True)
class Point:
    """One setting of the program. Numbers that are None are the program's defaults, or have no meaning there.

    Whatever an input line can set goes into the line. method, gate, bonus and block_verify are flags of a
    process, so points that share them share a process (`process`), together with the verifier alone."""

    method: str = "speculative"
    rule: str | None = None
    alpha: float | None = None
    beta: float | str | None = None  # a number or "auto"
    gamma: int | str | None = None   # a number or "auto"
    temp: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    exact_first: int | None = None
    gate: str | None = None
    bonus: str | None = None
    block_verify: bool = False
    seq_confidence: str | None = None

    @property
    def process(self) -> tuple[str, ...]:
        """Flags of the process that answers it."""
        flags: list[str] = []
        if self.method not in ("speculative", "verifier"):
            flags += ["--method", self.method]
        for flag, value in (("--gate", self.gate), ("--bonus", self.bonus),
                            ("--seq-confidence", self.seq_confidence)):
            if value is not None:
                flags += [flag, value]
        if self.method == "sequence-cascade":
            flags.append(f"--deferral-alpha={self.alpha:g}")  # its threshold; a line has no field for it
        return (*flags, "--block-verify") if self.block_verify else tuple(flags)

    @property
    def curve(self) -> tuple[Any, ...]:
        """Everything but alpha: points of one curve share it."""
        return tuple(getattr(self, f.name) for f in fields(self) if f.name != "alpha")

    @property
    def key(self) -> str:
        """Its name in a store: the fields that are set."""
        said = [f"{f.name}={number(getattr(self, f.name))}" for f in fields(self)
                if f.name not in ("method", "block_verify") and getattr(self, f.name) is not None]
        return " ".join([self.method, *said, *(["block_verify"] if self.block_verify else [])])

    @property
    def title(self) -> str:
        """Short, for a table: the rule or method, then what differs from the paper's default."""
        name = self.rule if self.method == "speculative" and self.rule else self.method
        if self.method in ("token-cascade", "oracle-cascade") and self.rule:
            name = f"{self.method}[{self.rule}]"
        extras = [f"β = {number(self.beta)}"] if self.beta is not None else []
        extras += [f"{f} = {number(getattr(self, f))}"
                   for f in ("top_k", "top_p", "min_p", "exact_first", "gate", "bonus")
                   if getattr(self, f) is not None]
        extras += ["block-verify"] if self.block_verify else []
        return name + (f" ({', '.join(extras)})" if extras else "")

    def line(self) -> dict[str, Any]:
        """Fields of an input line of `weir generate`, other than prompt, seed, max_tokens and stop."""
        said: dict[str, Any] = {"temperature": self.temp}
        for name in ("top_k", "top_p", "min_p", "exact_first"):
            if getattr(self, name) is not None:
                said[name] = getattr(self, name)
        if self.method == "verifier":
            said["speculative"] = False
        if self.method == "speculative":
            said["num_speculative_tokens"] = self.gamma
        if self.rule is not None:
            said["deferral_rule"] = self.rule
            if self.alpha is not None:
                said["deferral_alpha"] = self.alpha
            if self.beta is not None:
                said["deferral_beta"] = self.beta
        return said

    def beside(self) -> Point:
        """The verifier alone in the same process, at the same temperature: the base of its latency."""
        return Point(method="verifier", temp=self.temp, top_k=self.top_k, top_p=self.top_p, min_p=self.min_p)


def number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def point_of(said: Mapping[str, Any]) -> Point:
    """The point that a record of a store names."""
    return Point(**{f.name: said[f.name] for f in fields(Point) if f.name in said})


def values_of(where: str, spec: Any) -> list[float]:
    """A number, a list of numbers, or {from, to, steps[, scale: log]}."""
    if isinstance(spec, Mapping):
        for key in spec:
            if key not in ("from", "to", "steps", "scale"):
                raise LabError(f"{where}: unknown field {key}; a range has from, to, steps, scale")
        try:
            low, high, steps = float(spec["from"]), float(spec["to"]), int(spec["steps"])
        except (KeyError, TypeError, ValueError) as e:
            raise LabError(f"{where}: a range needs the numbers from, to and steps") from e
        if steps < 2:
            raise LabError(f"{where}: {steps} steps, expected at least 2")
        scale = spec.get("scale", "linear")
        if scale == "log":
            if low <= 0 or high <= 0:
                raise LabError(f"{where}: a log scale needs ends above 0")
            return [math.exp(math.log(low) + i * (math.log(high) - math.log(low)) / (steps - 1))
                    for i in range(steps)]
        if scale != "linear":
            raise LabError(f"{where}: scale {scale}, expected linear or log")
        return [round(low + i * (high - low) / (steps - 1), 12) for i in range(steps)]
    items = spec if isinstance(spec, list) else [spec]
    if not items:
        raise LabError(f"{where}: an empty list")
    for item in items:
        if isinstance(item, bool) or not isinstance(item, (int, float)) or not math.isfinite(item):
            raise LabError(f"{where}: {item!r} is no number")
    return [float(x) for x in items]


def numbers_or_auto(where: str, spec: Any) -> list[float | str]:
    items = spec if isinstance(spec, list) else [spec]
    return list(itertools.chain.from_iterable(["auto"] if x == "auto" else values_of(where, x)
                                              for x in items))


def rule_points(rule: str, spec: Any, base: Mapping[str, Any]) -> Iterable[Point]:
    """The points of one entry under `rules`: {alpha, beta} over base (temperature, gamma, modifiers)."""
    spec = {} if spec is None else spec
    if isinstance(spec, (list, int, float)) and not isinstance(spec, bool):
        spec = {"alpha": spec}
    if not isinstance(spec, Mapping):
        raise LabError(f"rules.{rule}: expected alpha and beta, or a list of alphas")
    for key in spec:
        if key not in ("alpha", "beta", "method"):
            raise LabError(f"rules.{rule}: unknown field {key}; a rule has alpha, beta, method")
    method = spec.get("method", "speculative")
    if method not in METHODS:
        raise LabError(f"rules.{rule}: unknown method {method}; there are {', '.join(METHODS)}")
    alphas: list[float | None] = [None]
    betas: list[float | str | None] = [None]
    if spec.get("alpha") is not None:
        alphas = list(values_of(f"rules.{rule}.alpha", spec["alpha"]))
    if method == "sequence-cascade" and alphas == [None]:
        raise LabError(f"rules.{rule}: method sequence-cascade needs alpha, its threshold in nats")
    if spec.get("beta") is not None:
        betas = list(numbers_or_auto(f"rules.{rule}.beta", spec["beta"]))
    for alpha, beta in itertools.product(alphas, betas):
        settings = dict(base, method=method, rule=rule, alpha=alpha, beta=beta)
        if method != "speculative":
            settings["gamma"] = None
        yield Point(**settings)


MODIFIERS = ("top_k", "top_p", "min_p", "exact_first", "gate", "bonus", "block_verify")


@dataclass
class Plan:
    """A sweep: which pair, which task, which points. Paths are relative to where the lab was started."""

    model: Path = Path("models/demo/verifier")
    draft: Path | None = Path("models/demo/drafter")
    program: Path = Path("build/weir")
    task: str = "translation"
    data: list[Path] = field(default_factory=list)
    limit: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    temperatures: list[float] = field(default_factory=lambda: [1.0])
    gammas: list[int | str] = field(default_factory=lambda: [5])
    seeds: list[int] = field(default_factory=lambda: [1])
    rules: dict[str, Any] = field(default_factory=lambda: {"exact": None})
    methods: list[str] = field(default_factory=list)  # verifier-free baselines: drafter
    modifiers: dict[str, Any] = field(default_factory=dict)
    threads: int = 0
    parallel: int = 1
    ctx_size: int = 0
    flags: list[str] = field(default_factory=list)    # handed to every process of the program
    only: list[Point] | None = None  # these points and the verifier, in place of the rules' product

    def points(self) -> list[Point]:
        """All of them, the verifier alone at each temperature first; no point twice."""
        if self.only is not None:
            return list(dict.fromkeys([*(p.beside() for p in self.only), *self.only]))
        out: dict[Point, None] = {}
        shared = {k: v for k, v in self.modifiers.items() if k in ("top_k", "top_p", "min_p")}
        for temp in self.temperatures:
            out[Point(method="verifier", temp=temp, **shared)] = None
            for method in self.methods:
                out[Point(method=method, temp=temp, **shared)] = None
            for rule, spec in self.rules.items():
                for i, gamma in enumerate(self.gammas):
                    base = dict(self.modifiers, temp=temp, gamma=gamma)
                    for point in rule_points(rule, spec, base):
                        if point.gamma is not None or i == 0:
                            out[point] = None
        return list(out)


def plan_from_yaml(path: Path) -> Plan:
    """Unknown fields are refused, because a misspelt one would silently measure something else."""
    import yaml

    try:
        said = yaml.safe_load(read_text(path))
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise LabError(f"{where}: {getattr(e, 'problem', None) or e}") from e
    if not isinstance(said, dict):
        raise LabError(f"{path}: expected a mapping")
    return fill_plan(Plan(), said, str(path))


def fill_plan(plan: Plan, said: Mapping[str, Any], where: str) -> Plan:
    """Sets the given fields, after checking their types."""
    paths, lists = ("model", "draft", "program"), ("methods", "flags")
    for key, value in said.items():
        at = f"{where}: {key}"
        if key in paths:
            setattr(plan, key, Path(str(value)) if value is not None else None)
        elif key == "data":
            plan.data = [Path(str(v)) for v in (value if isinstance(value, list) else [value])]
        elif key == "temperatures":
            plan.temperatures = values_of(at, value)
        elif key == "gammas":
            plan.gammas = [v if v == "auto" else whole(at, float(v)) for v in numbers_or_auto(at, value)]
        elif key == "seeds":
            plan.seeds = [whole(at, v) for v in values_of(at, value)]
        elif key in ("limit", "threads", "parallel", "ctx_size"):
            setattr(plan, key, whole(at, values_of(at, value)[0]))
        elif key == "task":
            plan.task = str(value)
        elif key in ("rules", "options", "modifiers"):
            if not isinstance(value, Mapping):
                raise LabError(f"{at}: expected a mapping")
            setattr(plan, key, dict(value))
        elif key in lists:
            setattr(plan, key, [str(v) for v in (value if isinstance(value, list) else [value])])
        else:
            raise LabError(f"{where}: unknown field {key}; there are "
                           f"{', '.join(f.name for f in fields(Plan) if f.name != 'only')}")
    for key in plan.modifiers:
        if key not in MODIFIERS:
            raise LabError(f"{where}: modifiers: unknown field {key}; there are {', '.join(MODIFIERS)}")
    for method in plan.methods:
        if method not in ("drafter",):
            raise LabError(f"{where}: methods: {method}; only drafter runs without a rule beside the "
                           "verifier, the others are a rule's method")
    if plan.draft is None and (plan.rules or plan.methods):
        raise LabError(f"{where}: rules need a drafter: give draft")
    return plan


def whole(where: str, value: float) -> int:
    if value != int(value) or value < 0:
        raise LabError(f"{where}: {value:g} is no whole number of at least 0")
    return int(value)

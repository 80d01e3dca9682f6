"""The loop: batches in an order that seed and epoch decide, Adam, a cosine, checkpoints.

A checkpoint holds weights, moments and the number of steps. Nothing else is random or remembered: there is no
dropout, and the order of an epoch's batches is drawn from (seed, epoch) alone. So a run that was cut goes on
with the same bits, on a CPU with the same number of threads.
"""
from __future__ import annotations

import json
import math
import os
import pickle
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import torch
from transformers import PreTrainedModel

from lab.distill import models
from lab.distill.laws import Laws
from lab.distill.losses import HeadLoss
from lab.distill.samples import packed
from lab.errors import LabError
from lab.identity import difference
from lab.sweep import Progress

WINDOW = 8192         # samples that are sorted by length before batches are cut
WARM_UP = 100         # steps
CLIP = 1.0            # norm of a gradient
EVERY = 100           # steps of a mean in the history
SAVE_SECONDS = 60.0   # between two checkpoints


@dataclass(frozen=True)
class Recipe:
    """kl: share of the steps that minimise the forward KL divergence, the others the total variation. batch:
    tokens of a step, prompts and padding counted. rate: the largest learning rate."""

    steps: int
    kl: float
    batch: int
    rate: float
    temp: float
    seed: int
    half: bool

    @property
    def first_tv(self) -> int:
        """The first step that minimises the total variation."""
        return round(self.kl * self.steps)

    def loss(self, step: int) -> str:
        return "kl" if step < self.first_tv else "tv"

    def rate_at(self, step: int) -> float:
        """Linear warm-up, then half a cosine to zero."""
        if step < min(WARM_UP, self.steps):
            return self.rate * (step + 1) / min(WARM_UP, self.steps)
        return self.rate * 0.5 * (1 + math.cos(math.pi * step / self.steps))


def batches(laws: Laws, batch: int, seed: int, skip: int) -> Iterator[list[int]]:
    """Samples of each step, without end; the first `skip` steps are left out."""
    lengths = {m: (len(s.prompt), len(s.tokens)) for m, s in enumerate(laws.samples)}
    epoch = 0
    while True:
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(len(laws.samples)).tolist()
        cut = [b for at in range(0, len(order), WINDOW)
               for b in packed(lengths, order[at:at + WINDOW], batch)]
        for k in rng.permutation(len(cut)).tolist():
            if skip:
                skip -= 1
            else:
                yield cut[k]
        epoch += 1


class Training:
    """One drafter on its way. step: how many are done; history: (step, loss's name, loss, acceptance)."""

    def __init__(self, model: PreTrainedModel, laws: Laws, recipe: Recipe, path: Path,
                 identity: dict[str, Any]) -> None:
        self.model, self.laws, self.recipe, self.path = model, laws, recipe, path
        self.identity = {**identity, "recipe": asdict(recipe), "samples": len(laws.samples)}
        self.device = next(model.parameters()).device
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.rate, betas=(0.9, 0.98), eps=1e-9,
                                           weight_decay=0.0)
        self.step = 0
        self.history: list[tuple[int, str, float, float]] = []
        self.recent: list[tuple[float, float]] = []  # loss and acceptance of the steps after history's last

    def resume(self) -> None:
        """From the checkpoint, if there is one."""
        if not self.path.exists():
            return
        try:
            saved = torch.load(self.path, map_location=self.device, weights_only=True)
            if not isinstance(saved["identity"], dict):
                raise ValueError("no identity")
        except (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as e:
            raise LabError(f"{self.path}: broken checkpoint ({type(e).__name__}); --fresh starts over") from e
        changed = difference(saved["identity"], json.loads(json.dumps(self.identity)))
        if changed:
            raise LabError(f"{self.path}: made under another setting: {changed}; give another --work, or "
                           "--fresh to start over")
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step, self.history, self.recent = saved["step"], saved["history"], saved["recent"]

    def save(self) -> None:
        part = self.path.with_name(self.path.name + ".part")
        torch.save({"identity": self.identity, "step": self.step, "history": self.history,
                    "recent": self.recent,
                    "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}, part)
        os.replace(part, self.path)

    def once(self, members: list[int]) -> tuple[float, float]:
        """One step on the named samples: (loss, acceptance) before it."""
        recipe = self.recipe
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.rate_at(self.step)
        ids, p = self.laws.rows(members, self.device)
        states = models.states(self.model, [self.laws.samples[m] for m in members])
        loss, acceptance = HeadLoss.apply(states, models.head(self.model), ids, p, recipe.loss(self.step),
                                          recipe.temp, recipe.half)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        return loss.item(), acceptance.item()

    def run(self, save_seconds: float = SAVE_SECONDS,
            after: Callable[[int], None] = lambda step: None) -> None:
        """To the last step. after: called with the number of steps done. A run that is ended loses what came
        after its last checkpoint, and makes it again."""
        progress = Progress(self.recipe.steps, self.step, "steps")
        saved = time.monotonic()
        steps = batches(self.laws, self.recipe.batch, self.recipe.seed, self.step)
        while self.step < self.recipe.steps:
            name = self.recipe.loss(self.step)
            found = self.once(next(steps))
            if not math.isfinite(found[0]):
                raise LabError(f"step {self.step}: the loss is {found[0]}; try a smaller --rate")
            self.recent.append(found)
            loss, acceptance = np.mean(self.recent, 0).tolist()
            self.step += 1
            progress.step(f", {name} {loss:.4f}, acceptance {acceptance:.4f}")
            if self.step % EVERY == 0 or self.step in (self.recipe.first_tv, self.recipe.steps):
                self.history.append((self.step, name, loss, acceptance))
                self.recent = []
            if time.monotonic() - saved >= save_seconds or self.step == self.recipe.steps:
                self.save()
                saved = time.monotonic()
            after(self.step)

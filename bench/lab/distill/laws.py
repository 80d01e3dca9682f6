"""The verifier's law at each token of its samples: the likeliest K tokens, on disk, in the samples' order."""
from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from lab.distill import models
from lab.distill.samples import Sample, packed
from lab.errors import LabError
from lab.files import json_value
from lab.identity import difference
from lab.sweep import Progress

BLOCK = 2048   # samples between two writes
BATCH = 4096   # tokens of one pass, prompt and padding counted: larger ones leave a CPU's cache


class Laws:
    """Rows of all samples' tokens, one after another. start: (samples + 1) first row of each sample."""

    def __init__(self, folder: Path, samples: list[Sample], keep: int) -> None:
        self.samples, self.keep = samples, keep
        self.ids_path, self.p_path = folder / "laws.ids", folder / "laws.p"
        self.start = np.concatenate([[0], np.cumsum([len(s.tokens) for s in samples], dtype=np.int64)])

    def complete(self) -> int:
        """Samples whose rows are all on disk."""
        rows = min((p.stat().st_size // (self.keep * size) if p.exists() else 0)
                   for p, size in ((self.ids_path, 4), (self.p_path, 2)))
        return int(np.searchsorted(self.start, rows, side="right")) - 1

    def map(self) -> None:
        """For reading."""
        shape = (int(self.start[-1]), self.keep)
        self.ids = np.memmap(self.ids_path, np.int32, "r", shape=shape)
        self.p = np.memmap(self.p_path, np.float16, "r", shape=shape)

    def mass(self) -> float:
        """Mean probability of the kept tokens."""
        return float(np.mean([self.p[at:at + BLOCK].sum(-1, dtype=np.float64).mean()
                              for at in range(0, len(self.p), BLOCK)]))

    def rows(self, members: list[int], device: torch.device) -> tuple[Tensor, Tensor]:
        """Kept ids and probabilities (rows, K) of the samples' tokens, in order."""
        at = np.concatenate([np.arange(self.start[m], self.start[m + 1]) for m in members])
        return (torch.from_numpy(self.ids[at]).to(device, torch.int64),
                torch.from_numpy(self.p[at]).to(device, torch.float32))


def check(path: Path, identity: dict[str, Any], fresh: bool, files: list[Path]) -> None:
    """Refuses files that were made under another identity; drops those without one, or with fresh."""
    if fresh or not path.exists():
        for file in files:
            file.unlink(missing_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_text(json.dumps(identity))
        os.replace(part, path)
        return
    changed = difference(json_value(path), json.loads(json.dumps(identity)))
    if changed:
        raise LabError(f"{path}: made under another setting: {changed}; give another --work, or --fresh to "
                       "start over")


def write(verifier: PreTrainedModel, laws: Laws, temp: float, half: bool) -> None:
    """Goes on from the last whole block on disk, so that batches, and with them bits, are those of a run that
    was not cut. half: products in bf16."""
    done = laws.complete()
    if done == len(laws.samples):
        return
    done -= done % BLOCK
    device = next(verifier.parameters()).device
    head = models.head(verifier)
    progress = Progress(len(laws.samples), done, "laws")
    with open(laws.ids_path, "ab") as ids_file, open(laws.p_path, "ab") as p_file, torch.no_grad():
        ids_file.truncate(int(laws.start[done]) * laws.keep * 4)
        p_file.truncate(int(laws.start[done]) * laws.keep * 2)
        for begin in range(done, len(laws.samples), BLOCK):
            block = range(begin, min(len(laws.samples), begin + BLOCK))
            first = laws.start[begin]
            ids = np.empty((int(laws.start[block.stop] - first), laws.keep), np.int32)
            p = np.empty(ids.shape, np.float16)
            lengths = {m: (len(laws.samples[m].prompt), len(laws.samples[m].tokens)) for m in block}
            for members in packed(lengths, block, BATCH):
                at = np.concatenate([np.arange(laws.start[m], laws.start[m + 1]) for m in members]) - first
                with torch.autocast(device.type, torch.bfloat16, enabled=half):
                    logits = models.states(verifier, [laws.samples[m] for m in members]) @ head.T
                kept = torch.softmax(logits.float() / temp, -1).topk(laws.keep)
                ids[at], p[at] = kept.indices.cpu().numpy(), kept.values.cpu().numpy()
                for _ in members:
                    progress.step()
            ids_file.write(ids.tobytes())
            p_file.write(p.tobytes())
            ids_file.flush()
            p_file.flush()

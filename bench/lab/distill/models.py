"""Checkpoints as PyTorch modules: the states that the head reads, other shapes, saving as weir opens them."""
from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, Callable

import sentencepiece
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import (AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer,
                          PreTrainedModel)
from transformers.activations import NewGELUActivation

from lab.distill.samples import Sample
from lab.errors import LabError

# of --shape: the key of a T5 configuration, and the least value
SHAPE = {"enc": ("num_layers", 1), "dec": ("num_decoder_layers", 1), "d": ("d_model", 8), "ff": ("d_ff", 8),
         "heads": ("num_heads", 1), "kv": ("d_kv", 8)}


def shape_of(text: str) -> dict[str, int]:
    """"enc=4,dec=1,d=96,ff=256,heads=3,kv=32" as changes of a T5 configuration."""
    out: dict[str, int] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        if name not in SHAPE or not value.isdecimal() or int(value) < SHAPE[name][1]:
            raise LabError(f"--shape {part}: expected NAME=NUMBER of {', '.join(SHAPE)}")
        out[SHAPE[name][0]] = int(value)
    return out


def open_model(path: Path, device: torch.device) -> PreTrainedModel:
    """fp32 weights, no dropout."""
    try:
        config = AutoConfig.from_pretrained(path)
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model = kind.from_pretrained(path, dtype=torch.float32)
    except (OSError, ValueError, KeyError) as e:
        raise LabError(f"{path}: transformers cannot open it: {str(e).splitlines()[0]}") from e
    if getattr(config, "final_logit_softcapping", None):
        raise LabError(f"{path}: its logits are capped (final_logit_softcapping); "
                       "distilling cannot do that")
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):  # the same function, in one pass over memory
                setattr(module, name, nn.GELU(approximate="tanh"))
    return model.to(device).eval()


def prompt_reader(path: Path) -> Callable[[str], list[int]]:
    """The verifier's tokenizer. SentencePiece itself for T5: transformers rewrites its model for a fast
    tokenizer, which wants another package."""
    pieces = path / "spiece.model"
    try:
        if pieces.exists():
            t5 = sentencepiece.SentencePieceProcessor(model_file=str(pieces))
            return lambda text: t5.encode(text, add_eos=True)
        tokenizer = AutoTokenizer.from_pretrained(path)
        return lambda text: tokenizer(text)["input_ids"]
    except (OSError, ValueError) as e:
        raise LabError(f"{path}: its tokenizer cannot be opened: {str(e).splitlines()[0]}") from e


def end_of_text(model: PreTrainedModel) -> int:
    ids = model.config.eos_token_id
    return ids[0] if isinstance(ids, list) else ids


def padded(rows: list[list[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids (rows, longest), 0 where a row has ended, and a mask of 1 where it has not."""
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    return ids.to(device), (torch.arange(longest) < lengths[:, None]).long().to(device)


def states(model: PreTrainedModel, samples: list[Sample]) -> Tensor:
    """What the head reads to give the law of each answer's token: (tokens of all answers in order, d)."""
    device = next(model.parameters()).device
    if model.config.is_encoder_decoder:
        start = model.config.decoder_start_token_id
        prompt, prompt_mask = padded([s.prompt for s in samples], device)
        answer, mask = padded([[start, *s.tokens[:-1]] for s in samples], device)
        read = model.get_encoder()(input_ids=prompt, attention_mask=prompt_mask).last_hidden_state
        out = model.get_decoder()(input_ids=answer, encoder_hidden_states=read,
                                  encoder_attention_mask=prompt_mask, use_cache=False).last_hidden_state
        if model.config.tie_word_embeddings:
            out = out * model.config.d_model ** -0.5  # T5 scales what a tied head reads
        return out[mask.bool()]
    ids, mask = padded([[*s.prompt, *s.tokens[:-1]] for s in samples], device)
    out = model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    prompts = torch.tensor([len(s.prompt) for s in samples], device=device)
    return out[mask.bool() & (torch.arange(ids.shape[1], device=device) >= prompts[:, None] - 1)]


def head(model: PreTrainedModel) -> nn.Parameter:
    """(vocabulary, d)"""
    layer = model.get_output_embeddings()
    if getattr(layer, "bias", None) is not None:
        raise LabError("the head has a bias; weir has no such model")
    return layer.weight


# ---- other shapes ------------------------------------------------------------------------------------------

def output_of_layer(name: str) -> bool:
    """Whether a tensor writes into the residual stream of T5."""
    return name.endswith((".o.weight", ".wo.weight"))


def reshaped(model: PreTrainedModel, changes: dict[str, int], seed: int) -> PreTrainedModel:
    """A T5 of another shape that starts from the given one and computes what it does where it grew (as in
    Net2Net, Chen et al., 2016): layers beyond the given ones, and rows that write into dimensions beyond,
    begin at zero; what reads from them is random. Where it shrank, the first layers and dimensions stay."""
    if model.config.model_type != "t5":
        raise LabError(f"--shape: {model.config.model_type} has no shape here, only t5; start from a drafter "
                       "of the shape that you want")
    config = type(model.config).from_dict({**model.config.to_dict(), **changes})
    torch.manual_seed(seed)
    grown = type(model)(config).to(next(model.parameters()).device).eval()
    old = dict(model.named_parameters())
    # the norm divides by the mean square over all dimensions, and those beyond are zero
    scale = min(1.0, (model.config.d_model / config.d_model) ** 0.5)
    with torch.no_grad():
        for name, new in grown.named_parameters():
            if output_of_layer(name) or "relative_attention_bias" in name or name == "shared.weight":
                new.zero_()
            if name not in old:
                continue
            shared = tuple(slice(0, min(a, b)) for a, b in zip(new.shape, old[name].shape))
            new[shared] = old[name][shared]
            if "layer_norm" in name:
                new *= scale
    return grown


# ---- saving ------------------------------------------------------------------------------------------------

def save(model: PreTrainedModel, like: Path, out: Path, words: dict[str, Any]) -> None:
    """A Hugging Face directory with bf16 weights, whole or not at all. Whatever `like` has besides weights is
    copied; its configuration gets the shape. words: how it came about, in distilled.json."""
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for path in sorted(like.iterdir()):
        if path.is_file() and path.suffix not in (".safetensors", ".bin") and not path.name.endswith(
                ".index.json"):
            shutil.copyfile(path, part / path.name)
    tensors = {n: t.detach().to("cpu", torch.bfloat16).contiguous() for n, t in model.named_parameters()}
    save_file(tensors, part / "model.safetensors", metadata={"format": "pt"})
    (part / "model.safetensors").chmod(0o644)
    config = json.loads((like / "config.json").read_text())
    own = model.config.to_dict()
    config.update({key: own[key] for key, _ in SHAPE.values() if key in own}, dtype="bfloat16")
    config.pop("torch_dtype", None)  # the older name
    (part / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    (part / "distilled.json").write_text(json.dumps(words, indent=2) + "\n")
    if out.exists():
        shutil.rmtree(out)
    os.replace(part, out)

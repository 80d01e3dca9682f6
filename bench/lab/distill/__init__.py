"""Trains a drafter on its verifier's words, so that more of what it drafts stands.

Distillation as in DistillSpec (Zhou et al., ICLR 2024, arXiv 2310.08461) with the verifier's own samples and
whole laws: first the forward KL divergence, then the total variation distance D_TV(p, q), whose complement is
the acceptance of exact speculative decoding (Leviathan et al., 2023, Corollary 3.6).

samples.py    the verifier writes (weir generate)
laws.py       what it thinks at each of its tokens: its likeliest K, kept on disk
models.py     checkpoints as PyTorch modules, other shapes, saving
losses.py     both divergences on K kept tokens, fused with the head
training.py   batches, schedule, checkpoints
run.py        the command: all of these, and weir as the judge, before and after
"""

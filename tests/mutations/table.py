"""All seeded bugs, and which tests look at what."""
from accept_bugs import BUGS as ACCEPT
from attention_bugs import BUGS as ATTENTION
from comm_bugs import BUGS as COMM
from cpu_api_bugs import BUGS as API
from cpu_base_bugs import BUGS as BASE
from cpu_formats_bugs import BUGS as FORMATS
from cpu_front_bugs import BUGS as FRONT
from cpu_host_bugs import BUGS as HOST
from cpu_models_bugs import BUGS as MODELS
from cpu_queue_bugs import BUGS as QUEUE
from cpu_ranks_bugs import BUGS as RANKS
from cpu_serve_bugs import BUGS as SERVE
from cpu_watch_bugs import BUGS as WATCH
from cuda_bugs import BUGS as CUDA
from linear_bugs import BUGS as LINEAR
from loop_bugs import BUGS as LOOP
from moe_bugs import BUGS as MOE
from rows_bugs import BUGS as ROWS

TABLES = {
    "kernels": {"mutants": ACCEPT + COMM + CUDA + LINEAR + MOE + ROWS + ATTENTION + LOOP,
                "what": "CUDA kernels", "results": "results.md"},
    "cpu": {"mutants": BASE + MODELS + HOST + QUEUE + FORMATS + FRONT + API + SERVE + RANKS + WATCH,
            "what": "code for CPUs", "results": "results_cpu.md"},
}

# Path prefix of entries that name no tests: tests (test_<name>) that are about it, the nearest first.
TESTS = {
    "kernels/accept/": ["runner_row_stats", "runner_accept"],
    "kernels/accept/accept.cu": ["runner_accept"],
    "kernels/accept/emit.cu": ["runner_accept"],
    "kernels/accept/examine.cuh": ["runner_accept", "runner_loop_ops"],
    "kernels/accept/sweep/sweep.cuh": ["runner_row_stats", "runner_accept", "runner_loop_ops"],
    "kernels/accept/sweep/team.cuh": ["runner_row_stats", "runner_accept", "runner_loop_ops"],
    "kernels/attention/attention": ["runner_attention", "runner_attention_stages", "runner_early"],
    "kernels/attention/kv": ["runner_kv", "runner_attention"],
    "kernels/comm/nccl.cu": ["runner_nccl"],
    "kernels/comm/": ["runner_nccl", "runner_exchange", "runner_exchange_failures", "runner_model_ranks",
                      "runner_engine_ranks"],
    "kernels/cuda/": ["runner_backend", "runner_backend_failures", "runner_ways", "runner_loop_ways"],
    "kernels/cuda/launch.cuh": ["runner_ways", "runner_loop_ways"],
    "kernels/cuda/util.cuh": ["runner_row_stats", "runner_embed", "runner_linear", "runner_attention"],
    "kernels/linear/cublaslt.cu": ["runner_prefill"],
    "kernels/rows/embed.cu": ["runner_embed"],
    "kernels/rows/gather.cu": ["runner_gather"],
    "kernels/rows/row_keys.cuh": ["runner_gather", "runner_embed"],
    "kernels/moe/": ["runner_moe"],
    "kernels/linear/fragment.cuh": ["runner_linear", "runner_linear_stages"],
    "kernels/linear/slices.cuh": ["runner_linear", "runner_shares", "runner_wide"],
    "kernels/linear/linear": ["runner_linear", "runner_shares", "runner_linear_append", "runner_groups"],
    "kernels/linear/linear.cuh": ["runner_linear", "runner_groups", "runner_wide", "runner_linear_stages",
                                  "runner_shares", "runner_quant_wide"],
    "kernels/linear/linear_prefill.cu": ["runner_prefill", "runner_wide"],
    "kernels/linear/quant/linear_quant": ["runner_quant_wide", "runner_linear_quant", "runner_groups",
                                          "runner_linear_stages", "runner_shares"],
    "kernels/linear/linear_wide.cu": ["runner_wide", "runner_groups", "runner_linear_stages"],
    "kernels/rows/rmsnorm.cu": ["runner_embed"],
    "kernels/rows/rope.cu": ["runner_rope"],
    "kernels/loop/": ["runner_loop_ops"],
    "kernels/loop/close.cu": ["runner_loop_ops", "runner_engine_ranks"],
}

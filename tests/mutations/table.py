"""All seeded bugs, and which tests look at what."""
from accept_bugs import BUGS as ACCEPT
from attention_bugs import BUGS as ATTENTION
from dense_bugs import BUGS as DENSE
from loop_bugs import BUGS as LOOP

MUTANTS = ACCEPT + DENSE + ATTENTION + LOOP

# Path prefix: tests of the runner (test_runner_<name>) that are about it, the nearest first.
TESTS = {
    "kernels/accept/": ["row_stats", "accept"],
    "kernels/accept/accept.cu": ["accept"],
    "kernels/accept/emit.cu": ["accept"],
    "kernels/accept/step.cuh": ["accept", "loop_ops"],
    "kernels/cuda/": ["backend", "backend_failures"],
    "kernels/dense/attention": ["attention"],
    "kernels/dense/cublaslt.cu": ["prefill"],
    "kernels/dense/embed.cu": ["embed"],
    "kernels/dense/gather.cu": ["gather"],
    "kernels/dense/kv": ["kv", "attention"],
    "kernels/dense/linear": ["linear"],
    "kernels/dense/linear_prefill.cu": ["prefill"],
    "kernels/dense/rmsnorm.cu": ["embed"],
    "kernels/dense/rope.cu": ["rope"],
    "kernels/loop/": ["loop_ops"],
}

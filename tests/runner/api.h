#ifndef WEIR_TESTS_RUNNER_API_H
#define WEIR_TESTS_RUNNER_API_H

/* Between the files that stand for the runtime: api.cc, graph.cc, blaslt.cc. */
#include <memory>

#include "kernels/cuda/library.h"
#include "tests/runner/control.h"
#include "tests/runner/internal.h"

namespace runner {

/* One host thread at a time, as the runner has one of everything; a call that CUDA counts as one. */
class call {
  public:
    explicit call(const char *name);
    ~call();
    call(const call &) = delete;
    call &operator=(const call &) = delete;
};
long count_call(const char *name);

/* The first failure that stays: sticky. Otherwise e, kept for cudaGetLastError. */
cudaError_t answer(cudaError_t e);
bool broken();
bool no_driver();

/* ---- streams (graph.cc) ---- */

/* Work of a stream: done at once, or kept where the stream is being captured. false: the capture refuses
 * it. */
typedef std::function<void()> work;
cudaError_t submit(cudaStream_t stream, work w, const char *what, unsigned asks = 0);
bool capturing(cudaStream_t stream);
bool any_capture(); /* by this thread: calls that would wait or allocate are refused */
cudaError_t refuse_capture(const char *what); /* breaks the captures, says why */
void object_born();
void object_gone();

/* A kernel, run now. */
struct kernel_work {
    const char *name, *file;
    int line;
    dim3 grid, threads;
    size_t dynamic;
    bool together, dependent;
    std::function<void()> body;
};
void run_kernel(const kernel_work &k);
work work_of(std::shared_ptr<kernel_work> k);
bool stream_is_dead(); /* a kernel has failed: nothing runs any more */
int device_of_stream(cudaStream_t s);
int chosen_device();                             /* of this host thread */
bool refuses(runner_when when, unsigned asks);   /* control.h */
bool hangs(bool at_graph = false);               /* as runner_hang says; a wait then ends the test */
weir_library_fn nccl_function(const char *name); /* nccl.cc; NULL: it is not there */

} // namespace runner

/* Counted, one thread at a time, refused once a failure stays. */
#define RUNNER_CALL(name)         \
    runner::call in_call_(#name); \
    if (runner::broken()) return runner::answer(cudaErrorIllegalAddress)

#endif /* WEIR_TESTS_RUNNER_API_H */

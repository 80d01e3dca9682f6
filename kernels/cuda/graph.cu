/* Recorded sequences of ops. A straight sequence is the captured stream. A looped one is a graph of a single
 * node, a conditional WHILE, whose body is the captured stream:
 *
 *   graph ── while(handle) ──► body: op, op, …, loop_close ── writes handle: once more, or over
 *
 * A branch is a conditional IF in that body, or in another branch's; loop_rows of its test reads its handle
 * from cu->branch, and the kernel sets it. As a stream records into one graph at a time, the recording is
 * ended before the node and goes on after it.
 *
 * The handle is 1 at every launch, so the body runs at least once; loop_close reads it from cu->conditional
 * while it is being recorded, and its kernel sets it to 0 after the last block. */
#include "kernels/cuda/stream.cuh"

struct weir_graph {
    cudaGraph_t graph;
    cudaGraphExec_t exec;
};

static void graph_drop(weir_graph *g) {
    if (g->exec) cudaGraphExecDestroy(g->exec);
    if (g->graph) cudaGraphDestroy(g->graph);
    weir_free(g);
}

/* Builds the graph around the loop; *body_graph is what its node runs. */
static weir_status make_loop(weir_cuda *cu, weir_graph *g, cudaGraph_t *body_graph) {
    weir_backend *be = &cu->base;
    WEIR_CUDA_TRY(be, cudaGraphCreate(&g->graph, 0), "recording a loop");
    cudaGraphConditionalHandle handle;
    WEIR_CUDA_TRY(be, cudaGraphConditionalHandleCreate(&handle, g->graph, 1, cudaGraphCondAssignDefault),
                  "recording a loop: condition");
    cudaGraphNodeParams node = {};
    node.type = cudaGraphNodeTypeConditional;
    node.conditional.handle = handle;
    node.conditional.type = cudaGraphCondTypeWhile;
    node.conditional.size = 1;
    cudaGraphNode_t loop;
    WEIR_CUDA_TRY(be, cudaGraphAddNode(&loop, g->graph, NULL, NULL, 0, &node), "recording a loop: node");
    *body_graph = node.conditional.phGraph_out[0];
    cu->conditional = handle;
    return WEIR_OK;
}

/* Runs body while the stream is captured. Thread-local: other threads may use the device meanwhile. */
static weir_status capture(weir_cuda *cu, weir_graph *g, cudaGraph_t into, weir_status (*body)(void *ctx),
                           void *ctx) {
    weir_backend *be = &cu->base;
    const cudaStreamCaptureMode mode = cudaStreamCaptureModeThreadLocal;
    if (into) {
        WEIR_CUDA_TRY(be, cudaStreamBeginCaptureToGraph(cu->stream, into, NULL, NULL, 0, mode),
                      "recording a loop");
    } else {
        WEIR_CUDA_TRY(be, cudaStreamBeginCapture(cu->stream, mode), "recording");
    }
    cu->recording = true;
    cu->into = into;
    const weir_status s = body(ctx);
    cu->recording = cu->branched = false;
    cu->into = NULL;
    cudaGraph_t made = NULL;
    const cudaError_t e = cudaStreamEndCapture(cu->stream, &made);
    if (!into) g->graph = made;
    if (s != WEIR_OK) {
        cudaGetLastError(); /* ends a capture that failed in the body, which has reported why */
        return s;
    }
    return weir__cuda_check(be, e, "end of recording");
}

weir_status weir__cuda_capture(weir_backend *be, weir_status (*body)(void *ctx), void *ctx, bool looped,
                               weir_graph **out) {
    weir_cuda *cu = weir__cuda_of(be);
    WEIR_TRY(weir__cuda_enter(cu, "capture"));
    if (!body || !out || cu->recording) return WEIR_EINVAL;
    weir_graph *g = static_cast<weir_graph *>(weir_calloc(1, sizeof *g));
    if (!g) return WEIR_ENOMEM;
    cudaGraph_t into = NULL;
    weir_status s = looped ? make_loop(cu, g, &into) : WEIR_OK;
    if (s == WEIR_OK) s = capture(cu, g, into, body, ctx);
    cu->conditional = 0;
    if (s == WEIR_OK) s = weir__cuda_check(be, cudaGraphInstantiate(&g->exec, g->graph, 0), "making a graph");
    if (s == WEIR_OK) s = weir__cuda_check(be, cudaGraphUpload(g->exec, cu->stream), "uploading a graph");
    if (s != WEIR_OK) {
        graph_drop(g);
        return s;
    }
    cu->n_graph++;
    *out = g;
    return WEIR_OK;
}

/* ---- branches ------------------------------------------------------------------------------------------ */

/* Ends the recording into cu->into after the nodes so far, adds the conditional node after them, and goes on
 * in what it runs. */
static weir_status enter_branch(weir_cuda *cu, uint64_t handle, cudaGraphNode_t *branch,
                                cudaGraph_t *inside) {
    weir_backend *be = &cu->base;
    cudaStreamCaptureStatus status;
    const cudaGraphNode_t *last = NULL;
    cudaGraphNode_t before;
    cudaGraph_t made = NULL;
    size_t n = 0;
    WEIR_CUDA_TRY(be, cudaStreamGetCaptureInfo(cu->stream, &status, NULL, NULL, &last, NULL, &n),
                  "recording a branch");
    if (n != 1) return WEIR_EINVAL; /* the test has issued nothing */
    before = last[0];
    WEIR_CUDA_TRY(be, cudaStreamEndCapture(cu->stream, &made), "recording a branch: what comes before");
    cudaGraphNodeParams node = {};
    node.type = cudaGraphNodeTypeConditional;
    node.conditional.handle = handle;
    node.conditional.type = cudaGraphCondTypeIf;
    node.conditional.size = 1;
    WEIR_CUDA_TRY(be, cudaGraphAddNode(branch, cu->into, &before, NULL, 1, &node),
                  "recording a branch: node");
    *inside = node.conditional.phGraph_out[0];
    return weir__cuda_check(
        be,
        cudaStreamBeginCaptureToGraph(cu->stream, *inside, NULL, NULL, 0, cudaStreamCaptureModeThreadLocal),
        "recording a branch: what it runs");
}

weir_status weir__cuda_branch(weir_backend *be, weir_status (*test)(void *ctx),
                              weir_status (*rest)(void *ctx), void *ctx) {
    weir_cuda *cu = weir__cuda_of(be);
    const cudaGraph_t outside = cu->into;
    cudaGraphConditionalHandle handle = 0;
    cudaGraphNode_t branch;
    cudaGraph_t inside, made = NULL;
    if (!outside) {
        WEIR_TRY(test(ctx));
        return rest(ctx);
    }
    WEIR_CUDA_TRY(be, cudaGraphConditionalHandleCreate(&handle, outside, 0, 0),
                  "recording a branch: condition");
    cu->branch = handle;
    const weir_status tested = test(ctx);
    cu->branch = 0;
    WEIR_TRY(tested);
    WEIR_TRY(enter_branch(cu, handle, &branch, &inside));
    cu->into = inside;
    const weir_status s = rest(ctx);
    cu->into = outside;
    cu->branched = true;
    WEIR_TRY(s);
    WEIR_CUDA_TRY(be, cudaStreamEndCapture(cu->stream, &made), "recording a branch: its end");
    return weir__cuda_check(be,
                            cudaStreamBeginCaptureToGraph(cu->stream, outside, &branch, NULL, 1,
                                                          cudaStreamCaptureModeThreadLocal),
                            "recording a branch: what follows");
}

/* ---- launches ------------------------------------------------------------------------------------------ */

weir_status weir__cuda_launch(weir_backend *be, weir_graph *g) {
    weir_cuda *cu = weir__cuda_of(be);
    WEIR_TRY(weir__cuda_enter(cu, "launch"));
    if (!g || cu->recording) return WEIR_EINVAL;
    return weir__cuda_check(be, cudaGraphLaunch(g->exec, cu->stream), "launch of a graph");
}

/* A running graph may be destroyed: CUDA keeps it until it has finished. */
void weir__cuda_graph_free(weir_backend *be, weir_graph *g) {
    if (!g) return;
    weir_cuda *cu = weir__cuda_of(be);
    cudaSetDevice(cu->device);
    graph_drop(g);
    cu->n_graph--;
}

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

namespace {

struct recorded {
    weir_graph base; /* first: what the caller has */
    uint32_t ways;   /* that it takes */
    cudaGraph_t graph;
    cudaGraphExec_t exec;
};

/* A capture that is asked for. */
struct request {
    weir_status (*body)(void *ctx);
    void *ctx;
    bool looped;
    weir_status (*then)(weir_cuda *cu); /* the graph is launched, and this called; NULL: it is not */
};

recorded *of(weir_graph *g) { return reinterpret_cast<recorded *>(g); }

} // namespace

static void graph_drop(recorded *g) {
    if (g->exec) cudaGraphExecDestroy(g->exec);
    if (g->graph) cudaGraphDestroy(g->graph);
    weir_free(g);
}

/* Builds the graph around the loop; *body_graph is what its node runs. */
static weir_status make_loop(weir_cuda *cu, recorded *g, cudaGraph_t *body_graph) {
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
static weir_status capture(weir_cuda *cu, recorded *g, cudaGraph_t into, weir_status (*body)(void *ctx),
                           void *ctx) {
    weir_backend *be = &cu->base;
    const cudaStreamCaptureMode mode = cudaStreamCaptureModeThreadLocal;
    if (into) {
        WEIR_CUDA_TRY(be, cudaStreamBeginCaptureToGraph(cu->stream, into, NULL, NULL, 0, mode),
                      "recording a loop");
    } else {
        WEIR_CUDA_TRY(be, cudaStreamBeginCapture(cu->stream, mode), "recording");
    }
    cu->into = into;
    const weir_status s = body(ctx);
    cu->branched = false;
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

/* What is recorded, made ready and, for a trial, launched. */
static weir_status build(weir_cuda *cu, const request &r, recorded *g) {
    weir_backend *be = &cu->base;
    cudaGraph_t into = NULL;
    if (g->base.loops) WEIR_TRY(make_loop(cu, g, &into));
    WEIR_TRY(capture(cu, g, into, r.body, r.ctx));
    WEIR_CUDA_TRY(be, cudaGraphInstantiate(&g->exec, g->graph, 0), "making a graph");
    WEIR_CUDA_TRY(be, cudaGraphUpload(g->exec, cu->stream), "uploading a graph");
    if (r.then) WEIR_CUDA_TRY(be, cudaGraphLaunch(g->exec, cu->stream), "launch of a graph");
    return WEIR_OK;
}

/* A graph that takes the ways that are on. ENOTSUP: one of those in cu->ways.taken was refused. */
static weir_status make(weir_cuda *cu, const request &r, recorded **out) {
    recorded *g = static_cast<recorded *>(weir_calloc(1, sizeof *g));
    if (!g) return WEIR_ENOMEM;
    g->base.loops = r.looped && (cu->ways.on & K_WHILE);
    cu->ways.taken = K_GRAPH;
    if (g->base.loops) cu->ways.taken |= K_WHILE;
    cu->ways.recording = true;
    cu->refuses = false;
    weir_status s = build(cu, r, g);
    cu->conditional = cu->branch = 0;
    cu->ways.recording = false;
    g->ways = cu->ways.taken;
    if (s == WEIR_OK && r.then) s = r.then(cu);
    if (s == WEIR_OK) {
        *out = g;
    } else if (!cu->stuck) {
        graph_drop(g);
    }
    return s;
}

/* The next way to do without, of those that were taken. */
static uint32_t next_step(uint32_t taken) { return taken & (0u - taken); }

/* Only the last way that was given up is known to be refused: those before it are tried again. */
static weir_status climb(weir_cuda *cu, const request &r, uint32_t given_up, recorded **g) {
    for (uint32_t way = 1; 2 * way <= given_up; way *= 2) {
        if (!(given_up & way)) continue;
        recorded *more = NULL;
        cu->ways.on |= way;
        const weir_status s = make(cu, r, &more);
        if (s == WEIR_OK) {
            graph_drop(*g);
            *g = more;
            cu->refused &= ~way;
        } else {
            cu->ways.on &= ~way;
            if (s != WEIR_ENOTSUP) return s;
        }
    }
    return WEIR_OK;
}

/* A graph with as many ways as the device takes. ENOTSUP: none at all. */
static weir_status descend(weir_cuda *cu, const request &r, recorded **g) {
    const uint32_t alone = K_EARLY | K_COOPERATIVE; /* that kernels take without a graph, too */
    uint32_t given_up = 0;
    weir_status s = WEIR_ENOTSUP;
    if (!(cu->ways.on & K_GRAPH)) return s;
    while ((s = make(cu, r, g)) == WEIR_ENOTSUP && cu->refuses) {
        const uint32_t way = next_step(cu->ways.taken & cu->ways.on);
        weir__cuda_give_up(cu, way);
        if (way == K_GRAPH) {
            cu->ways.on |= given_up & alone;
            cu->refused &= ~given_up;
            return s;
        }
        given_up |= way;
    }
    if (s == WEIR_OK) s = climb(cu, r, given_up, g);
    if (s != WEIR_OK && *g && !cu->stuck) {
        graph_drop(*g);
        *g = NULL;
    }
    return s;
}

weir_status weir__cuda_capture(weir_backend *be, weir_status (*body)(void *ctx), void *ctx, bool looped,
                               weir_graph **out) {
    weir_cuda *cu = weir__cuda_of(be);
    WEIR_TRY(weir__cuda_enter(cu, "capture"));
    if (!body || !out || cu->ways.recording) return WEIR_EINVAL;
    recorded *g = NULL;
    const weir_status s = descend(cu, {body, ctx, looped, NULL}, &g);
    if (!cu->broken && cu->ways.on != cu->told) weir__cuda_ways_tell(cu);
    if (s != WEIR_OK) return s;
    cu->n_graph++;
    *out = &g->base;
    return WEIR_OK;
}

weir_status weir__cuda_try(weir_cuda *cu, weir_status (*body)(void *ctx),
                           weir_status (*then)(weir_cuda *cu)) {
    recorded *g = NULL;
    WEIR_TRY(weir__cuda_enter(cu, "a trial"));
    const weir_status s = descend(cu, {body, cu, true, then}, &g);
    if (s == WEIR_OK) graph_drop(g);
    return s;
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
    if (!outside || !(cu->ways.on & K_BRANCH)) {
        WEIR_TRY(test(ctx));
        return rest(ctx);
    }
    cu->ways.taken |= K_BRANCH;
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
    if (!g || cu->ways.recording) return WEIR_EINVAL;
    const cudaError_t e = cudaGraphLaunch(of(g)->exec, cu->stream);
    if (!k_refused(e)) return weir__cuda_check(be, e, "launch of a graph");
    cudaGetLastError();
    const uint32_t on = cu->ways.on, way = next_step(of(g)->ways);
    if (of(g)->ways & ~on) return WEIR_ENOTSUP; /* with what was given up since */
    (void)weir_fail(&cu->refusal, WEIR_ENOTSUP, "launch of a graph: %s", cudaGetErrorString(e));
    weir__cuda_give_up(cu, way);
    weir__cuda_ways_tell(cu);
    return WEIR_ENOTSUP;
}

/* A running graph may be destroyed: CUDA keeps it until it has finished. */
void weir__cuda_graph_free(weir_backend *be, weir_graph *g) {
    if (!g) return;
    weir_cuda *cu = weir__cuda_of(be);
    if (cu->stuck) return; /* whatever frees may wait for it */
    cudaSetDevice(cu->device);
    graph_drop(of(g));
    cu->n_graph--;
}

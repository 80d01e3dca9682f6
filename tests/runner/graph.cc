/* Streams, copies, events, capture and graphs. A stream does everything at once; what the host may see before
 * it waits is for ThreadSanitizer to say (internal.h, order of the stream). Captured work is a list of
 * closures. */
#include "tests/runner/api.h"

#include <pthread.h>
#include <time.h>

#include <cstdlib>
#include <vector>

#include "tests/runner/control.h"

struct runner_node {
    runner::work run;
    cudaGraphConditionalHandle handle; /* 0: plain work */
    cudaGraphConditionalNodeType type;
    cudaGraph_t body;
    unsigned asks; /* of what a machine may refuse */
};

struct runner_graph {
    std::vector<std::shared_ptr<runner_node>> nodes;
    std::vector<cudaGraphConditionalHandle> handles;
    bool inner; /* the body of a node, which owns it */
};

struct runner_exec {
    std::shared_ptr<runner_graph> graph;
};

struct runner_stream {
    std::shared_ptr<runner_graph> into; /* being captured */
    cudaGraph_t given;                  /* … into this one, which the caller has */
    bool invalid;
    pthread_t by;
    runner::place at;
};

struct runner_event {
    double ms;
    bool recorded;
    int order;
    uint64_t ticket;
};

namespace runner {

enum { CONDITIONS = 4096, ENDLESS_LOOP = 100000, STREAMS = ORDERS - 1 };
struct condition {
    unsigned value, start;
    bool assign, taken;
};
static condition conditions[CONDITIONS];
static runner_stream *streams[STREAMS];
static runner_stream legacy; /* stream 0 */

static int n_stream;

int streams_alive() { return n_stream; }

static runner_stream *of(cudaStream_t s) {
    if (s) return s;
    legacy.at.device = chosen_device();
    return &legacy;
}

/* While it lives, work is this stream's. */
class at_stream {
    const place before;

  public:
    explicit at_stream(const runner_stream *s) : before(at_work) { at_work = s->at; }
    ~at_stream() { at_work = before; }
    at_stream(const at_stream &) = delete;
    at_stream &operator=(const at_stream &) = delete;
};

int device_of_stream(cudaStream_t s) { return of(s)->at.device; }

bool capturing(cudaStream_t s) { return of(s)->into || of(s)->given; }

static std::vector<std::shared_ptr<runner_node>> &nodes_of(runner_stream *s) {
    return s->given ? s->given->nodes : s->into->nodes;
}

bool any_capture() {
    for (runner_stream *s : streams) {
        if (s && capturing(s) && pthread_equal(s->by, pthread_self())) return true;
    }
    return false;
}

cudaError_t refuse_capture(const char *) {
    for (runner_stream *s : streams) {
        if (s && capturing(s) && pthread_equal(s->by, pthread_self())) s->invalid = true;
    }
    return cudaErrorStreamCaptureUnsupported;
}

cudaError_t submit(cudaStream_t stream, work w, const char *, unsigned asks) {
    runner_stream *s = of(stream);
    if (!capturing(s)) {
        const at_stream here(s);
        w();
        return cudaSuccess;
    }
    if (s->invalid) return cudaErrorStreamCaptureInvalidated;
    nodes_of(s).push_back(
        std::make_shared<runner_node>(runner_node{std::move(w), 0, cudaGraphCondTypeIf, nullptr, asks}));
    return cudaSuccess;
}

/* Closures are read by CUDA threads that the host need not have waited for: they end after the stream's
 * work. */
static char handed_over;
template <class T> static void erase(std::shared_ptr<T> *p) {
    order_release(&handed_over);
    act_as(
        ERASER,
        [](void *arg) {
            order_acquire(&handed_over); /* some never ran */
            host_waits_all();
            static_cast<std::shared_ptr<T> *>(arg)->reset();
        },
        p);
}

struct kernel_holder {
    std::shared_ptr<kernel_work> k;
    explicit kernel_holder(std::shared_ptr<kernel_work> from) : k(std::move(from)) {}
    kernel_holder(const kernel_holder &) = default;
    kernel_holder &operator=(const kernel_holder &) = delete;
    ~kernel_holder() { erase(&k); }
};

static thread_local bool in_graph;

work work_of(std::shared_ptr<kernel_work> k) {
    return [held = kernel_holder(std::move(k))] {
        if (in_graph) count_call("graph kernel");
        run_kernel(*held.k);
    };
}

static void run_graph(const runner_graph &g) {
    for (const std::shared_ptr<runner_node> &n : g.nodes) {
        if (!n->handle) {
            n->run();
            continue;
        }
        const condition *c = &conditions[n->handle - 1];
        long rounds = 0;
        while (c->value && !stream_is_dead()) {
            run_graph(*n->body);
            if (n->type == cudaGraphCondTypeIf) break;
            if (++rounds == ENDLESS_LOOP) give_up("a conditional WHILE node has run %d times", ENDLESS_LOOP);
        }
    }
}

static void reset_conditions(const runner_graph &g) {
    for (cudaGraphConditionalHandle h : g.handles) {
        condition *c = &conditions[h - 1];
        if (c->assign) c->value = c->start;
    }
}

static unsigned asks_of(const runner_graph &g) {
    unsigned asks = RUNNER_GRAPH;
    for (const std::shared_ptr<runner_node> &n : g.nodes) asks |= n->asks | (n->body ? asks_of(*n->body) : 0);
    return asks;
}

static void destroy_graph(runner_graph *g) {
    for (const std::shared_ptr<runner_node> &n : g->nodes) {
        if (n->body && n.use_count() == 1) destroy_graph(n->body);
    }
    for (cudaGraphConditionalHandle h : g->handles) conditions[h - 1].taken = false;
    delete g;
}

/* ---- copies ---- */

struct bytes_work {
    void *dst;
    const void *src; /* NULL: a fill */
    size_t n;
    int value;
};

static void do_bytes(void *arg) {
    const bytes_work *b = static_cast<const bytes_work *>(arg);
    stream_begin();
    if (b->src) {
        memmove(b->dst, b->src, b->n);
    } else {
        memset(b->dst, b->value, b->n);
    }
    stream_end();
}

static void run_bytes(bytes_work b) {
    if (stream_is_dead()) return;
    stream_submit();
    device_enter();
    act_as(STREAM, do_bytes, &b);
    check_redzones("a copy");
    device_leave();
}

static bool kind_fits(cudaMemcpyKind kind, bool to_device, bool from_device) {
    switch (kind) {
    case cudaMemcpyHostToHost: return !to_device && !from_device;
    case cudaMemcpyHostToDevice: return to_device && !from_device;
    case cudaMemcpyDeviceToHost: return !to_device && from_device;
    case cudaMemcpyDeviceToDevice: return to_device && from_device;
    default: return true;
    }
}

static cudaError_t copy(void *dst, const void *src, size_t n, cudaMemcpyKind kind, cudaStream_t stream) {
    const bool to = device_address(dst), from = device_address(src);
    const bool pinned = to ? pinned_has(src, n) : pinned_has(dst, n);
    if (n == 0) return cudaSuccess;
    if (!kind_fits(kind, to || pinned_has(dst, n), from || pinned_has(src, n)) &&
        !kind_fits(kind, to, from)) {
        return cudaErrorInvalidMemcpyDirection;
    }
    if ((to && !device_has(dst, n)) || (from && !device_has(src, n))) return cudaErrorInvalidValue;
    if (capturing(stream) && !(to && from) && !pinned) return refuse_capture("copy of pageable memory");
    if (from || pinned || !to) {
        const bytes_work b = {dst, src, n, 0};
        return submit(
            stream, [b] { run_bytes(b); }, "copy");
    }
    /* From pageable memory: the runtime has read it when it returns, so it is the host that does. */
    void *staged = malloc(n);
    if (!staged) give_up("out of host memory");
    memcpy(staged, src, n);
    const at_stream here(of(stream));
    run_bytes({dst, staged, n, 0});
    act_as(
        ERASER,
        [](void *p) {
            stream_ended();
            free(p);
        },
        staged);
    return cudaSuccess;
}

static double now_ms() {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_nsec);
}

static cudaError_t wait_all() {
    if (hangs()) give_up("a wait for a device that hangs");
    if (any_capture()) return refuse_capture("a wait");
    host_waits_all();
    return broken() ? cudaErrorIllegalAddress : cudaSuccess;
}

static cudaError_t wait_for(cudaStream_t stream) {
    if (hangs()) give_up("a wait for a device that hangs");
    if (any_capture()) return refuse_capture("a wait");
    const int order = of(stream)->at.order;
    host_waits(order, stream_ticket(order));
    return broken() ? cudaErrorIllegalAddress : cudaSuccess;
}

} // namespace runner

using namespace runner;

/* ---- copies ---- */

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t n, cudaMemcpyKind kind, cudaStream_t stream) {
    RUNNER_CALL(cudaMemcpyAsync);
    return answer(copy(dst, src, n, kind, stream));
}

cudaError_t cudaMemcpy(void *dst, const void *src, size_t n, cudaMemcpyKind kind) {
    RUNNER_CALL(cudaMemcpy);
    if (any_capture()) return answer(refuse_capture("cudaMemcpy"));
    const cudaError_t e = copy(dst, src, n, kind, nullptr);
    host_waits(0, stream_ticket(0));
    return answer(e);
}

cudaError_t cudaMemsetAsync(void *dst, int value, size_t n, cudaStream_t stream) {
    RUNNER_CALL(cudaMemsetAsync);
    if (n == 0) return cudaSuccess;
    if (!device_has(dst, n) && !pinned_has(dst, n)) return answer(cudaErrorInvalidValue);
    const bytes_work b = {dst, nullptr, n, value};
    return answer(submit(
        stream, [b] { run_bytes(b); }, "memset"));
}

cudaError_t cudaMemset(void *dst, int value, size_t n) {
    RUNNER_CALL(cudaMemset);
    if (any_capture()) return answer(refuse_capture("cudaMemset"));
    return answer(cudaMemsetAsync(dst, value, n, nullptr));
}

/* ---- streams ---- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned) {
    RUNNER_CALL(cudaStreamCreateWithFlags);
    if (any_capture()) return answer(refuse_capture("cudaStreamCreate"));
    for (int i = 0; i < STREAMS; i++) {
        if (streams[i]) continue;
        streams[i] = *stream = new runner_stream();
        (*stream)->at = place{i + 1, chosen_device()};
        n_stream++;
        object_born();
        return cudaSuccess;
    }
    give_up("more than %d streams", STREAMS);
}

cudaError_t cudaStreamCreate(cudaStream_t *stream) {
    return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    call in_call("cudaStreamDestroy");
    for (runner_stream *&s : streams) {
        if (!s || s != stream) continue;
        delete s;
        s = nullptr;
        n_stream--;
        object_gone();
        return cudaSuccess;
    }
    return answer(cudaErrorInvalidResourceHandle);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    RUNNER_CALL(cudaStreamSynchronize);
    return answer(wait_for(stream));
}

cudaError_t cudaDeviceSynchronize() {
    RUNNER_CALL(cudaDeviceSynchronize);
    return answer(wait_all());
}

static long n_busy;

void runner_busy(long n) { n_busy = n; }

cudaError_t cudaStreamQuery(cudaStream_t stream) {
    RUNNER_CALL(cudaStreamQuery);
    if (n_busy > 0 || hangs()) {
        n_busy -= n_busy > 0;
        return answer(cudaErrorNotReady);
    }
    return answer(wait_for(stream));
}

/* ---- events ---- */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned) {
    RUNNER_CALL(cudaEventCreateWithFlags);
    *event = new runner_event();
    object_born();
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    call in_call("cudaEventDestroy");
    delete event;
    object_gone();
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    RUNNER_CALL(cudaEventRecord);
    return answer(submit(
        stream,
        [event] {
            event->ms = now_ms();
            event->recorded = true;
            event->order = at_work.order;
            event->ticket = stream_ticket(at_work.order);
        },
        "event"));
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    RUNNER_CALL(cudaEventSynchronize);
    if (any_capture()) return answer(refuse_capture("cudaEventSynchronize"));
    if (event->recorded) host_waits(event->order, event->ticket);
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
    RUNNER_CALL(cudaEventQuery);
    if (any_capture()) return answer(refuse_capture("cudaEventQuery"));
    if (event->recorded) host_waits(event->order, event->ticket);
    return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to) {
    RUNNER_CALL(cudaEventElapsedTime);
    if (!from->recorded || !to->recorded) return answer(cudaErrorInvalidResourceHandle);
    *ms = static_cast<float>(to->ms - from->ms);
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) {
    RUNNER_CALL(cudaStreamWaitEvent);
    return cudaSuccess; /* everything before it is done */
}

/* ---- capture ---- */

static cudaError_t begin(cudaStream_t stream, cudaGraph_t into) {
    if (!stream || capturing(stream)) return cudaErrorIllegalState;
    if (refuses(RUNNER_AT_ONCE, RUNNER_GRAPH)) return cudaErrorNotSupported;
    if (into) {
        stream->given = into;
    } else {
        stream->into = std::make_shared<runner_graph>();
    }
    stream->invalid = false;
    stream->by = pthread_self();
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
    RUNNER_CALL(cudaStreamBeginCapture);
    return answer(begin(stream, nullptr));
}

/* A graph here is a list: what is added comes after all that is there, and the caller must have said so. */
static bool is_next(const runner_graph &g, const cudaGraphNode_t *deps, size_t n_dep) {
    if (g.nodes.empty()) return n_dep == 0;
    return n_dep == 1 && deps[0] == g.nodes.back().get();
}

cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus *status,
                                     unsigned long long *id, cudaGraph_t *graph, const cudaGraphNode_t **deps,
                                     const cudaGraphEdgeData **edges, size_t *n_dep) {
    RUNNER_CALL(cudaStreamGetCaptureInfo);
    static thread_local cudaGraphNode_t last;
    if (!capturing(stream) || id || graph || edges) return answer(cudaErrorNotSupported);
    *status = stream->invalid ? cudaStreamCaptureStatusInvalidated : cudaStreamCaptureStatusActive;
    last = nodes_of(stream).empty() ? nullptr : nodes_of(stream).back().get();
    *deps = &last;
    *n_dep = last ? 1 : 0;
    return answer(stream->invalid ? cudaErrorStreamCaptureInvalidated : cudaSuccess);
}

cudaError_t cudaStreamBeginCaptureToGraph(cudaStream_t stream, cudaGraph_t graph, const cudaGraphNode_t *deps,
                                          const cudaGraphEdgeData *, size_t n_dep, cudaStreamCaptureMode) {
    RUNNER_CALL(cudaStreamBeginCaptureToGraph);
    if (!graph || !is_next(*graph, deps, n_dep)) return answer(cudaErrorInvalidValue);
    return answer(begin(stream, graph));
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
    call in_call("cudaStreamEndCapture");
    *graph = nullptr;
    if (!stream || !capturing(stream)) return answer(cudaErrorIllegalState);
    const std::shared_ptr<runner_graph> into = std::move(stream->into);
    const cudaGraph_t given = stream->given;
    stream->given = nullptr;
    if (stream->invalid || broken())
        return answer(broken() ? cudaErrorIllegalAddress : cudaErrorStreamCaptureInvalidated);
    *graph = given ? given : new runner_graph(*into);
    if (!given) object_born();
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus *status) {
    RUNNER_CALL(cudaStreamIsCapturing);
    *status = !capturing(stream)    ? cudaStreamCaptureStatusNone
              : of(stream)->invalid ? cudaStreamCaptureStatusInvalidated
                                    : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}

/* ---- graphs ---- */

cudaError_t cudaGraphCreate(cudaGraph_t *graph, unsigned) {
    RUNNER_CALL(cudaGraphCreate);
    *graph = new runner_graph();
    object_born();
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    call in_call("cudaGraphDestroy");
    if (!graph || graph->inner) return answer(cudaErrorInvalidValue);
    destroy_graph(graph);
    object_gone();
    return cudaSuccess;
}

cudaError_t cudaGraphConditionalHandleCreate(cudaGraphConditionalHandle *handle, cudaGraph_t graph,
                                             unsigned value, unsigned flags) {
    RUNNER_CALL(cudaGraphConditionalHandleCreate);
    for (unsigned i = 0; i < CONDITIONS; i++) {
        if (conditions[i].taken) continue;
        conditions[i] = condition{value, value, (flags & cudaGraphCondAssignDefault) != 0, true};
        *handle = i + 1;
        graph->handles.push_back(*handle);
        return cudaSuccess;
    }
    give_up("more than %d conditional handles", CONDITIONS);
}

cudaError_t cudaGraphAddNode(cudaGraphNode_t *node, cudaGraph_t graph, const cudaGraphNode_t *deps,
                             const cudaGraphEdgeData *, size_t n_dep, cudaGraphNodeParams *params) {
    RUNNER_CALL(cudaGraphAddNode);
    if (!is_next(*graph, deps, n_dep)) return answer(cudaErrorInvalidValue);
    if (params->type != cudaGraphNodeTypeConditional || params->conditional.size != 1)
        return answer(cudaErrorNotSupported);
    const unsigned asks = params->conditional.type == cudaGraphCondTypeIf ? RUNNER_IF : RUNNER_WHILE;
    if (refuses(RUNNER_AT_ONCE, asks)) return answer(cudaErrorNotSupported);
    const cudaGraphConditionalHandle h = params->conditional.handle;
    if (h < 1 || h > CONDITIONS || !conditions[h - 1].taken) return answer(cudaErrorInvalidValue);
    const cudaGraph_t body = new runner_graph();
    body->inner = true;
    graph->nodes.push_back(
        std::make_shared<runner_node>(runner_node{nullptr, h, params->conditional.type, body, asks}));
    *node = graph->nodes.back().get();
    params->conditional.phGraph_out = &graph->nodes.back()->body;
    return cudaSuccess;
}

/* An executable graph is as the graph was: what is added later does not run. */
static std::shared_ptr<runner_graph> snapshot(const runner_graph &g) {
    std::shared_ptr<runner_graph> copy_of(new runner_graph(), [](runner_graph *p) {
        p->handles.clear(); /* they are the graph's */
        destroy_graph(p);
    });
    copy_of->handles = g.handles;
    for (const std::shared_ptr<runner_node> &n : g.nodes) {
        if (!n->body) {
            copy_of->nodes.push_back(n);
            continue;
        }
        const cudaGraph_t body = new runner_graph(*n->body);
        body->handles.clear(); /* they are the graph's, too */
        copy_of->nodes.push_back(
            std::make_shared<runner_node>(runner_node{nullptr, n->handle, n->type, body, n->asks}));
    }
    return copy_of;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long) {
    RUNNER_CALL(cudaGraphInstantiate);
    if (any_capture()) return answer(refuse_capture("cudaGraphInstantiate"));
    if (!graph || graph->inner) return answer(cudaErrorInvalidValue);
    if (refuses(RUNNER_AT_MAKING, asks_of(*graph))) return answer(cudaErrorNotSupported);
    *exec = new runner_exec{snapshot(*graph)};
    object_born();
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    call in_call("cudaGraphExecDestroy");
    delete exec;
    object_gone();
    return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t) {
    RUNNER_CALL(cudaGraphUpload);
    return answer(exec ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
    RUNNER_CALL(cudaGraphLaunch);
    if (!exec || capturing(stream)) return answer(cudaErrorInvalidValue);
    if (refuses(RUNNER_AT_LAUNCH, asks_of(*exec->graph))) return answer(cudaErrorNotSupported);
    if (hangs(true)) return cudaSuccess;
    const at_stream here(of(stream));
    reset_conditions(*exec->graph);
    in_graph = true;
    run_graph(*exec->graph);
    in_graph = false;
    return cudaSuccess;
}

void cudaGraphSetConditional(cudaGraphConditionalHandle handle, unsigned value) {
    const thread *t = current();
    if (!t) give_up("cudaGraphSetConditional outside a kernel");
    if (handle < 1 || handle > CONDITIONS || !conditions[handle - 1].taken) {
        fail(t->at, "cudaGraphSetConditional of handle %llu, which does not exist", handle);
    }
    conditions[handle - 1].value = value;
}

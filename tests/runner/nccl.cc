/* NCCL as the runner has it: ranks are host threads of one process. A call ends when the ranks that it takes
 * have come; until then the others take their turns, as with kernels that wait for each other. */
#include "tests/runner/api.h"

#include <vector>

#include "kernels/comm/nccl.h"
#include "tests/runner/control.h"

using namespace runner;

namespace {

enum { RANKS = 8, GROUPS = 64 };

struct letter { /* from a rank to another one */
    const void *from;
    size_t bytes;
    bool full;
};

struct group {
    int n_rank, open;
    bool aborted;
    const void *from[RANKS];
    int come;
    uint64_t round;
    letter mail[RANKS][RANKS];
    char order; /* ThreadSanitizer's */
};

group groups[GROUPS];

} // namespace

struct ncclComm {
    group *g;
    int rank;
};

namespace {

/* A call, run when its group of calls ends. */
struct pending_call {
    std::function<void()> begin, end; /* what gives; what takes, and waits until all is taken */
    cudaStream_t stream;
};
thread_local int depth;
thread_local std::vector<pending_call> held;

void wait_turn() {
    const place at = at_work;
    turn_pass();
    at_work = at;
    device_view();
}

/* All ranks have come here. */
void meet(group *g) {
    const uint64_t round = g->round;
    if (++g->come == g->n_rank) {
        g->come = 0;
        g->round++;
    }
    while (g->round == round && !g->aborted) wait_turn();
}

struct copying {
    group *g;
    void *to;
    const void *from;
    size_t bytes;
};

/* On behalf of the stream, which comes after what the others' streams did before they gave. */
void take(group *g, void *to, const void *from, size_t bytes) {
    copying c = {g, to, from, bytes};
    if (g->aborted || to == from) return;
    device_enter_all();
    act_as(
        STREAM,
        [](void *arg) {
            const copying *a = static_cast<const copying *>(arg);
            stream_begin();
            order_acquire(&a->g->order);
            memmove(a->to, a->from, a->bytes);
            order_release(&a->g->order);
            stream_end();
        },
        &c);
    device_leave();
}

/* What this stream did so far is given. */
void give(group *g) {
    stream_submit();
    act_as(
        STREAM,
        [](void *arg) {
            stream_begin();
            order_release(&static_cast<group *>(arg)->order);
            stream_end();
        },
        g);
}

/* What comes after on this stream is after what the others took. */
void taken(group *g) {
    stream_submit();
    act_as(
        STREAM,
        [](void *arg) {
            stream_begin();
            order_acquire(&static_cast<group *>(arg)->order);
            stream_end();
        },
        g);
}

size_t bytes_of(size_t count, ncclDataType_t type) {
    if (type != NCCL_FLOAT && type != NCCL_INT32) give_up("NCCL: a type that is not emulated");
    return 4 * count;
}

ncclResult_t run_calls(std::vector<pending_call> calls) {
    for (int half = 0; half < 2; half++) {
        for (const pending_call &c : calls) {
            const std::function<void()> &f = half == 0 ? c.begin : c.end;
            if (f && submit(c.stream, f, "NCCL") != cudaSuccess) return 1;
        }
    }
    return 0;
}

ncclResult_t call_now(pending_call c) {
    if (depth == 0) return run_calls({std::move(c)});
    held.push_back(std::move(c));
    return 0;
}

ncclResult_t get_unique_id(ncclUniqueId *id) {
    call in_call("ncclGetUniqueId");
    for (int i = 0; i < GROUPS; i++) {
        if (groups[i].open > 0 || groups[i].n_rank > 0) continue;
        groups[i] = group{};
        groups[i].n_rank = -1;
        *id = ncclUniqueId{};
        id->internal[0] = static_cast<char>(i);
        return 0;
    }
    give_up("more than %d NCCL groups", GROUPS);
}

ncclResult_t init_rank(ncclComm_t *comm, int n_rank, ncclUniqueId id, int rank) {
    call in_call("ncclCommInitRank");
    group *g = &groups[static_cast<int>(id.internal[0])];
    if (n_rank < 1 || n_rank > RANKS || rank < 0 || rank >= n_rank) return 4;
    g->n_rank = n_rank;
    g->open++;
    *comm = new ncclComm{g, rank};
    object_born();
    meet(g);
    return 0;
}

ncclResult_t leave(ncclComm_t comm, bool aborted) {
    call in_call("ncclCommDestroy");
    group *g = comm->g;
    g->aborted = g->aborted || aborted;
    if (--g->open == 0) g->n_rank = 0;
    delete comm;
    object_gone();
    return 0;
}
ncclResult_t destroy(ncclComm_t comm) { return leave(comm, false); }
ncclResult_t abort_comm(ncclComm_t comm) { return leave(comm, true); }

ncclResult_t group_start() {
    depth++;
    return 0;
}

ncclResult_t group_end() {
    call in_call("ncclGroupEnd");
    std::vector<pending_call> calls;
    if (--depth > 0) return 0;
    calls.swap(held);
    return run_calls(std::move(calls));
}

ncclResult_t all_gather(const void *from, void *to, size_t count, ncclDataType_t type, ncclComm_t comm,
                        cudaStream_t stream) {
    call in_call("ncclAllGather");
    const size_t bytes = bytes_of(count, type);
    return call_now({[=] {
                         group *g = comm->g;
                         g->from[comm->rank] = from;
                         give(g);
                         meet(g);
                         for (int r = 0; r < g->n_rank; r++) {
                             stream_submit();
                             take(g, static_cast<char *>(to) + static_cast<size_t>(r) * bytes, g->from[r],
                                  bytes);
                         }
                         meet(g);
                         taken(g);
                     },
                     nullptr, stream});
}

ncclResult_t broadcast(const void *from, void *to, size_t count, ncclDataType_t type, int root,
                       ncclComm_t comm, cudaStream_t stream) {
    call in_call("ncclBroadcast");
    const size_t bytes = bytes_of(count, type);
    return call_now({[=] {
                         group *g = comm->g;
                         if (comm->rank == root) g->from[root] = from;
                         give(g);
                         meet(g);
                         stream_submit();
                         if (comm->rank != root) take(g, to, g->from[root], bytes);
                         meet(g);
                         taken(g);
                     },
                     nullptr, stream});
}

ncclResult_t send(const void *from, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                  cudaStream_t stream) {
    call in_call("ncclSend");
    const size_t bytes = bytes_of(count, type);
    return call_now({[=] {
                         group *g = comm->g;
                         give(g);
                         g->mail[comm->rank][peer] = letter{from, bytes, true};
                     },
                     [=] {
                         group *g = comm->g;
                         while (g->mail[comm->rank][peer].full && !g->aborted) wait_turn();
                         taken(g);
                     },
                     stream});
}

ncclResult_t recv(void *to, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                  cudaStream_t stream) {
    call in_call("ncclRecv");
    const size_t bytes = bytes_of(count, type);
    return call_now({nullptr,
                     [=] {
                         group *g = comm->g;
                         letter *l = &g->mail[peer][comm->rank];
                         while (!l->full && !g->aborted) wait_turn();
                         if (!g->aborted && l->bytes != bytes)
                             give_up("NCCL: %zu bytes for %zu", l->bytes, bytes);
                         stream_submit();
                         take(g, to, l->from, bytes);
                         l->full = false;
                     },
                     stream});
}

} // namespace

static int present = 1;

void runner_nccl(int there) { present = there; }

namespace runner {

weir_library_fn nccl_function(const char *name) {
    static const struct {
        const char *name;
        weir_library_fn fn;
    } all[] = {
        {"ncclGetUniqueId", reinterpret_cast<weir_library_fn>(get_unique_id)},
        {"ncclCommInitRank", reinterpret_cast<weir_library_fn>(init_rank)},
        {"ncclCommDestroy", reinterpret_cast<weir_library_fn>(destroy)},
        {"ncclCommAbort", reinterpret_cast<weir_library_fn>(abort_comm)},
        {"ncclGroupStart", reinterpret_cast<weir_library_fn>(group_start)},
        {"ncclGroupEnd", reinterpret_cast<weir_library_fn>(group_end)},
        {"ncclAllGather", reinterpret_cast<weir_library_fn>(all_gather)},
        {"ncclBroadcast", reinterpret_cast<weir_library_fn>(broadcast)},
        {"ncclSend", reinterpret_cast<weir_library_fn>(send)},
        {"ncclRecv", reinterpret_cast<weir_library_fn>(recv)},
    };
    for (const auto &f : all)
        if (present && strcmp(f.name, name) == 0) return f.fn;
    return nullptr;
}

} // namespace runner

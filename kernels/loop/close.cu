#include "kernels/accept/cuda.h"
#include "kernels/accept/examine.cuh"
#include "kernels/accept/stats/stats.cuh"
#include "kernels/comm/peers.cuh"
#include "kernels/loop/cuda.h"
#include "kernels/loop/seat.h"

/* A block's room for the search of a threshold, and for its warps' weights of a row without one. */
union step_room {
    team_search_shared search;
    float kept[TEAM_WARPS * WEIR_CHUNK];
};

/* What a block of a team holds of the seat it closes. */
struct close_shared {
    weir_seat seat;
    weir_accept_args args;
    weir_accept_session accept; /* its row, draft and statistics are those below */
    weir_accept_row row[WEIR_GAMMA_MAX];
    weir_row_note note[WEIR_GAMMA_MAX];
    int32_t draft[WEIR_GAMMA_MAX];
    weir_row_stats q_stats[WEIR_GAMMA_MAX + 1];
    weir_row_stats p_stats[WEIR_GAMMA_MAX + 1]; /* where the kernel makes them */
    weir_emit_session emit;
    bool closes;
    bool blind; /* the decision may be too early (weir__decided_blindly) */
    weir_block_outcome outcome;
};

/* All threads of the block, a word each. */
static __device__ __forceinline__ void copy_words(void *to, const void *from, size_t bytes) {
    uint32_t *dst = static_cast<uint32_t *>(to);
    const uint32_t *src = static_cast<const uint32_t *>(from);
    for (size_t k = threadIdx.x; k < bytes / sizeof *dst; k += TEAM_THREADS) dst[k] = src[k];
}
static_assert(sizeof(weir_seat) % 4 == 0 && sizeof(weir_accept_row) % 4 == 0 &&
                  sizeof(weir_row_note) % 4 == 0 && sizeof(weir_row_stats) % 4 == 0 &&
                  sizeof(weir_block_outcome) % 4 == 0,
              "copied word by word");

/* Words of a seat that the loop never writes come before those that it moves. */
enum { SEAT_FIXED = offsetof(weir_seat, n) };
static_assert(SEAT_FIXED % 4 == 0, "copied word by word");

/* Rows and notes of seat i. */
static __device__ __forceinline__ void fetch_rows(const weir_loop &l, int32_t i, size_t n, close_shared *h) {
    copy_words(h->row, l.row + static_cast<int64_t>(i) * l.gamma, n * sizeof *h->row);
    copy_words(h->note, l.note + static_cast<int64_t>(i) * l.gamma, n * sizeof *h->note);
}

/* Brings the seat, and what the kernel before found out of its rows, in one round trip; EXAMINES: there was
 * none. Only the team's first
 * block looks at what that block will write when the seat is closed: another may come late, and takes it from
 * the session that the verifier's rows were made with. A block that holds another seat already is the only
 * one of its team, so that the barrier of its arrival is in between. */
template <bool EXAMINES>
static __device__ __forceinline__ void fetch_seat(const weir_loop &l, int32_t i, int32_t rank,
                                                  close_shared *h) {
    const size_t gamma = static_cast<size_t>(l.gamma);
    copy_words(&h->seat, &l.seat[i], rank == 0 ? sizeof h->seat : static_cast<size_t>(SEAT_FIXED));
    if (rank > 0 && threadIdx.x == 0) {
        h->seat.n = l.accept[i].position;
        h->seat.n_draft = l.accept[i].n_draft;
        h->seat.end = l.accept[i].law ? WEIR_SEAT_RUNNING : WEIR_SEAT_EMPTY;
    }
    if (gamma > 0) {
        if constexpr (!EXAMINES) fetch_rows(l, i, gamma, h);
        copy_words(h->draft, weir__seat_draft(&l, i), gamma * sizeof *h->draft);
        copy_words(h->q_stats, weir__seat_q_stats(&l, i), (gamma + 1) * sizeof *h->q_stats);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        weir__seat_block(&l, i, &h->seat, &h->accept);
        h->accept.row = h->row;
        h->accept.draft = h->draft;
        h->accept.q_stats = h->q_stats;
        if constexpr (EXAMINES) h->accept.p_stats = h->p_stats;
    }
    __syncthreads();
}

/* What the rule says of draft j, into shared memory; thread 0 has it. Not inlined, for its registers. */
TEAM_CALL void examine_draft(const weir_env *part, close_shared *h) {
    weir_accept_row row;
    weir_row_note note;
    weir__examine(part, &h->args, &h->accept, part->index, &row, &note);
    if (threadIdx.x == 0) h->row[part->index] = row, h->note[part->index] = note;
}

/* All rows of the team's live seat, each by a part of the team, then all that was found into shared memory.
 * part: the caller's own of the team. minmax: of all rows. Not inlined, and the part made by the caller: its
 * registers and those of the kernel would be too many. */
TEAM_CALL void examine_seat(const weir_env *t, const weir_env *part, const weir_loop *l,
                            const weir_minmax *minmax, close_shared *h) {
    if (part->index < part->n_team) {
        const int64_t row = weir__seat_first_row(l, t->index) + part->index;
        const weir_row_stats s = team_row_stats(part, l->p_logits + row * l->ld_p, l->n_vocab, h->accept.law,
                                                minmax ? minmax + row * team_spans(l->n_vocab) : nullptr);
        if (threadIdx.x == 0) h->p_stats[part->index] = s;
        if (team_writes(part)) weir__seat_p_stats(l, t->index)[part->index] = s;
        __syncthreads();
        bool over;
        (void)weir__undecided(&h->accept, &over);
        if (!over && part->index < h->accept.n_draft) {
            examine_draft(part, h);
            const int64_t at = static_cast<int64_t>(t->index) * l->gamma + part->index;
            if (team_writes(part)) l->row[at] = h->row[part->index], l->note[at] = h->note[part->index];
        }
    }
    team_wait(t);
    const size_t n = static_cast<size_t>(h->accept.n_draft);
    copy_words(h->p_stats, weir__seat_p_stats(l, t->index), (n + 1) * sizeof *h->p_stats);
    if (n > 0) fetch_rows(*l, t->index, n, h);
    __syncthreads();
}

/* One thread: the decision into the session's block, and how the block closes. */
static __device__ __forceinline__ void plan_seat(const weir_loop &l, int32_t i, const weir_decision &d,
                                                 close_shared *h) {
    h->accept.status = d.status;
    h->accept.n_examined = d.n_examined;
    h->accept.n_accept = d.n_accept;
    h->accept.block_p = d.block_p;
    if (d.status == WEIR_OK && d.rejected) h->accept.verdict = h->note[d.n_accept].verdict;
    h->blind = weir__decided_blindly(&d, h->note);
    h->closes = weir__seat_plan(&l, i, &h->seat, &h->accept, &h->emit);
}

/* The team's first block: the outcome to the ring, the seat back. */
static __device__ __forceinline__ void commit_seat(const weir_loop &l, int32_t i, int32_t block,
                                                   close_shared *h) {
    const int32_t j = static_cast<int32_t>(threadIdx.x);
    if (j < h->accept.n_draft) weir__block_note_row(&h->accept, j, &h->outcome);
    if (threadIdx.x == 0) weir__block_note(&h->accept, h->closes ? &h->emit : nullptr, &h->outcome);
    __syncthreads();
    if (threadIdx.x == 0)
        weir__seat_commit(&l, &h->seat, &h->accept, &h->outcome, weir__seat_history(&l, &h->seat));
    __syncthreads();
    copy_words(&l.ring[static_cast<int64_t>(block % l.depth) * l.n_seat + i], &h->outcome, sizeof h->outcome);
    copy_words(&l.seat[i].n, &h->seat.n, sizeof h->seat - SEAT_FIXED);
}

/* One attempt to decide and close a live seat; false: a row was refused whose residual turned out to have no
 * mass, which its note now says, so that the next attempt takes its draft. At most one a row. */
static __device__ __forceinline__ bool try_to_close(const weir_env *t, const weir_loop *l, int32_t i,
                                                    close_shared *h) {
    const weir_decision d = team_decide(t, &h->args, &h->accept, h->note);
    if (threadIdx.x == 0) plan_seat(*l, i, d, h);
    __syncthreads();
    if (!h->closes) return true;
    const weir_closing c = weir__close(t, &h->emit, l->n_vocab);
    const bool early = h->blind && c.empty;
    __syncthreads(); /* all have read what follows */
    if (threadIdx.x == 0) {
        if (early)
            h->note[h->accept.n_accept].verdict.mass = 0.0f;
        else
            weir__store_closing(&h->emit, &c);
    }
    __syncthreads();
    return !early;
}

/* Decides and closes one live seat, and notes its outcome; every thread of its team. */
static __device__ __forceinline__ void close_seat(const weir_env &t, const weir_loop &l, int32_t i,
                                                  int32_t block, close_shared *h) {
    uint32_t *outcome = reinterpret_cast<uint32_t *>(&h->outcome);
    for (size_t k = threadIdx.x; k < sizeof h->outcome / 4; k += TEAM_THREADS) outcome[k] = 0;
    while (!try_to_close(&t, &l, i, h)) continue;
    if (t.rank == 0) commit_seat(l, i, block, h);
}

/* What ends the loop early: words of the host and of the exchange between ranks, 0 for "go on". They
 * are tested by the last seat to arrive, not where they are loaded, so that nobody waits for them. */
struct close_asks {
    uint32_t stop, broken;
};

/* One thread of the last seat to arrive: the block is over. */
static __device__ __forceinline__ void end_block(const weir_loop &l, int32_t block, int32_t limit,
                                                 int32_t running, const close_asks &asks,
                                                 uint64_t conditional) {
    const bool goes_on = weir__loop_goes_on(block, limit, running, (asks.stop | asks.broken) != 0);
    *l.arrived = 0;
    l.block[0] = block + 1;
    l.block[2] = goes_on;
    l.flags->running = running;
    l.flags->over = !goes_on;
    ptx::st_release_sys(reinterpret_cast<uint32_t *>(&l.flags->done), static_cast<uint32_t>(block) + 1u);
    if (conditional) ptx::set_conditional(conditional, goes_on);
}

/* arrived: seats in the low half, of them running in the high one.
 *
 * Why the host sees whole outcomes, with one system-wide release for all seats. Causality order of the PTX
 * memory model is transitive, and a release covers all that comes before it in that order, not only what its
 * own thread has written: a thread's part of an outcome comes before the barrier, the barrier before thread
 * 0's arrival. Arrivals are one chain of read-modify-writes, acquiring and releasing at the scope of the
 * device, on which all seats are: so the last one comes after every other, and the store of `done`, which
 * releases at the scope of the system, after all of them. The host loads `done` with acquire order. Writers
 * need no fence of their own. */
static __device__ __forceinline__ void arrive(const weir_loop &l, bool runs, int32_t block, int32_t limit,
                                              const close_asks &asks, uint64_t conditional) {
    __syncthreads(); /* all parts of the outcome are written */
    if (threadIdx.x > 0) return;
    const uint32_t old = ptx::add_release(l.arrived, 1u | static_cast<uint32_t>(runs) << 16);
    if (static_cast<int32_t>(old & 0xffffu) + 1 < l.n_seat) return;
    end_block(l, block, limit, static_cast<int32_t>(old >> 16) + runs, asks, conditional);
}

/* What closes blocks besides the loop. */
struct close_job {
    uint64_t conditional;
    const uint32_t *broken;    /* an exchange between ranks was given up (comm/peers.cuh); NULL on one rank */
    const weir_minmax *minmax; /* of the verifier's rows, or NULL; where the kernel examines them */
};

/* The block that is closed, and what is asked of the loop; of the team's first block alone. Asks are
 * loaded by its first thread while there is more to do, since they come from the host's memory. */
struct close_start {
    int32_t block, limit;
    close_asks asks;
};

static __device__ __forceinline__ close_start start_closing(const weir_env &t, const weir_loop &l,
                                                            const close_job &job) {
    close_start s = {};
    if (t.rank > 0) return s;
    if (threadIdx.x == 0) {
        s.asks.stop = ptx::ld_relaxed_sys(reinterpret_cast<uint32_t *>(&l.flags->stop));
        if (job.broken) s.asks.broken = ptx::ld_relaxed_sys(job.broken);
    }
    s.block = l.block[0];
    s.limit = l.block[1];
    return s;
}

static __device__ __forceinline__ void put_args(const weir_loop &l, close_shared *h) {
    if (threadIdx.x > 0) return;
    memset(&h->args, 0, sizeof h->args);
    h->args.n_vocab = l.n_vocab;
    h->args.ld_q = l.n_seat * l.ld_q;
    h->args.ld_p = l.ld_p;
}

/* Seat i, which the block has fetched. */
static __device__ __forceinline__ void end_seat(const weir_env &t, const weir_loop &l, int32_t i,
                                                const close_start &s, uint64_t conditional, close_shared *h) {
    if (weir__seat_runs(&h->seat)) {
        close_seat(t, l, i, s.block, h);
    } else if (team_writes(&t)) {
        weir_block_outcome *r = &l.ring[static_cast<int64_t>(s.block % l.depth) * l.n_seat + i];
        r->seat_end = h->seat.end;
        r->live = 0;
    }
    if (t.rank == 0) arrive(l, weir__seat_runs(&h->seat), s.block, s.limit, s.asks, conditional);
}

static __global__ TEAM_KERNEL void close_kernel(weir_loop l, close_job job, team_space space) {
    K_SHARED(shared, team_shared);
    K_SHARED(h, close_shared);
    ptx::grid_launch_dependents();
    const weir_env t = team_begin(&shared, nullptr, space, l.n_seat, l.n_vocab);
    /* without a seat, what the last arrival writes is not for it to read */
    if (t.index >= t.n_team || t.index >= l.n_seat) return;
    const close_start s = start_closing(t, l, job);
    put_args(l, &h);
    for (int32_t i = t.index; i < l.n_seat; i += t.n_team) {
        fetch_seat<false>(l, i, t.rank, &h);
        end_seat(t, l, i, s, job.conditional, &h);
    }
}

/* The whole accept step of few rows: no more than there are blocks, so that a team has one seat, and a
 * part of it one row. */
static __global__ TEAM_KERNEL void step_kernel(const __grid_constant__ weir_loop l,
                                               const __grid_constant__ close_job job,
                                               const __grid_constant__ team_space space) {
    K_SHARED(shared, team_shared);
    K_SHARED(room, step_room);
    K_SHARED(h, close_shared);
    ptx::grid_launch_dependents();
    weir_env t = team_begin(&shared, &room.search, space, l.n_seat, l.n_vocab, l.gamma + 1);
    if (t.index >= t.n_team || t.index >= l.n_seat) return;
    t.kept = room.kept;
    put_args(l, &h);
    fetch_seat<true>(l, t.index, t.rank, &h);
    if (weir__seat_runs(&h.seat)) {
        const weir_env part = team_part(t, space, h.accept.n_draft + 1);
        examine_seat(&t, &part, &l, job.minmax, &h);
    }
    end_seat(t, l, t.index, start_closing(t, l, job), job.conditional, &h);
}

/* step_kernel, if the rows are few enough; *done: they were. */
static weir_status step(weir_backend *be, const weir_loop_close *a, const close_job &job, bool *done) {
    const weir_loop *l = a->loop;
    const weir_cuda *cu = weir__cuda_of(be);
    unsigned n_block;
    team_space space;
    WEIR_TRY(team_room<step_kernel>(be, a->stats->n_row, l->n_vocab, &n_block, &space));
    *done = a->stats->n_row <= static_cast<int64_t>(n_block);
    if (!*done) return WEIR_OK;
    K_LAUNCH_TEAM(step_kernel, n_block, TEAM_THREADS, 0, cu->stream)(*l, job, space);
    return weir__cuda_launched(be, "accept step", "n_seat %d gamma %d n_vocab %d", l->n_seat, l->gamma,
                               l->n_vocab);
}

extern "C" weir_status weir__loop_close_cuda(weir_backend *be, weir_loop_close *a) {
    if (!be || !a) return WEIR_EINVAL;
    WEIR_TRY(weir__loop_close_check(a));
    const weir_loop *l = a->loop;
    if (!l->arrived || (l->gamma > 0 && !l->note) || l->n_seat > 0xffff) return WEIR_EINVAL;
    const weir_cuda *cu = weir__cuda_of(be);
    close_job job = {};
    job.conditional = cu->conditional;
    job.broken = cu->peers ? cu->peers->of.broken : nullptr;
    if (a->stats) {
        bool done;
        weir_row_stats_args stats = *a->stats;
        job.minmax = stats.minmax;
        WEIR_TRY(step(be, a, job, &done));
        if (done) return WEIR_OK;
        WEIR_TRY(weir__row_stats_cuda(be, &stats));
    }
    unsigned n_block;
    team_space space;
    WEIR_TRY(team_room<close_kernel>(be, l->n_seat, l->n_vocab, &n_block, &space));
    if (l->gamma > 0) {
        weir_accept_args rows = {};
        rows.session = l->accept;
        rows.n_session = l->n_seat;
        rows.ld_q = l->n_seat * l->ld_q;
        rows.ld_p = l->ld_p;
        rows.n_vocab = l->n_vocab;
        WEIR_TRY(weir__accept_rows_cuda(be, &rows));
    }
    K_LAUNCH_TEAM(close_kernel, n_block, TEAM_THREADS, 0, cu->stream)(*l, job, space);
    return weir__cuda_launched(be, "loop_close", "n_seat %d gamma %d n_vocab %d", l->n_seat, l->gamma,
                               l->n_vocab);
}

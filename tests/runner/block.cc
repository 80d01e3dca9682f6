/* What the threads of a block share: memory, barriers, and the operations of a warp. */
#include "tests/runner/internal.h"

#include <cstdlib>

namespace runner {

/* ---- shared memory ---- */

enum { SHARED_BYTES = 227 << 10, STATIC_BYTES = 48 << 10 };

struct wanted {
    size_t bytes, align;
    void *got;
    char *order;
};

/* 0xFF is a NaN in every float format, and an index far outside. */
static void make_shared(void *arg) {
    wanted *w = static_cast<wanted *>(arg);
    if (posix_memalign(&w->got, w->align, w->bytes ? w->bytes : 1) != 0) give_up("out of host memory");
    fill_bytes(w->got, 0xFF, w->bytes);
    order_release(w->order);
}

static void *shared_new(size_t bytes, size_t align, char *order) {
    wanted w = {bytes, align < 128 ? 128 : align, nullptr, order};
    act_as(MAKER, make_shared, &w);
    return w.got;
}

void *shared_static(int *slot, size_t bytes, size_t align, const char *name) {
    static int slots;
    thread *me = current();
    block *b = me->b;
    if (*slot < 0) *slot = slots++;
    const int i = *slot % MAX_SHARED;
    if (slots > 4096) give_up("shared variable %s: too many of them in one program", name);
    if (!b->shared[i]) {
        b->static_bytes += bytes;
        if (b->static_bytes > STATIC_BYTES)
            fail(me->at, "%s: more than 48 KiB of static shared memory", name);
        if (b->static_bytes + running()->dynamic > SHARED_BYTES) {
            fail(me->at, "%s: %zu static and %zu dynamic bytes of shared memory", name, b->static_bytes,
                 running()->dynamic);
        }
        b->shared[i] = shared_new(bytes, align, &b->shared_order[i]);
    }
    order_acquire(&b->shared_order[i]);
    return b->shared[i];
}

void *shared_dynamic() {
    block *b = current()->b;
    char *order = &b->shared_order[MAX_SHARED];
    if (!b->dynamic) b->dynamic = shared_new(running()->dynamic, 128, order);
    order_acquire(order);
    return b->dynamic;
}

/* ---- barriers ---- */

static void barrier_open(block *b) {
    block_barrier *bar = &b->bar;
    bar->result[bar->generation & 1] = bar->gathered;
    bar->arrived = bar->gathered = 0;
    bar->generation++;
    for (int i = 0; i < b->n; i++) {
        if (b->t[i]->st == state::BARRIER) wake(b->t[i]);
    }
}

/* Threads that exited count no more: the rest may be complete. */
void barrier_of_exited(block *b) {
    if (b->bar.arrived && b->bar.arrived == b->alive) barrier_open(b);
}

static void gather(block_barrier *bar, reduce how, int predicate) {
    const bool p = predicate != 0;
    if (bar->arrived == 0) bar->gathered = how == REDUCE_AND ? 1 : 0;
    if (how == REDUCE_OR) bar->gathered |= p;
    if (how == REDUCE_AND) bar->gathered &= p;
    if (how == REDUCE_COUNT) bar->gathered += p;
}

int barrier_all(reduce how, int predicate, site at) {
    thread *me = current();
    block *b = me->b;
    block_barrier *bar = &b->bar;
    me->at = at;
    if (bar->arrived && !same_site(bar->at, at)) {
        fail(at, "divergent barrier: other threads of the block wait at %s:%d", bar->at.file, bar->at.line);
    }
    gather(bar, how, predicate);
    bar->at = at;
    const unsigned generation = bar->generation;
    order_release(&bar->order[generation & 1]);
    if (++bar->arrived == b->alive) {
        barrier_open(b);
    } else {
        wait_here(state::BARRIER);
    }
    order_acquire(&bar->order[generation & 1]);
    return bar->result[generation & 1];
}

/* ---- warps ---- */

/* The lanes of the mask have all come to the same operation. */
static bool complete(const warp *w, int lane_, unsigned mask) {
    if ((w->waiting & mask) != mask) return false;
    const lane *mine = &w->of[lane_];
    for (unsigned m = mask; m; m &= m - 1) {
        const lane *other = &w->of[__builtin_ctz(m)];
        if (other->mask != mine->mask || other->op != mine->op) return false;
        if (!same_site(other->at, mine->at)) return false;
    }
    return true;
}

typedef void (*lanes_fn)(warp *w, unsigned mask);

static void meet(warp_op op, unsigned mask, lanes_fn fn, site at) {
    thread *me = current();
    block *b = me->b;
    warp *w = &b->w[me->index / 32];
    const int l = me->index % 32;
    me->at = at;
    w->of[l].mask = mask;
    w->of[l].op = op;
    w->of[l].at = at;
    if (!(mask >> l & 1)) fail(at, "lane %d is not in its own mask %08x", l, mask);
    if (mask == ~0u) mask &= w->present; /* the last warp of a block may be a part of one */
    if (mask & ~w->present) fail(at, "mask %08x names lanes beyond the block", mask);
    if (mask & w->exited) fail(at, "mask %08x names lanes that have exited (%08x)", mask, w->exited);
    w->waiting |= 1u << l;
    if (!complete(w, l, mask)) {
        wait_here(state::WARP);
        return;
    }
    if (fn) fn(w, mask);
    w->waiting &= ~mask;
    for (unsigned m = mask & ~(1u << l); m; m &= m - 1) wake(b->t[me->index - l + __builtin_ctz(m)]);
}

static warp *my_warp() { return &current()->b->w[current()->index / 32]; }
static int my_lane() { return current()->index % 32; }

void sync_warp(unsigned mask, site at) {
    warp *w = my_warp();
    /* One token a warp: masks that do not overlap are ordered too, which can only hide a race between
     * them. */
    order_release(&w->order);
    meet(SYNC, mask, nullptr, at);
    order_acquire(&w->order);
}

/* The value of a lane that does not take part. */
static const uint64_t NOBODYS = 0xBDBDBDBDBDBDBDBDull;

template <class W> static void move_words(void *to, const void *from, size_t n) {
    for (size_t i = 0; i < n; i++) {
        W x = static_cast<W>(NOBODYS);
        if (from) __builtin_memcpy(&x, static_cast<const char *>(from) + i * sizeof x, sizeof x);
        __builtin_memcpy(static_cast<char *>(to) + i * sizeof x, &x, sizeof x);
    }
}

/* `out` is not `in`: lanes read each other's. */
static void shuffle_lanes(warp *w, unsigned mask) {
    for (unsigned m = mask; m; m &= m - 1) {
        const lane *to = &w->of[__builtin_ctz(m)], *from = &w->of[to->source];
        const void *in = mask >> to->source & 1 ? from->in : nullptr;
        if (in && (from->n != to->n || from->word != to->word))
            fail(to->at, "lanes shuffle %zu and %zu bytes", from->n * from->word, to->n * to->word);
        if (to->word == 4) {
            move_words<uint32_t>(to->out, in, to->n);
        } else if (to->word == 8) {
            move_words<uint64_t>(to->out, in, to->n);
        } else {
            move_words<uint16_t>(to->out, in, to->n);
        }
    }
}

static int source_lane(warp_op op, int l, int arg, int width) {
    const int first = l & ~(width - 1), end = first + width;
    switch (op) {
    case SHFL: return first + (arg & (width - 1));
    case SHFL_UP: return l - arg < first ? l : l - arg;
    case SHFL_DOWN: return l + arg >= end ? l : l + arg;
    default: return (l ^ arg) >= end ? l : l ^ arg;
    }
}

void shuffle(warp_op op, unsigned mask, const void *in, void *out, size_t word, size_t n, int arg, int width,
             site at) {
    lane *me = &my_warp()->of[my_lane()];
    if (width < 1 || width > 32 || (width & (width - 1)) != 0) fail(at, "shuffle of width %d", width);
    if (op != SHFL && (arg < 0 || arg > 31)) fail(at, "shuffle by %d lanes", arg);
    me->in = in;
    me->out = out;
    me->word = word;
    me->n = n;
    me->source = source_lane(op, my_lane(), arg, width);
    meet(op, mask, shuffle_lanes, at);
}

static void ballot_lanes(warp *w, unsigned mask) {
    unsigned r = 0;
    for (unsigned m = mask; m; m &= m - 1) {
        const int i = __builtin_ctz(m);
        if (w->in[i]) r |= 1u << i;
    }
    for (unsigned m = mask; m; m &= m - 1) w->out[__builtin_ctz(m)] = r;
}

static void match_lanes(warp *w, unsigned mask) {
    for (unsigned m = mask; m; m &= m - 1) {
        const int to = __builtin_ctz(m);
        unsigned r = 0;
        for (unsigned o = mask; o; o &= o - 1) {
            const int i = __builtin_ctz(o);
            if (w->in[i] == w->in[to]) r |= 1u << i;
        }
        w->out[to] = r;
    }
}

static unsigned join(warp_op op, unsigned a, unsigned b) {
    const int ia = static_cast<int>(a), ib = static_cast<int>(b);
    switch (op) {
    case REDUCE_ADD: return a + b;
    case REDUCE_MIN: return a < b ? a : b;
    case REDUCE_MAX: return a > b ? a : b;
    case REDUCE_IMIN: return ia < ib ? a : b;
    case REDUCE_IMAX: return ia > ib ? a : b;
    case REDUCE_BAND: return a & b;
    case REDUCE_BOR: return a | b;
    default: return a ^ b;
    }
}

static void reduce_lanes(warp *w, unsigned mask) {
    const int first = __builtin_ctz(mask);
    unsigned r = static_cast<unsigned>(w->in[first]);
    for (unsigned m = mask & (mask - 1); m; m &= m - 1) {
        r = join(w->of[first].op, r, static_cast<unsigned>(w->in[__builtin_ctz(m)]));
    }
    for (unsigned m = mask; m; m &= m - 1) w->out[__builtin_ctz(m)] = r;
}

unsigned vote(warp_op op, unsigned mask, uint64_t value, site at) {
    warp *w = my_warp();
    w->in[my_lane()] = value;
    meet(op, mask, op == BALLOT ? ballot_lanes : op == MATCH ? match_lanes : reduce_lanes, at);
    return static_cast<unsigned>(w->out[my_lane()]);
}

/* ---- tensor cores ---- */

static void ldmatrix_lanes(warp *w, unsigned) {
    const bool trans = w->of[0].op == LDMATRIX_TRANS;
    for (int l = 0; l < 32; l++) {
        for (int j = 0; j < 4; j++) {
            for (int h = 0; h < 2; h++) {
                const int row = trans ? 2 * (l % 4) + h : l / 4;
                const int column = trans ? l / 4 : 2 * (l % 4) + h;
                __builtin_memcpy(w->wide_out[l] + 4 * j + 2 * h, w->wide_in[8 * j + row] + 2 * column, 2);
            }
        }
    }
}

void ldmatrix_x4(uint32_t (&r)[4], uint4 row, bool trans, site at) {
    warp *w = my_warp();
    __builtin_memcpy(w->wide_in[my_lane()], &row, 16);
    meet(trans ? LDMATRIX_TRANS : LDMATRIX, ~0u, ldmatrix_lanes, at);
    __builtin_memcpy(r, w->wide_out[my_lane()], 16);
}

struct mma_in {
    uint32_t a[4], b[2];
    float d[4];
};

static float half_of(uint32_t pair, int high) {
    const uint32_t u = high ? pair & 0xffff0000u : pair << 16;
    float x;
    __builtin_memcpy(&x, &u, 4);
    return x;
}

/* Eight columns of a row at once. */
typedef float columns __attribute__((vector_size(32)));

static void mma_gather(const warp *w, float (&a)[16][16], columns (&b)[16], columns (&d)[16]) {
    for (int l = 0; l < 32; l++) {
        mma_in in;
        __builtin_memcpy(&in, w->wide_in[l], sizeof in);
        const int g = l / 4, t = l % 4;
        for (int h = 0; h < 2; h++) {
            a[g][2 * t + h] = half_of(in.a[0], h);
            a[g + 8][2 * t + h] = half_of(in.a[1], h);
            a[g][2 * t + 8 + h] = half_of(in.a[2], h);
            a[g + 8][2 * t + 8 + h] = half_of(in.a[3], h);
            b[2 * t + h][g] = half_of(in.b[0], h);
            b[2 * t + 8 + h][g] = half_of(in.b[1], h);
        }
        for (int q = 0; q < 4; q++) d[g + 8 * (q / 2)][2 * t + q % 2] = in.d[q];
    }
}

/* The sum is d, then k = 0 … 15 in turn, each step rounded to float. Tensor cores add otherwise (an order of
 * their own, fewer roundings): tests of kernels with mma compare within a tolerance, and equal bits only
 * among runs of one machine. */
static void mma_lanes(warp *w, unsigned) {
    float a[16][16];
    columns b[16], d[16];
    mma_gather(w, a, b, d);
    for (int row = 0; row < 16; row++) {
        columns sum = d[row];
        for (int k = 0; k < 16; k++) sum += a[row][k] * b[k];
        d[row] = sum;
    }
    for (int l = 0; l < 32; l++) {
        const int g = l / 4, t = l % 4;
        float out[4];
        for (int q = 0; q < 4; q++) out[q] = d[g + 8 * (q / 2)][2 * t + q % 2];
        __builtin_memcpy(w->wide_out[l], out, sizeof out);
    }
}

/* Sums of bytes are exact, and wrap. */
static void mma_s8_lanes(warp *w, unsigned) {
    mma_in in[32];
    int8_t a[16][32], b[8][32]; /* b by columns */
    for (int l = 0; l < 32; l++) {
        __builtin_memcpy(&in[l], w->wide_in[l], sizeof in[l]);
        const int g = l / 4, t = l % 4;
        for (int i = 0; i < 4; i++) __builtin_memcpy(&a[g + i % 2 * 8][i / 2 * 16 + 4 * t], &in[l].a[i], 4);
        for (int i = 0; i < 2; i++) __builtin_memcpy(&b[g][i * 16 + 4 * t], &in[l].b[i], 4);
    }
    for (int l = 0; l < 32; l++) {
        for (int q = 0; q < 4; q++) {
            const int row = l / 4 + 8 * (q / 2), column = l % 4 * 2 + q % 2;
            int32_t sum = 0, d;
            for (int k = 0; k < 32; k++) sum += a[row][k] * b[column][k];
            __builtin_memcpy(&d, &in[l].d[q], 4);
            const uint32_t out = static_cast<uint32_t>(d) + static_cast<uint32_t>(sum);
            __builtin_memcpy(w->wide_out[l] + 4 * q, &out, 4);
        }
    }
}

template <class D>
static void mma(D (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], void lanes(warp *, unsigned),
                site at) {
    warp *w = my_warp();
    mma_in in;
    __builtin_memcpy(in.a, a, sizeof a);
    __builtin_memcpy(in.b, b, sizeof b);
    __builtin_memcpy(in.d, d, sizeof d);
    __builtin_memcpy(w->wide_in[my_lane()], &in, sizeof in);
    meet(MMA, ~0u, lanes, at);
    __builtin_memcpy(d, w->wide_out[my_lane()], sizeof d);
}

void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], site at) {
    mma(d, a, b, mma_lanes, at);
}

void mma_s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], site at) {
    mma(d, a, b, mma_s8_lanes, at);
}

} // namespace runner

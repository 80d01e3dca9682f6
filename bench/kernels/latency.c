/* What the parts of a device cost that every kernel pays for: launches, barriers, trips to memory. Of a
 * device only. bench/model/ takes its constants from the CSV. */
#include "bench/kernels/latency.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/kernels/bench.h"
#include "kernels/base/mem.h"

enum { CHAIN = 64, TURNS = 20, STEPS = 100, LONG = 4096, PASSES = 8, FLAG = 3 };

/* The memory of all probes. */
typedef struct lab {
    uint32_t *far, *near, *random, *host, *host_there; /* far: zeros, as near; host: mapped */
    uint32_t *small; /* two words of results, a tally, the turns of a loop */
    int64_t n_far, n_near, n_random;
    uint32_t sum; /* of the random words */
} lab;

typedef struct probe {
    kb_latency a;
    const lab *l;
    int chain, turns; /* launches in a recording; times that a loop runs it, 0: no loop */
} probe;

static weir_status run_probe(kb *k, void *ctx, int i) {
    const probe *p = ctx;
    if (p->turns > 0 && i == p->chain) return kb_latency_turn(k->be, p->l->small + 3, p->turns);
    return kb_latency_launch(k->be, &p->a);
}

/* ---- memory -------------------------------------------------------------------------------------------- */

static uint32_t *zeros(kb *k, int64_t n) {
    uint32_t *p = weir__backend_alloc(k->be, (size_t)n * sizeof *p);
    if (p && weir__backend_zero(k->be, p, (size_t)n * sizeof *p) == WEIR_OK) return p;
    weir__backend_free(k->be, p);
    return NULL;
}

static weir_status open_lab(kb *k, lab *l) {
    *l = (lab){.n_far = k->tiny ? 1 << 17 : 1 << 26,
               .n_near = k->tiny ? 1 << 17 : 1 << 18,
               .n_random = k->tiny ? 1 << 10 : 1 << 22};
    uint32_t *random = weir_alloc((size_t)l->n_random, sizeof *random);
    void *there = NULL;
    if (random) kb_random_bf16(k, (uint16_t *)random, 2 * (size_t)l->n_random);
    for (int64_t i = 0; random && i < l->n_random; i++) l->sum += random[i];
    l->far = zeros(k, l->n_far);
    l->near = zeros(k, l->n_near);
    l->small = zeros(k, 4);
    l->random = random ? kb_to_device(k, random, (size_t)l->n_random * sizeof *random) : NULL;
    l->host = k->be->stream->alloc_mapped(k->be, sizeof *l->host, &there);
    l->host_there = there;
    weir_free(random);
    return l->far && l->near && l->small && l->random && l->host ? WEIR_OK : WEIR_EDEVMEM;
}

static void close_lab(kb *k, lab *l) {
    weir__backend_free(k->be, l->far);
    weir__backend_free(k->be, l->near);
    weir__backend_free(k->be, l->small);
    weir__backend_free(k->be, l->random);
    k->be->stream->free_mapped(k->be, l->host);
}

/* ---- against what must come out ------------------------------------------------------------------------ */

static uint32_t chain_of_fma(int32_t steps) {
    float x = 0.999f;
    uint32_t bits;
    for (int32_t i = 0; i < steps; i++) x = fmaf(x, 0.999f, 0.5f);
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static uint32_t expected(const probe *p) {
    const uint32_t steps = (uint32_t)p->a.steps;
    switch (p->a.probe) {
    case KB_EMPTY: return (uint32_t)(p->chain * (p->turns ? p->turns : 1));
    case KB_FLAG:
    case KB_FLAG_ACQUIRE: return FLAG * steps;
    case KB_CHASE: return (uint32_t)((int64_t)p->a.steps * KB_CHASE_STRIDE % p->a.n_word);
    case KB_READ: return steps * p->l->sum;
    case KB_FMA: return chain_of_fma(p->a.steps);
    default: return steps; /* barriers and stores */
    }
}

static weir_status run_chain(void *ctx) {
    void *const *both = ctx;
    const probe *p = both[1];
    for (int i = 0; i < p->chain + (p->turns > 0); i++) WEIR_TRY(run_probe(both[0], both[1], i));
    return WEIR_OK;
}

static weir_status run_counted(kb *k, probe *p) {
    void *both[2] = {k, p};
    weir_graph *g = NULL;
    if (p->turns == 0) return run_chain(both);
    WEIR_TRY(k->be->stream->capture(k->be, run_chain, both, true, &g));
    const weir_status s = k->be->stream->launch(k->be, g);
    k->be->stream->graph_free(k->be, g);
    return s;
}

/* error: 1 if what comes out is not what must. ENOTSUP: the device has no such thing. */
static weir_status check(kb *k, const probe *p, double *error) {
    probe counted = *p;
    uint32_t small[3], stored = 0;
    *p->l->host = FLAG;
    counted.a.tally = p->l->small + 2;
    if (p->a.probe != KB_EMPTY) counted.chain = 1;
    WEIR_TRY(weir__backend_zero(k->be, p->l->small, 4 * sizeof(uint32_t)));
    WEIR_TRY(run_counted(k, &counted));
    WEIR_TRY(weir__backend_download(k->be, small, p->l->small, sizeof small));
    if (p->a.probe == KB_FENCE && p->a.words != p->l->host_there)
        WEIR_TRY(weir__backend_download(k->be, &stored, p->a.words, sizeof stored));
    else
        stored = *p->l->host;
    const bool counts = p->a.probe == KB_EMPTY || p->a.probe == KB_TEAM_BARRIER || p->a.probe == KB_CLUSTER ||
                        p->a.probe == KB_READ;
    const uint32_t got = p->a.probe == KB_FENCE ? stored : small[counts ? 2 : 0];
    *error = got == expected(p) ? 0 : 1;
    /* a backend may make a straight graph where a loop was asked for */
    return p->turns > 1 && got == (uint32_t)p->chain ? WEIR_ENOTSUP : WEIR_OK;
}

/* ---- rows ---------------------------------------------------------------------------------------------- */

static void time_probe(kb *k, const char *op, const char *shape, probe *p, bool called) {
    kb_case c = {.run = run_probe,
                 .ctx = p,
                 .called = called,
                 .looped = p->turns > 0,
                 .inner = p->chain + (p->turns > 0),
                 .steps = p->turns > 0 ? p->turns : p->a.steps,
                 .bytes = p->a.probe == KB_READ ? 4.0 * (double)p->a.n_word : 0};
    (void)snprintf(c.op, sizeof c.op, "%s", op);
    (void)snprintf(c.shape, sizeof c.shape, "%s", shape);
    p->a.out = p->l->small;
    const weir_status s = check(k, p, &c.error);
    if (s == WEIR_ENOTSUP)
        printf("%-16s %-58s not on this device\n", op, shape);
    else if (s != WEIR_OK)
        kb_give_up(k, op, shape, s);
    else
        kb_measure(k, &c, 1);
}

static void time_steps(kb *k, const lab *l, const char *op, const char *shape, kb_latency a, int steps) {
    probe p = {.a = a, .l = l, .chain = kb_inner(k, 0)};
    p.a.steps = k->tiny ? 3 : steps;
    time_probe(k, op, shape, &p, false);
}

static void time_memory(kb *k, const lab *l) {
    time_steps(k, l, "multiply-add", "a chain of one warp", (kb_latency){.probe = KB_FMA}, LONG);
    time_steps(k, l, "trip", "L2", (kb_latency){.probe = KB_CHASE, .words = l->near, .n_word = l->n_near},
               STEPS);
    time_steps(k, l, "trip", "memory", (kb_latency){.probe = KB_CHASE, .words = l->far, .n_word = l->n_far},
               STEPS);
    time_steps(k, l, "read", "16 MiB in L2, all blocks",
               (kb_latency){.probe = KB_READ, .words = l->random, .n_word = l->n_random}, PASSES);
    kb_latency host = {.probe = KB_FLAG, .words = l->host_there};
    time_steps(k, l, "flag of the host", "relaxed", host, STEPS);
    host.probe = KB_FLAG_ACQUIRE;
    time_steps(k, l, "flag of the host", "acquire", host, STEPS);
    host.probe = KB_FENCE;
    time_steps(k, l, "system fence", "after a store to the host", host, STEPS);
    host.words = l->near; /* no longer zeros */
    time_steps(k, l, "system fence", "after a store to the device", host, STEPS);
}

static void time_barriers(kb *k, const lab *l) {
    time_steps(k, l, "team barrier", "all blocks", (kb_latency){.probe = KB_TEAM_BARRIER}, STEPS);
    time_steps(k, l, "team barrier", "8 blocks", (kb_latency){.probe = KB_TEAM_BARRIER, .n_block = 8}, STEPS);
    for (int32_t n = 2; n <= 16; n *= 2) {
        char shape[32];
        (void)snprintf(shape, sizeof shape, "clusters of %d blocks", (int)n);
        time_steps(k, l, "cluster barrier", shape, (kb_latency){.probe = KB_CLUSTER, .n_block = n}, STEPS);
    }
}

static void time_launches(kb *k, const lab *l) {
    static const char *const how[] = {"plain", "programmatic", "cooperative"};
    static const char *const where[] = {"called", "straight graph", "WHILE graph"};
    const int turns = k->tiny ? 2 : TURNS;
    for (int i = 0; i < 18; i++) {
        const int w = i / 6;
        probe p = {.a = {.probe = KB_EMPTY, .how = (kb_how)(i / 2 % 3), .n_block = i % 2 ? 0 : 1},
                   .l = l,
                   .chain = k->tiny ? 3 : CHAIN,
                   .turns = w == 2 ? turns : 0};
        char shape[64];
        (void)snprintf(shape, sizeof shape, "%s, %s, %s", how[p.a.how], where[w],
                       i % 2 ? "all blocks" : "1 block");
        time_probe(k, "launch", shape, &p, w == 0);
    }
}

/* What a driver may refuse comes last: a refusal breaks the stream. */
void kb_latencies(kb *k) {
    lab l;
    if (!k->be->device) return;
    const weir_status s = open_lab(k, &l);
    if (s == WEIR_OK) {
        time_memory(k, &l);
        time_barriers(k, &l);
        time_launches(k, &l);
    } else {
        kb_give_up(k, "latency", "memory of its probes", s);
    }
    close_lab(k, &l);
}

/* Memory, copies and recordings of a CUDA device: the GPU's, or the runner's. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "kernels/accept/cuda.h"
#include "kernels/base/mem.h"
#include "tests/kernels/loop/loop_fixture.h"
#include "tests/support/device.h"

enum { RING = 8 * (2 << 20) }; /* bytes that uploads can be ahead of the device: kernels/cuda/cuda.cuh */

static unsigned char pattern(size_t i, unsigned seed) {
    return (unsigned char)((i * 2654435761u + seed) >> 13);
}

static void fill(unsigned char *p, size_t n, unsigned seed) {
    for (size_t i = 0; i < n; i++) p[i] = pattern(i, seed);
}

/* Index of the first byte that is not the pattern's, or n. */
static size_t first_wrong(const unsigned char *p, size_t n, unsigned seed) {
    for (size_t i = 0; i < n; i++) {
        if (p[i] != pattern(i, seed)) return i;
    }
    return n;
}

static void expect(weir_backend *be, weir_status got) {
    cr_assert_eq(got, WEIR_OK, "status %d: %s", (int)got, be->err.text);
}

Test(cuda_backend, an_open_device_says_what_it_is_and_has_every_op) {
    weir_backend *be = device_open();
    cr_assert_str_eq(be->name, "cuda:0");
    cr_assert(strstr(be->about, ", sm_") && strstr(be->about, " GiB"), "%s", be->about);
    cr_assert(be->device && be->minmaxes);
    cr_assert_eq(be->chunk, 256);
    cr_assert_gt(be->memory_free, 0);
    cr_assert_gt(be->scratch_floats, 0);
    cr_assert_eq((uintptr_t)be->scratch % 256, 0);
    cr_assert_str_empty(be->err.text);
#define HAS_OP(op_name, args) cr_assert_not_null(be->op.op_name, "no " #op_name);
    WEIR_OP_MAP(HAS_OP)
#undef HAS_OP
    weir__backend_close(be);
}

Test(cuda_backend, a_device_that_is_not_there_is_refused_with_the_number_of_those_that_are) {
    weir__backend_close(device_open()); /* skips where there is none */
    const int n = weir__backend_cuda_count(NULL);
    cr_assert_geq(n, 1);
    const int absent[] = {-1, 1000};
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) {
        weir_backend *be = NULL;
        weir_err err;
        cr_assert_eq(weir__backend_cuda_open(&be, absent[i], &err), WEIR_EINVAL);
        char want[64];
        snprintf(want, sizeof want, "cuda:%d: this machine has ", absent[i]);
        cr_assert(strstr(err.text, want), "%s", err.text);
        cr_assert_null(be);
    }
    cr_assert_eq(weir__backend_cuda_open(NULL, 0, NULL), WEIR_EINVAL);
}

/* The source is overwritten at once; the largest size goes round the ring of staging memory more than
 * once. */
Test(cuda_backend, what_was_uploaded_comes_back_whatever_becomes_of_the_source) {
    weir_backend *be = device_open();
    const size_t sizes[] = {0, 1, 3, 256, 4097, (2 << 20) - 1, (2 << 20) + 1, RING + RING / 2 + 5};
    const size_t most = sizes[sizeof sizes / sizeof sizes[0] - 1];
    unsigned char *host = weir_alloc(most, 1);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        const size_t n = sizes[s];
        unsigned char *p = weir__backend_alloc(be, n);
        cr_assert_not_null(p);
        cr_assert_eq((uintptr_t)p % 256, 0);
        fill(host, n, (unsigned)s);
        expect(be, weir__backend_upload(be, p, host, n));
        memset(host, 0xee, most);
        expect(be, weir__backend_download(be, host, p, n));
        cr_assert_eq(first_wrong(host, n, (unsigned)s), n, "%zu bytes", n);
        weir__backend_free(be, p);
    }
    weir__backend_free(be, NULL);
    weir_free(host);
    weir__backend_close(be);
}

Test(cuda_backend, uploads_of_a_few_bytes_keep_their_order) {
    weir_backend *be = device_open();
    enum { N = 3000, LEN = 3 * 1000 }; /* 9 MB through parts of 2 MiB */
    unsigned char *p = weir__backend_alloc(be, LEN), got[LEN], small[LEN];
    for (unsigned i = 0; i < N; i++) {
        fill(small, LEN, i);
        expect(be, weir__backend_upload(be, p, small, LEN));
    }
    expect(be, weir__backend_download(be, got, p, LEN));
    cr_assert_eq(first_wrong(got, LEN, N - 1), LEN);
    weir__backend_free(be, p);
    weir__backend_close(be);
}

Test(cuda_backend, copies_and_zeros_touch_their_bytes_only) {
    weir_backend *be = device_open();
    enum { N = 1000 };
    unsigned char host[N];
    unsigned char *a = weir__backend_alloc(be, N), *b = weir__backend_alloc(be, N);
    fill(host, N, 7);
    expect(be, weir__backend_upload(be, a, host, N));
    expect(be, weir__backend_upload(be, b, host, N));
    expect(be, weir__backend_zero(be, b + 10, 33));
    expect(be, weir__backend_zero(be, b, 0));
    expect(be, be->stream->copy(be, b + 500, a, 100));
    expect(be, be->stream->copy(be, b, a, 0));
    expect(be, weir__backend_download(be, host, b, N));
    for (size_t i = 0; i < N; i++) {
        const unsigned char want = i >= 10 && i < 43     ? 0
                                   : i >= 500 && i < 600 ? pattern(i - 500, 7)
                                                         : pattern(i, 7);
        cr_assert_eq(host[i], want, "byte %zu", i);
    }
    weir__backend_free(be, a);
    weir__backend_free(be, b);
    weir__backend_close(be);
}

Test(cuda_backend, mapped_memory_starts_as_zeros_and_shows_what_the_device_wrote) {
    weir_backend *be = device_open();
    enum { N = 777 };
    void *seen = NULL;
    unsigned char *mapped = be->stream->alloc_mapped(be, N, &seen), host[N];
    cr_assert(mapped && seen);
    for (size_t i = 0; i < N; i++) cr_assert_eq(mapped[i], 0, "byte %zu", i);
    unsigned char *a = weir__backend_alloc(be, N);
    fill(host, N, 3);
    expect(be, weir__backend_upload(be, a, host, N));
    expect(be, be->stream->copy(be, seen, a, N));
    expect(be, be->stream->wait(be));
    cr_assert_eq(first_wrong(mapped, N, 3), N);
    weir__backend_free(be, a);
    be->stream->free_mapped(be, mapped);
    be->stream->free_mapped(be, NULL);
    weir__backend_close(be);
}

Test(cuda_backend, memory_that_is_not_there_is_refused_and_nothing_breaks) {
    weir_backend *be = device_open();
    cr_assert_null(weir__backend_alloc(be, (size_t)1 << 50));
    const size_t before = be->scratch_floats;
    cr_assert_eq(weir__backend_reserve(be, (size_t)1 << 48), WEIR_EDEVMEM);
    cr_assert_eq(weir__backend_reserve(be, SIZE_MAX / 4 + 2), WEIR_EDEVMEM,
                 "4 bytes, were the product to wrap");
    cr_assert_eq(be->scratch_floats, before);
    cr_assert_str_empty(be->err.text);
    expect(be, weir__backend_zero(be, be->scratch, 64));
    expect(be, weir__backend_reserve(be, 1));
    cr_assert_eq(be->scratch_floats, before);
    expect(be, weir__backend_reserve(be, before + 1000));
    cr_assert_geq(be->scratch_floats, before + 1000);
    expect(be, weir__backend_zero(be, be->scratch, be->scratch_floats * sizeof(float)));
    expect(be, be->stream->wait(be));
    weir__backend_close(be);
}

Test(cuda_backend, the_queue_is_idle_once_it_was_waited_for_and_marks_tell_the_time) {
    weir_backend *be = device_open();
    bool busy = true;
    double seconds = -1.0;
    cr_assert_eq(be->stream->elapsed(be, 0, 1, &seconds), WEIR_EINVAL, "nothing was marked yet");
    expect(be, be->stream->stamp(be, 0));
    cr_assert_eq(be->stream->elapsed(be, 0, 1, &seconds), WEIR_EINVAL, "mark 1 was never set");
    expect(be, weir__backend_zero(be, be->scratch, 4096));
    expect(be, be->stream->stamp(be, WEIR_STAMPS - 1));
    expect(be, be->stream->elapsed(be, 0, WEIR_STAMPS - 1, &seconds));
    cr_assert(seconds >= 0.0 && seconds < 600.0, "%g s", seconds);
    expect(be, be->stream->stamp(be, 0));
    const int bad[] = {-1, WEIR_STAMPS};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_eq(be->stream->stamp(be, bad[i]), WEIR_EINVAL);
        cr_assert_eq(be->stream->elapsed(be, 0, bad[i], &seconds), WEIR_EINVAL);
        cr_assert_eq(be->stream->elapsed(be, bad[i], 0, &seconds), WEIR_EINVAL);
    }
    expect(be, be->stream->wait(be));
    expect(be, be->stream->poll(be, &busy));
    cr_assert_not(busy);
    weir__backend_close(be);
}

/* ---- recordings ---------------------------------------------------------------------------------------- */

/* dst: what src holds, but zeros from byte 4 to 8. */
typedef struct splice {
    weir_backend *be;
    unsigned char *dst, *src;
    size_t n;
    weir_status end; /* what the body returns in the end */
    weir_status refused[6];
    void *no_memory;
} splice;

static weir_status splice_body(void *ctx) {
    splice *s = ctx;
    WEIR_TRY(s->be->stream->copy(s->be, s->dst, s->src, s->n));
    WEIR_TRY(weir__backend_zero(s->be, s->dst + 4, 4));
    return s->end;
}

Test(cuda_backend, a_recording_runs_when_it_is_replayed_and_as_often) {
    weir_backend *be = device_open();
    enum { N = 300 };
    unsigned char host[N];
    splice s = {.be = be, .dst = weir__backend_alloc(be, N), .src = weir__backend_alloc(be, N), .n = N};
    expect(be, weir__backend_zero(be, s.dst, N));
    weir_graph *g = NULL;
    expect(be, be->stream->capture(be, splice_body, &s, false, &g));
    expect(be, weir__backend_download(be, host, s.dst, N));
    for (size_t i = 0; i < N; i++) cr_assert_eq(host[i], 0, "byte %zu was written while recording", i);
    for (unsigned turn = 1; turn <= 3; turn++) {
        fill(host, N, turn);
        expect(be, weir__backend_upload(be, s.src, host, N));
        expect(be, be->stream->launch(be, g));
        expect(be, weir__backend_download(be, host, s.dst, N));
        for (size_t i = 0; i < N; i++) {
            cr_assert_eq(host[i], i >= 4 && i < 8 ? 0 : pattern(i, turn), "turn %u byte %zu", turn, i);
        }
    }
    be->stream->graph_free(be, g);
    be->stream->graph_free(be, NULL);
    weir__backend_free(be, s.dst);
    weir__backend_free(be, s.src);
    weir__backend_close(be);
}

Test(cuda_backend, a_recording_whose_body_fails_is_dropped_and_the_next_one_works) {
    weir_backend *be = device_open();
    splice s = {.be = be, .dst = weir__backend_alloc(be, 64), .src = weir__backend_alloc(be, 64), .n = 64};
    weir_graph *g = NULL;
    for (int looped = 0; looped < 2; looped++) {
        s.end = WEIR_EMISMATCH;
        cr_assert_eq(be->stream->capture(be, splice_body, &s, looped, &g), WEIR_EMISMATCH);
        cr_assert_null(g);
        cr_assert_str_empty(be->err.text);
    }
    cr_assert_eq(be->stream->capture(be, NULL, &s, false, &g), WEIR_EINVAL);
    cr_assert_eq(be->stream->capture(be, splice_body, &s, false, NULL), WEIR_EINVAL);
    cr_assert_eq(be->stream->launch(be, NULL), WEIR_EINVAL);
    s.end = WEIR_OK;
    expect(be, be->stream->capture(be, splice_body, &s, false, &g));
    expect(be, be->stream->launch(be, g));
    expect(be, be->stream->wait(be));
    be->stream->graph_free(be, g);
    weir__backend_free(be, s.dst);
    weir__backend_free(be, s.src);
    weir__backend_close(be);
}

/* Whatever cannot be part of a graph. */
static weir_status forbidden_body(void *ctx) {
    splice *s = ctx;
    weir_graph *inner = NULL;
    bool busy;
    const weir_backend_stream *q = s->be->stream;
    s->refused[0] = q->upload(s->be, s->dst, "x", 1);
    s->refused[1] = q->download(s->be, s->src, s->dst, 1);
    s->refused[2] = q->wait(s->be);
    s->refused[3] = q->poll(s->be, &busy);
    s->refused[4] = q->capture(s->be, splice_body, s, false, &inner);
    s->refused[5] = q->stamp(s->be, 0);
    s->no_memory = q->alloc(s->be, 1);
    return splice_body(ctx);
}

Test(cuda_backend, what_cannot_be_recorded_is_refused_and_leaves_the_recording_whole) {
    weir_backend *be = device_open();
    splice s = {.be = be, .dst = weir__backend_alloc(be, 64), .src = weir__backend_alloc(be, 64), .n = 64};
    unsigned char host[64];
    fill(host, 64, 5);
    expect(be, weir__backend_upload(be, s.src, host, 64));
    s.no_memory = s.dst;
    weir_graph *g = NULL;
    expect(be, be->stream->capture(be, forbidden_body, &s, false, &g));
    for (size_t i = 0; i < sizeof s.refused / sizeof s.refused[0]; i++) {
        cr_assert_eq(s.refused[i], WEIR_EINVAL, "call %zu: status %d", i, (int)s.refused[i]);
    }
    cr_assert_null(s.no_memory);
    expect(be, be->stream->launch(be, g));
    expect(be, weir__backend_download(be, host, s.dst, 64));
    cr_assert_eq(host[0], pattern(0, 5));
    cr_assert_eq(weir__backend_reserve(be, be->scratch_floats + 1), WEIR_EINVAL,
                 "a graph may hold the scratch");
    be->stream->graph_free(be, g);
    expect(be, weir__backend_reserve(be, be->scratch_floats + 1));
    weir__backend_free(be, s.dst);
    weir__backend_free(be, s.src);
    weir__backend_close(be);
}

/* ---- loops --------------------------------------------------------------------------------------------- */

enum { V = 50, ARGMAX = 7 };

/* A block of the verifier alone. */
static weir_status alone_body(void *ctx) {
    bucket *b = ctx;
    const weir_backend_ops *op = &b->be->op;
    WEIR_TRY(op->loop_rows(b->be, &(weir_loop_rows){.loop = &b->l,
                                                    .step = WEIR_LOOP_VERIFY,
                                                    .token = b->token,
                                                    .pos = b->pos,
                                                    .slot = b->slot,
                                                    .law_of = b->law_of,
                                                    .law = b->law}));
    WEIR_TRY(op->row_stats(b->be, &(weir_row_stats_args){.logits = b->l.p_logits,
                                                         .ld = V,
                                                         .n_row = 1,
                                                         .n_vocab = V,
                                                         .law = b->law,
                                                         .law_of = b->law_of,
                                                         .out = b->l.p_stats}));
    return op->loop_close(b->be, &(weir_loop_close){.loop = &b->l});
}

static weir_seat greedy_seat(int limit) {
    weir_seat s = {.law = weir_law_default(), .limit = limit, .tail = {0, 1}, .bonus_from = INT32_MAX};
    s.law.temp = 0.0f;
    return s;
}

static bucket *alone_new(weir_backend *be) {
    expect(be, weir__backend_reserve(be, (size_t)weir__accept_cuda_scratch_floats(V)));
    bucket *b = bucket_new(be, 1, 0, false, V, V);
    float logits[V] = {0};
    logits[ARGMAX] = 3.0f;
    expect(be, weir__backend_upload(be, b->l.p_logits, logits, sizeof logits));
    return b;
}

static void expect_loop(bucket *b, weir_graph *g, const weir_seat *seat, int launch, int done, int running) {
    const weir_loop_flags *flags = b->mapped_flags;
    bucket_sit(b, seat, launch);
    expect(b->be, b->be->stream->launch(b->be, g));
    expect(b->be, b->be->stream->wait(b->be));
    cr_assert(flags->done == done && flags->running == running && flags->over == 1,
              "done %d, running %d, over %d", flags->done, flags->running, flags->over);
    const weir_block_outcome *last = (weir_block_outcome *)b->mapped_ring + (done - 1) % BUCKET_DEPTH;
    cr_assert(last->live == 1 && last->position == done - 1 && last->closing == 1 && last->token == ARGMAX,
              "live %d, position %d, closing %d, token %d", last->live, last->position, last->closing,
              last->token);
}

Test(cuda_backend, a_loop_runs_until_its_last_block_says_so_at_every_replay) {
    weir_backend *be = device_open();
    bucket *b = alone_new(be);
    weir_graph *g = NULL;
    const weir_seat five = greedy_seat(5), many = greedy_seat(1000);
    bucket_sit(b, &five, 100);
    expect(be, be->stream->capture(be, alone_body, b, true, &g));
    expect_loop(b, g, &five, 100, 5, 0);
    expect_loop(b, g, &many, 3, 3, 1);
    expect_loop(b, g, &many, 1, 1, 1);
    expect_loop(b, g, &five, 100, 5, 0);
    be->stream->graph_free(be, g);
    /* outside a loop the same op ends a block and nothing else */
    bucket_sit(b, &many, 100);
    expect(be, alone_body(b));
    expect(be, be->stream->wait(be));
    cr_assert_eq(((weir_loop_flags *)b->mapped_flags)->done, 1);
    bucket_free(b);
    weir__backend_close(be);
}

Test(cuda_backend, several_loops_are_recorded_before_any_of_them_runs) {
    weir_backend *be = device_open();
    bucket *b[2] = {alone_new(be), alone_new(be)};
    weir_graph *g[2] = {NULL, NULL};
    const weir_seat seat = greedy_seat(4);
    for (int i = 0; i < 2; i++) expect(be, be->stream->capture(be, alone_body, b[i], true, &g[i]));
    for (int i = 1; i >= 0; i--) expect_loop(b[i], g[i], &seat, 100, 4, 0);
    for (int i = 0; i < 2; i++) {
        be->stream->graph_free(be, g[i]);
        bucket_free(b[i]);
    }
    weir__backend_close(be);
}

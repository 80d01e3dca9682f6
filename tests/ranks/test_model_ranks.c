/* Models over 1, 2, 4 and 8 ranks: the logits of one rank, bit for bit. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/deck/kv.h"
#include "tests/models/fake.h"
#include "tests/ranks/group.h"
#include "tests/support/compare.h"

enum { SLOTS = 3, CALLS = 3, LEN = 128 };

/* A model, a group that serves it, and what rank 0 found. */
typedef struct subject {
    const char *name;
    fake *(*make)(const struct subject *s);
    weir_t5_config t5;
    weir_decoder_config decoder;
    weir_dtype dtype;
    weir_isa isa;
    bool whole_body;
    float *logits; /* (CALLS, FAKE_ROW, n_vocab) */
    weir_status status[WEIR_RANKS];
    weir_share share[WEIR_RANKS];
    size_t weights[WEIR_RANKS];
    uint64_t bytes, gathered; /* of rank 0, by the last call */
} subject;

static fake *make_t5(const subject *s) { return fake_t5(&s->t5, s->dtype); }
static fake *make_decoder(const subject *s) { return fake_decoder(&s->decoder, s->dtype); }

/* One rank's caches. */
typedef struct caches {
    weir_kv_pool *self, *cross, *slide;
    weir_kv kv;
    int32_t cross_len[SLOTS];
} caches;

static weir_status open_pool(weir_backend *be, const weir_model_facts *x, int32_t n_layer,
                             weir_kv_pool **pool, weir_kv_view *view) {
    const weir_kv_shape shape = {.n_slot = SLOTS,
                                 .max_len = LEN,
                                 .n_layer = n_layer,
                                 .n_head_kv = x->n_head_kv,
                                 .head_dim = x->head_dim,
                                 .dtype = x->kv_dtype};
    WEIR_TRY(weir__kv_pool_create(pool, be, &shape));
    for (int32_t slot = 0; slot < SLOTS; slot++) WEIR_TRY(weir__kv_pool_resize(*pool, slot, LEN));
    WEIR_TRY(weir__kv_pool_sync(*pool));
    *view = *weir__kv_pool_view(*pool);
    return WEIR_OK;
}

static weir_status open_caches(weir_backend *be, const weir_model_facts *x, caches *c) {
    WEIR_TRY(open_pool(be, x, x->n_layer_self, &c->self, &c->kv.self));
    if (x->n_layer_cross == 0) return WEIR_OK;
    c->kv.cross_len = c->cross_len;
    return open_pool(be, x, x->n_layer_cross, &c->cross, &c->kv.cross);
}

/* Two prompts, one of them longer than a chunk; then rows of both, of a dead slot, and a few logits. */
static weir_status run(const subject *s, weir_model *m, caches *c, float *logits) {
    static const int32_t length[] = {81, 7};
    const weir_model_facts *x = weir__model_get_facts(m);
    int32_t prompt[FAKE_PROMPT];
    (void)s;
    for (int32_t slot = 0; slot < 2; slot++) {
        for (int32_t i = 0; i < length[slot]; i++) prompt[i] = (i * 577 + slot * 31 + 5) % x->n_vocab_rows;
        c->cross_len[slot] = length[slot];
        WEIR_TRY(weir__model_prefill(m, &c->kv, slot, prompt, length[slot]));
    }
    for (int call = 0; call < CALLS; call++) {
        int32_t token[FAKE_ROW], pos[FAKE_ROW], slot[FAKE_ROW], out[FAKE_ROW];
        const int32_t n[2] = {call == 1 ? 1 : 6, 5},
                      base[2] = {x->encoder_decoder ? 0 : 81, x->encoder_decoder ? 0 : 7};
        weir_batch b = {.token = token, .pos = pos, .slot = slot, .out = out, .logits = logits};
        for (int which = 0; which < 2; which++) {
            for (int32_t i = 0; i < n[which]; i++, b.n_row++) {
                token[b.n_row] = (b.n_row * 769 + call * 13) % x->n_vocab_rows;
                pos[b.n_row] = base[which] + call * 6 + i;
                slot[b.n_row] = which;
                if (i != 1) out[b.n_out++] = b.n_row;
            }
        }
        token[b.n_row] = 0, pos[b.n_row] = 0, slot[b.n_row] = -1, b.n_row++;
        if (logits) b.logits = logits + (int64_t)call * FAKE_ROW * x->n_vocab_rows;
        WEIR_TRY(weir__model_forward(m, &c->kv, &b));
    }
    return WEIR_OK;
}

static weir_status open_and_run(subject *s, weir_comm *comm, weir_backend **be, weir_model **m, caches *c) {
    WEIR_TRY(weir__backend_cpu_open(be, 1, s->isa, NULL));
    (*be)->comm = comm->n_rank > 1 ? comm : NULL;
    fake *k = s->make(s);
    k->whole_body = s->whole_body;
    const weir_status made = fake_create(k, *be, m, NULL);
    fake_free(k);
    WEIR_TRY(made);
    s->share[comm->rank] = weir__model_get_facts(*m)->share;
    s->weights[comm->rank] = weir__model_get_facts(*m)->weight_bytes;
    WEIR_TRY(open_caches(*be, weir__model_get_facts(*m), c));
    return run(s, *m, c, comm->rank == 0 ? s->logits : NULL);
}

static void on_rank(void *arg, weir_comm *comm) {
    subject *s = arg;
    weir_backend *be = NULL;
    weir_model *m = NULL;
    caches c = {0};
    s->status[comm->rank] = open_and_run(s, comm, &be, &m, &c);
    if (s->status[comm->rank] != WEIR_OK)
        weir__comm_abort(comm, s->status[comm->rank], weir_status_str(s->status[comm->rank]));
    if (comm->rank == 0) s->bytes = comm->bytes, s->gathered = comm->gathered;
    int32_t done = 0, all[WEIR_RANKS]; /* rank 0 may still read the others' logits */
    (void)weir__comm_agree(comm, &done, all, sizeof done);
    weir__kv_pool_free(c.self), weir__kv_pool_free(c.cross), weir__kv_pool_free(c.slide);
    weir__model_free(m);
    weir__backend_close(be);
}

static void check(subject *s) {
    const int32_t n_vocab = s->make == make_t5 ? s->t5.n_vocab_rows : s->decoder.n_vocab_rows;
    const size_t n = (size_t)CALLS * FAKE_ROW * (size_t)n_vocab;
    float *want = calloc(n, sizeof *want), *got = calloc(n, sizeof *got);
    s->logits = want;
    group_run(1, 60.0, on_rank, s);
    cr_assert_eq(s->status[0], WEIR_OK, "%s: %s", s->name, weir_status_str(s->status[0]));
    cr_assert(want[0] == want[0] && want[1] != want[0]);
    s->logits = got;
    for (int n_rank = 2; n_rank <= WEIR_RANKS; n_rank *= 2) {
        memset(got, 0, n * sizeof *got);
        group_run(n_rank, 60.0, on_rank, s);
        for (int r = 0; r < n_rank; r++)
            cr_assert_eq(s->status[r], WEIR_OK, "%s, rank %d of %d: %s", s->name, r, n_rank,
                         weir_status_str(s->status[r]));
        cr_expect_eq(memcmp(got, want, n * sizeof *got), 0, "%s %s, %d ranks%s: other bits", s->name,
                     weir__isa_name(s->isa), n_rank, s->whole_body ? ", whole body" : "");
    }
    free(want), free(got);
}

/* ---- subjects ---- */

/* Fourteen heads on two of keys: eight ranks have one or two each, and share some KV heads. */
static subject qwen(void) {
    return (subject){.name = "14 heads on 2",
                     .make = make_decoder,
                     .decoder = {.dim = 48,
                                 .ff_dim = 112,
                                 .head_dim = 16,
                                 .n_head = 14,
                                 .n_head_kv = 2,
                                 .n_layer = 2,
                                 .n_vocab_rows = 2501,
                                 .eps = 1e-6f,
                                 .act = WEIR_ACT_SILU,
                                 .qkv_bias = true,
                                 .qk_norm = true,
                                 .tied = true,
                                 .embed_scale = 1.0f,
                                 .attention_scale = 0.25f,
                                 .rope.theta = 1e4f}};
}

/* Three heads of 10, so few units of whole tiles that most ranks have none. Norms after sub-layers, a
 * window, caps, a head of its own. */
static subject gemma(void) {
    subject s = qwen();
    s.name = "3 heads of 10";
    s.decoder.head_dim = 10, s.decoder.n_head = 3, s.decoder.n_head_kv = 1, s.decoder.ff_dim = 40;
    s.decoder.qkv_bias = s.decoder.qk_norm = s.decoder.tied = false;
    s.decoder.norm_one_plus = s.decoder.post_norms = true;
    s.decoder.act = WEIR_ACT_GELU_TANH;
    s.decoder.attention_softcap = 5.0f, s.decoder.final_softcap = 4.0f;
    s.decoder.window = 9, s.decoder.sliding[1] = true, s.decoder.rope_sliding.theta = 100.0f;
    return s;
}

static subject llama(void) {
    subject s = qwen();
    s.name = "16 heads on 8";
    s.decoder.n_head = 16, s.decoder.n_head_kv = 8, s.decoder.ff_dim = 1024;
    s.decoder.qkv_bias = s.decoder.qk_norm = false;
    s.decoder.n_vocab_rows = 8200;
    return s;
}

static subject t5(int32_t n_head, int32_t head_dim, bool gated, bool tied) {
    return (subject){.name = gated ? "T5 v1.1" : "T5",
                     .make = make_t5,
                     .t5 = {.dim = 40,
                            .head_dim = head_dim,
                            .n_head = n_head,
                            .ff_dim = 96,
                            .n_enc_layer = 2,
                            .n_dec_layer = 2,
                            .n_vocab_rows = 4099,
                            .n_bucket = 8,
                            .max_distance = 20,
                            .eps = 1e-6f,
                            .act = gated ? WEIR_ACT_GELU_TANH : WEIR_ACT_RELU,
                            .gated = gated,
                            .tied = tied}};
}

static void check_all(subject s, weir_isa isa) {
    static const weir_dtype dtype[] = {WEIR_DTYPE_F32, WEIR_DTYPE_BF16};
    if (isa > weir__isa_best()) cr_skip("this machine has no %s", weir__isa_name(isa));
    s.isa = isa;
    for (int i = 0; i < 4; i++) {
        s.dtype = dtype[i / 2];
        s.whole_body = i % 2 == 1;
        check(&s);
    }
}

Test(model_ranks, fourteen_heads_on_two_of_keys) {
    check_all(qwen(), WEIR_ISA_PORTABLE);
    check_all(qwen(), weir__isa_best());
}
Test(model_ranks, fewer_heads_than_ranks) {
    check_all(gemma(), WEIR_ISA_PORTABLE);
    check_all(gemma(), weir__isa_best());
}
Test(model_ranks, heads_that_divide) { check_all(llama(), weir__isa_best()); }
Test(model_ranks, avx2_too) { check_all(qwen(), WEIR_ISA_AVX2); }
Test(model_ranks, t5_gated_with_a_head_of_its_own) {
    check_all(t5(6, 16, true, false), WEIR_ISA_PORTABLE);
    check_all(t5(6, 16, true, false), weir__isa_best());
}
Test(model_ranks, t5_tied) { check_all(t5(8, 8, false, true), weir__isa_best()); }

/* ---- shares ---- */

/* Every head, column and id has one owner, in order; KV heads are those that the heads read. Weights of the
 * largest rank: a share, and what every rank has (here the embedding's last chunk makes the difference). */
Test(model_ranks, shares_cover_the_model_once) {
    subject all[] = {qwen(), gemma(), llama(), t5(6, 16, true, false), t5(8, 8, false, true)};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        subject *s = &all[i];
        s->isa = weir__isa_best(), s->dtype = WEIR_DTYPE_BF16;
        const bool is_t5 = s->make == make_t5;
        const int64_t n_vocab = is_t5 ? s->t5.n_vocab_rows : s->decoder.n_vocab_rows,
                      n_ff = is_t5 ? s->t5.ff_dim : s->decoder.ff_dim;
        const int32_t n_head = is_t5 ? s->t5.n_head : s->decoder.n_head,
                      n_kv = is_t5 ? s->t5.n_head : s->decoder.n_head_kv;
        s->logits = calloc((size_t)CALLS * FAKE_ROW * (size_t)n_vocab, sizeof *s->logits);
        for (int n_rank = 1; n_rank <= WEIR_RANKS; n_rank *= 2) {
            group_run(n_rank, 60.0, on_rank, s);
            int32_t head = 0;
            int64_t ff = 0, id = 0;
            for (int r = 0; r < n_rank; r++) {
                const weir_share *h = &s->share[r];
                cr_expect(h->n_head == 0 || h->head == head);
                cr_expect(h->n_ff == 0 || h->ff == ff);
                cr_expect(h->n_id == 0 || h->id == id);
                cr_expect(r + 1 == n_rank || h->n_id % 1024 == 0);
                if (h->n_head > 0) {
                    cr_expect_eq(h->head_kv, h->head / (n_head / n_kv));
                    cr_expect_eq(h->head_kv + h->n_head_kv - 1, (h->head + h->n_head - 1) / (n_head / n_kv));
                }
                head += h->n_head, ff += h->n_ff, id += h->n_id;
            }
            cr_expect_eq(head, n_head);
            cr_expect_eq(ff, n_ff);
            cr_expect_eq(id, n_vocab);
        }
        free(s->logits);
    }
}

/* What a rank gives in exchanges, against the formula that the memory plan prints: a row of a call gives dim
 * floats to every reduction and one embedding row; logits come once, from the other ranks. */
Test(model_ranks, bytes_exchanged_are_those_of_the_model) {
    subject s = llama();
    s.isa = weir__isa_best(), s.dtype = WEIR_DTYPE_BF16;
    s.logits = calloc((size_t)CALLS * FAKE_ROW * (size_t)s.decoder.n_vocab_rows, sizeof *s.logits);
    group_run(4, 60.0, on_rank, &s);
    const uint64_t dim = (uint64_t)s.decoder.dim * sizeof(float), layers = (uint64_t)s.decoder.n_layer;
    /* prompts of 81 and 7 rows stop before the last layer's products; calls of 12, 7 and 12 rows drop those
     * without logits after the last layer's keys */
    const uint64_t rows = 12 + 7 + 12, wanted = 9 + 5 + 9, prompt = 81 + 7;
    const uint64_t sums = prompt * 2 * (layers - 1) + rows * 2 * (layers - 1) + wanted * 2;
    cr_expect_eq(s.bytes, dim * (sums + rows + prompt), "%lu, want %lu", (unsigned long)s.bytes,
                 (unsigned long)(dim * (sums + rows + prompt)));
    free(s.logits);
}

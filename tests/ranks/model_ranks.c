#include "tests/ranks/model_ranks.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "host/deck/kv.h"

enum { SLOTS = 3, LEN = 128 };

static fake *make_t5(const subject *s) { return fake_t5(&s->t5, s->dtype); }
static fake *make_decoder(const subject *s) {
    fake *k = fake_decoder(&s->decoder, s->dtype);
    k->redtyped = s->redtyped, k->other = s->other;
    return k;
}

static fake *make_t5gemma(const subject *s) { return fake_t5gemma(&s->encoder, &s->decoder, s->dtype); }

/* One rank's caches. */
typedef struct caches {
    weir_kv_pool *self, *cross, *slide;
    weir_kv kv;
    int32_t *cross_len; /* backend (SLOTS) */
    int32_t *rows;      /* backend (4, FAKE_ROW) token, pos, slot, out */
    float *logits;      /* backend (FAKE_ROW, n_vocab) */
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
    c->cross_len = weir__backend_alloc(be, SLOTS * sizeof *c->cross_len);
    c->rows = weir__backend_alloc(be, 4 * FAKE_ROW * sizeof *c->rows);
    c->logits = weir__backend_alloc(be, (size_t)FAKE_ROW * (size_t)x->n_vocab_rows * sizeof *c->logits);
    if (!c->cross_len || !c->rows || !c->logits) return WEIR_ENOMEM;
    WEIR_TRY(weir__backend_zero(be, c->cross_len, SLOTS * sizeof *c->cross_len));
    WEIR_TRY(open_pool(be, x, x->n_layer_self, &c->self, &c->kv.self));
    if (x->n_layer_cross == 0) return WEIR_OK;
    c->kv.cross_len = c->cross_len;
    return open_pool(be, x, x->n_layer_cross, &c->cross, &c->kv.cross);
}

/* Rows of two slots and of a dead one; some of their logits are wanted. Into rows[4][FAKE_ROW]. */
static weir_batch make_rows(const weir_model_facts *x, int call, int32_t rows[4][FAKE_ROW]) {
    const int32_t n[2] = {call == 1 ? 1 : 6, 5},
                  base[2] = {x->encoder_decoder ? 0 : 81, x->encoder_decoder ? 0 : 7};
    weir_batch b = {.n_row = 0};
    for (int which = 0; which < 2; which++) {
        for (int32_t i = 0; i < n[which]; i++, b.n_row++) {
            rows[0][b.n_row] = (b.n_row * 769 + call * 13) % x->n_vocab_rows;
            rows[1][b.n_row] = base[which] + call * 6 + i;
            rows[2][b.n_row] = which;
            if (i != 1) rows[3][b.n_out++] = b.n_row;
        }
    }
    rows[0][b.n_row] = 0, rows[1][b.n_row] = 0, rows[2][b.n_row] = -1, b.n_row++;
    return b;
}

/* Two prompts, one of them longer than a chunk of the CPU; then calls. logits: rank 0's. */
static weir_status run(weir_backend *be, weir_model *m, caches *c, float *logits) {
    static const int32_t length[SLOTS] = {81, 7, 0};
    const weir_model_facts *x = weir__model_get_facts(m);
    int32_t prompt[FAKE_PROMPT];
    WEIR_TRY(weir__backend_upload(be, c->cross_len, length, sizeof length));
    for (int32_t slot = 0; slot < 2; slot++) {
        for (int32_t i = 0; i < length[slot]; i++) prompt[i] = (i * 577 + slot * 31 + 5) % x->n_vocab_rows;
        WEIR_TRY(weir__model_prefill(m, &c->kv, slot, prompt, length[slot]));
    }
    for (int call = 0; call < RANK_CALLS; call++) {
        int32_t rows[4][FAKE_ROW] = {{0}};
        weir_batch b = make_rows(x, call, rows);
        WEIR_TRY(weir__backend_upload(be, c->rows, rows, sizeof rows));
        b.token = c->rows, b.pos = c->rows + FAKE_ROW, b.slot = c->rows + 2 * FAKE_ROW;
        b.out = c->rows + 3 * FAKE_ROW;
        b.logits = logits ? c->logits : NULL;
        WEIR_TRY(weir__model_forward(m, &c->kv, &b));
        const size_t n = (size_t)b.n_out * (size_t)x->n_vocab_rows;
        float *to = logits ? logits + (size_t)call * FAKE_ROW * (size_t)x->n_vocab_rows : NULL;
        WEIR_TRY(logits ? weir__backend_download(be, to, c->logits, n * sizeof *to) : be->stream->wait(be));
    }
    return WEIR_OK;
}

static weir_status open_cpu(const subject *s, weir_backend **be, int rank) {
    (void)rank;
    return weir__backend_cpu_open(be, 1, s->isa, NULL);
}

static weir_status open_and_run(subject *s, weir_comm *comm, weir_backend **be, weir_model **m, caches *c) {
    enum { SLICE = 1 << 16 };
    WEIR_TRY((s->open ? s->open : open_cpu)(s, be, comm->rank));
    if (comm->n_rank > 1) WEIR_TRY((*be)->exchange->join(*be, comm, SLICE, NULL));
    fake *k = s->make(s);
    k->whole_body = s->whole_body;
    const weir_status made = fake_create(k, *be, m, NULL);
    fake_free(k);
    WEIR_TRY(made);
    s->share[comm->rank] = weir__model_get_facts(*m)->share;
    s->weights[comm->rank] = weir__model_get_facts(*m)->weight_bytes;
    WEIR_TRY(open_caches(*be, weir__model_get_facts(*m), c));
    return run(*be, *m, c, comm->rank == 0 ? s->logits : NULL);
}

void model_on_rank(void *arg, weir_comm *comm) {
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
    if (c.cross_len) weir__backend_free(be, c.cross_len);
    if (c.rows) weir__backend_free(be, c.rows);
    if (c.logits) weir__backend_free(be, c.logits);
    weir__kv_pool_free(c.self), weir__kv_pool_free(c.cross), weir__kv_pool_free(c.slide);
    weir__model_free(m);
    weir__backend_close(be);
}

void model_check_ranks(subject *s, int most) {
    const int32_t n_vocab = s->make == make_t5 ? s->t5.n_vocab_rows : s->decoder.n_vocab_rows;
    const size_t n = (size_t)RANK_CALLS * FAKE_ROW * (size_t)n_vocab;
    float *want = calloc(n, sizeof *want), *got = calloc(n, sizeof *got);
    s->logits = want;
    group_run(1, 60.0, model_on_rank, s);
    cr_assert_eq(s->status[0], WEIR_OK, "%s: %s", s->name, weir_status_str(s->status[0]));
    cr_assert(want[0] == want[0] && want[1] != want[0]);
    s->logits = got;
    for (int n_rank = 2; n_rank <= most; n_rank *= 2) {
        memset(got, 0, n * sizeof *got);
        group_run(n_rank, 60.0, model_on_rank, s);
        for (int r = 0; r < n_rank; r++)
            cr_assert_eq(s->status[r], WEIR_OK, "%s, rank %d of %d: %s", s->name, r, n_rank,
                         weir_status_str(s->status[r]));
        cr_expect_eq(memcmp(got, want, n * sizeof *got), 0, "%s %s, %d ranks%s: other bits", s->name,
                     s->open ? "device" : weir__isa_name(s->isa), n_rank,
                     s->whole_body ? ", whole body" : "");
    }
    free(want), free(got);
}

/* ---- subjects ---- */

/* Fourteen heads on two of keys: eight ranks have one or two each, and share some KV heads. */
subject model_qwen(void) {
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
subject model_gemma(void) {
    subject s = model_qwen();
    s.name = "3 heads of 10";
    s.decoder.head_dim = 10, s.decoder.n_head = 3, s.decoder.n_head_kv = 1, s.decoder.ff_dim = 40;
    s.decoder.qkv_bias = s.decoder.qk_norm = s.decoder.tied = false;
    s.decoder.norm_one_plus = s.decoder.post_norms = true;
    s.decoder.act = WEIR_ACT_GELU_TANH;
    s.decoder.attention_softcap = 5.0f, s.decoder.final_softcap = 4.0f;
    s.decoder.window = 9, s.decoder.sliding[1] = true, s.decoder.rope_sliding.theta = 100.0f;
    return s;
}

subject model_llama(void) {
    subject s = model_qwen();
    s.name = "16 heads on 8";
    s.decoder.n_head = 16, s.decoder.n_head_kv = 8, s.decoder.ff_dim = 1024;
    s.decoder.qkv_bias = s.decoder.qk_norm = false;
    s.decoder.n_vocab_rows = 8200;
    return s;
}

/* Norms over all heads, of which a rank has some, and norms after sub-layers alone. */
subject model_olmo(void) {
    subject s = model_qwen();
    s.name = "norms over 14 heads";
    s.decoder.qkv_bias = false;
    s.decoder.qk_norm_whole = s.decoder.post_norms = s.decoder.no_pre_norms = true;
    return s;
}

/* Fewer such heads than ranks, some of which have none; each with its own keys. */
subject model_few_olmo(void) {
    subject s = model_olmo();
    s.name = "norms over 3 heads";
    s.decoder.head_dim = 10, s.decoder.n_head = s.decoder.n_head_kv = 3;
    return s;
}

/* Ten experts, so that ranks have one or two, and in one layer of three none of them; a shared one. */
subject model_mixture(void) {
    subject s = model_qwen();
    s.name = "10 experts";
    s.decoder.n_layer = 3, s.decoder.dense[1] = true;
    s.decoder.experts = (weir_expert_config){.n = 10, .n_used = 3, .ff_dim = 40, .shared_ff = 80};
    return s;
}

/* Fewer experts than ranks, in one tensor of the file; rows are normed over those they use. */
subject model_few_experts(void) {
    subject s = model_llama();
    s.name = "3 experts";
    s.decoder.n_vocab_rows = 1100;
    s.decoder.experts = (weir_expert_config){
        .n = 3, .n_used = 2, .ff_dim = 64, .normed = true, .names = WEIR_EXPERTS_STACKED};
    return s;
}

/* Factors that are no powers of two; tensors of which a rank has several pieces. */
subject model_granite(void) {
    subject s = model_llama();
    s.name = "multipliers, fused";
    s.decoder.ff_dim = 448, s.decoder.fused = true;
    s.decoder.embed_scale = 12.0f, s.decoder.residual_scale = 0.22f, s.decoder.logit_scale = 0.3f;
    s.decoder.no_rope[1] = true;
    return s;
}

subject model_t5(int32_t n_head, int32_t head_dim, bool gated, bool tied) {
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

/* The wider stack is the encoder, whose rows ranks collect whole; a head of its own. */
subject model_t5gemma(void) {
    subject s = model_gemma();
    s.name = "T5Gemma", s.make = make_t5gemma;
    s.decoder.head_dim = 16, s.decoder.n_head = 6, s.decoder.n_head_kv = 2, s.decoder.ff_dim = 112;
    s.encoder = s.decoder;
    s.encoder.dim = 80, s.encoder.head_dim = 10, s.encoder.n_head = 4, s.encoder.ff_dim = 72;
    s.encoder.window = 5, s.encoder.sliding[0] = true;
    s.decoder.n_vocab_rows = s.encoder.n_vocab_rows = 4099;
    return s;
}

/* Seven blocks of 32 among the inputs of o, eleven among those of down: a share begins at a block. */
subject model_small_blocks(void) {
    subject s = model_qwen();
    s.name = "blocks of 32";
    s.decoder.dim = 64, s.decoder.ff_dim = 352;
    return s;
}

/* Two and five blocks of 256: most ranks have no inputs. Sixteen heads on 4; a head of its own. */
subject model_large_blocks(void) {
    subject s = model_qwen();
    s.name = "blocks of 256";
    s.decoder.dim = 256, s.decoder.ff_dim = 1280, s.decoder.n_vocab_rows = 1100;
    s.decoder.head_dim = 32, s.decoder.n_head = 16, s.decoder.n_head_kv = 4;
    s.decoder.qkv_bias = s.decoder.tied = false;
    return s;
}

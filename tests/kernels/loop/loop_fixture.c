#include "kernels/loop/seat.h"
#include "tests/kernels/loop/loop_fixture.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/accept/sweep/order.h"

static void ok(weir_status st, const char *what) {
    cr_assert(st == WEIR_OK, "%s: %s", what, weir_status_str(st));
}

/* ---- logits -------------------------------------------------------------------------------------------- */

static float noise(uint32_t *state) { /* about N(0, 1): the sum of four uniforms */
    float sum = 0.0f;
    for (int i = 0; i < 4; i++) {
        *state = *state * 1664525u + 1013904223u;
        sum += (float)(*state >> 8) * 0x1p-24f - 0.5f;
    }
    return sum * 1.7f;
}

bucket_logits logits_new(int n_seat, int gamma, int n_vocab, int32_t eos, uint32_t seed) {
    const size_t rows = (size_t)n_seat * (size_t)(gamma + 1), n = rows * (size_t)n_vocab;
    bucket_logits x = {malloc(n * sizeof(float)), malloc(n * sizeof(float))};
    uint32_t state = seed * 2654435761u + 1;
    for (int i = 0; i < n_seat; i++)
        for (int j = 0; j <= gamma; j++) {
            float *q = x.q + ((size_t)j * (size_t)n_seat + (size_t)i) * (size_t)n_vocab;
            float *p = x.p + ((size_t)i * (size_t)(gamma + 1) + (size_t)j) * (size_t)n_vocab;
            for (int v = 0; v < n_vocab; v++) {
                const float common = 2.5f * noise(&state);
                q[v] = common + 0.5f * noise(&state);
                p[v] = common + 0.5f * noise(&state);
            }
            if (noise(&state) > 0.9f) q[eos] += 12.0f;
            if (noise(&state) > 0.9f) p[eos] += 12.0f;
        }
    return x;
}

void logits_free(bucket_logits *x) {
    free(x->q);
    free(x->p);
}

/* ---- the bucket ---------------------------------------------------------------------------------------- */

static void *take(bucket *b, size_t n, size_t size) {
    void *p = weir__backend_alloc(b->be, n * size);
    cr_assert_not_null(p);
    char *poison = malloc(n * size + 1);
    memset(poison, 0xab, n * size);
    ok(weir__backend_upload(b->be, p, poison, n * size), "poison");
    free(poison);
    return p;
}

bucket *bucket_new(weir_backend *be, int n_seat, int gamma, bool bonus, int n_vocab, int ld) {
    bucket *b = calloc(1, sizeof *b);
    cr_assert(n_seat <= BUCKET_SEATS && n_seat * (gamma + 1) <= BUCKET_ROWS && 2 * n_seat <= BUCKET_ROWS);
    const size_t seats = (size_t)n_seat, rows = seats * (size_t)(gamma + 1),
                 wide = rows > 2 * seats ? rows : 2 * seats;
    b->be = be;
    b->l = (weir_loop){.n_seat = n_seat,
                       .gamma = gamma,
                       .bonus = bonus,
                       .n_vocab = n_vocab,
                       .ld_q = ld,
                       .ld_p = ld,
                       .depth = BUCKET_DEPTH};
    b->l.seat = take(b, seats, sizeof *b->l.seat);
    b->l.q_logits = take(b, rows * (size_t)ld, sizeof(float));
    b->l.p_logits = take(b, rows * (size_t)ld, sizeof(float));
    b->l.q_stats = take(b, rows, sizeof *b->l.q_stats);
    b->l.p_stats = take(b, rows, sizeof *b->l.p_stats);
    b->l.draft = take(b, rows, sizeof *b->l.draft);
    b->l.accept = take(b, seats, sizeof *b->l.accept);
    b->l.row = take(b, rows, sizeof *b->l.row);
    b->l.note = take(b, rows, sizeof *b->l.note);
    b->l.emit = take(b, seats, sizeof *b->l.emit);
    b->l.block = take(b, 3, sizeof *b->l.block);
    b->l.arrived = take(b, 1, sizeof *b->l.arrived);
    b->token = take(b, wide, sizeof *b->token);
    b->pos = take(b, wide, sizeof *b->pos);
    b->slot = take(b, wide, sizeof *b->slot);
    b->law_of = take(b, wide, sizeof *b->law_of);
    b->law = take(b, seats, sizeof *b->law);
    void *ring = NULL, *flags = NULL;
    b->mapped_ring = be->stream->alloc_mapped(be, seats * BUCKET_DEPTH * sizeof(weir_block_outcome), &ring);
    b->mapped_flags = be->stream->alloc_mapped(be, sizeof(weir_loop_flags), &flags);
    cr_assert(b->mapped_ring && b->mapped_flags);
    b->l.ring = ring;
    b->l.flags = flags;
    return b;
}

void bucket_free(bucket *b) {
    void *const all[] = {b->l.seat,   b->l.q_logits, b->l.p_logits, b->l.q_stats, b->l.p_stats, b->l.draft,
                         b->l.accept, b->l.row,      b->l.note,     b->l.emit,    b->l.block,   b->l.arrived,
                         b->token,    b->pos,        b->slot,       b->law_of,    b->law};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) weir__backend_free(b->be, all[i]);
    if (b->minmax) weir__backend_free(b->be, b->minmax);
    if (b->costs) weir__backend_free(b->be, b->costs);
    if (b->l.lookup.history) weir__backend_free(b->be, b->l.lookup.history);
    if (b->l.lookup.hot) weir__backend_free(b->be, b->l.lookup.hot);
    b->be->stream->free_mapped(b->be, b->mapped_ring);
    b->be->stream->free_mapped(b->be, b->mapped_flags);
    free(b);
}

void bucket_sit(bucket *b, const weir_seat *seats, int launch_blocks) {
    const int32_t counts[2] = {0, launch_blocks};
    ok(b->be->stream->wait(b->be), "wait");
    memset(b->mapped_flags, 0, sizeof(weir_loop_flags));
    ok(weir__backend_upload(b->be, b->l.seat, seats, (size_t)b->l.n_seat * sizeof *seats), "seats");
    ok(weir__backend_upload(b->be, b->l.block, counts, sizeof counts), "counts");
    ok(weir__backend_zero(b->be, b->l.arrived, sizeof *b->l.arrived), "arrived");
}

void bucket_ask_to_stop(bucket *b) { ((weir_loop_flags *)b->mapped_flags)->stop = 1; }

void bucket_use_costs(bucket *b, const weir_gamma_costs *costs) {
    weir_gamma_costs *place = take(b, 1, sizeof *place);
    ok(weir__backend_upload(b->be, place, costs, sizeof *costs), "costs");
    b->l.cost = b->costs = place;
}

void seat_choose(weir_seat *s, int gamma, const weir_gamma_costs *costs) {
    s->chooses = 1;
    s->gamma = gamma;
    s->bonus_from = weir__seat_bonus_from(&s->law);
    const weir_gamma_plan plan = weir__seat_gamma_plan(s);
    weir__gamma_begin(costs, &plan, &s->past);
}

void bucket_use_minmaxes(bucket *b) {
    const size_t rows = (size_t)b->l.n_seat * ((size_t)b->l.gamma + 1);
    b->minmax = take(b, rows * (size_t)weir__minmax_count(b->l.n_vocab), sizeof *b->minmax);
}

/* Extents of the rows of one call, straight from their definition. */
static void put_minmaxes(bucket *b, const float *rows, int n_row) {
    const int64_t n = weir__minmax_count(b->l.n_vocab), n_vocab = b->l.n_vocab;
    weir_minmax *all = malloc((size_t)(n_row * n) * sizeof *all);
    for (int64_t r = 0; r < n_row; r++)
        for (int64_t k = 0; k < n; k++) {
            weir_minmax x = {INT32_MAX, INT32_MIN, 0};
            for (int64_t v = k * WEIR_EXTENT_SPAN; v < n_vocab && v < (k + 1) * WEIR_EXTENT_SPAN; v++) {
                const int32_t key = weir__order_key(rows[r * n_vocab + v]);
                if (key < x.lo) x.lo = key;
                if (key > x.hi) x.hi = key, x.id = (int32_t)v;
            }
            all[r * n + k] = x;
        }
    ok(weir__backend_upload(b->be, b->minmax, all, (size_t)(n_row * n) * sizeof *all), "minmaxes");
    free(all);
}

static void make_rows(bucket *b, int step, bucket_rows *out) {
    weir_loop_rows a = {.loop = &b->l,
                        .step = step,
                        .token = b->token,
                        .pos = b->pos,
                        .slot = b->slot,
                        .law_of = b->law_of,
                        .law = b->law};
    ok(b->be->op.loop_rows(b->be, &a), "loop_rows");
    const int32_t n = b->l.n_seat;
    out->n_row = step == WEIR_LOOP_VERIFY ? n * (b->l.gamma + 1) : step == 0 ? 2 * n : n;
    out->n_out = step == WEIR_LOOP_VERIFY ? n * (b->l.gamma + 1) : n;
    ok(weir__backend_download(b->be, out->token, b->token, (size_t)out->n_row * 4), "token");
    ok(weir__backend_download(b->be, out->pos, b->pos, (size_t)out->n_row * 4), "pos");
    ok(weir__backend_download(b->be, out->slot, b->slot, (size_t)out->n_row * 4), "slot");
    ok(weir__backend_download(b->be, out->law_of, b->law_of, (size_t)out->n_out * 4), "law_of");
}

/* What a model would write: dead rows get numbers, too, and none of them may matter. */
static void put_logits(bucket *b, float *dst, const float *src, int n_row) {
    float *rows = malloc((size_t)n_row * (size_t)b->l.ld_q * sizeof *rows);
    for (int r = 0; r < n_row; r++)
        for (int64_t v = 0; v < b->l.ld_q; v++)
            rows[r * b->l.ld_q + v] = v < b->l.n_vocab ? src[(int64_t)r * b->l.n_vocab + v] : NAN;
    ok(weir__backend_upload(b->be, dst, rows, (size_t)n_row * (size_t)b->l.ld_q * sizeof *rows), "logits");
    free(rows);
}

/* The verifier's logits (n_seat, gamma + 1, n_vocab), and the rest of the block. */
static void close_block(bucket *b, const float *p, int slot) {
    const int n = b->l.n_seat;
    const weir_loop_flags *flags = b->mapped_flags;
    put_logits(b, b->l.p_logits, p, n * (b->l.gamma + 1));
    weir_row_stats_args st = {.logits = b->l.p_logits,
                              .ld = b->l.ld_p,
                              .n_row = n * (b->l.gamma + 1),
                              .n_vocab = b->l.n_vocab,
                              .law = b->law,
                              .law_of = b->law_of,
                              .out = b->l.p_stats,
                              .minmax = b->minmax};
    if (b->minmax) put_minmaxes(b, p, n * (b->l.gamma + 1));
    if (!b->at_once) ok(b->be->op.row_stats(b->be, &st), "row_stats");
    weir_loop_close a = {.loop = &b->l, .stats = b->at_once ? &st : NULL};
    ok(b->be->op.loop_close(b->be, &a), "loop_close");
    ok(b->be->stream->wait(b->be), "wait");
    ok(weir__backend_download(b->be, b->seat, b->l.seat, (size_t)n * sizeof *b->seat), "seats");
    memcpy(b->record, (weir_block_outcome *)b->mapped_ring + slot * n, (size_t)n * sizeof *b->record);
    b->flags = *flags;
}

void bucket_block(bucket *b, const bucket_logits *x) {
    const int n = b->l.n_seat, steps = b->l.gamma + b->l.bonus;
    const weir_loop_flags *flags = b->mapped_flags;
    const int slot = flags->done % BUCKET_DEPTH;
    for (int j = 0; j < steps; j++) {
        make_rows(b, j, &b->rows[j]);
        put_logits(b, b->l.q_logits + (int64_t)j * n * b->l.ld_q, x->q + (int64_t)j * n * b->l.n_vocab, n);
        if (b->minmax) put_minmaxes(b, x->q + (int64_t)j * n * b->l.n_vocab, n);
        weir_loop_sample a = {.loop = &b->l, .step = j, .minmax = b->minmax};
        ok(b->be->op.loop_sample(b->be, &a), "loop_sample");
    }
    make_rows(b, WEIR_LOOP_VERIFY, &b->rows[steps]);
    close_block(b, x->p, slot);
}

/* ---- prompt lookup ------------------------------------------------------------------------------------- */

int32_t lookup_oracle(const int32_t *h, int n, int shortest, int longest) {
    for (int len = longest < n ? longest : n; len >= shortest; len--)
        for (int at = n - 1; at >= len; at--)
            if (h[at] >= 0 && memcmp(h + at - len, h + n - len, (size_t)len * sizeof *h) == 0) return h[at];
    return -1;
}

void bucket_use_lookup(bucket *b, int n_slot, int64_t ld, int shortest, int longest) {
    const size_t rows = (size_t)b->l.n_seat * (size_t)(b->l.gamma + 1), n = rows * (size_t)b->l.ld_q;
    float *cold = malloc(n * sizeof *cold);
    int32_t *none = malloc(rows * sizeof *none);
    for (size_t k = 0; k < n; k++) cold[k] = -INFINITY;
    memset(none, 0xff, rows * sizeof *none);
    b->l.lookup = (weir_lookup){.history = take(b, (size_t)n_slot * (size_t)ld, sizeof(int32_t)),
                                .ld = ld,
                                .hot = take(b, rows, sizeof(int32_t)),
                                .shortest = shortest,
                                .longest = longest};
    ok(weir__backend_upload(b->be, b->l.q_logits, cold, n * sizeof *cold), "rows of q");
    ok(weir__backend_upload(b->be, b->l.lookup.hot, none, rows * sizeof *none), "hot");
    free(cold);
    free(none);
}

void bucket_put_history(bucket *b, int slot, const int32_t *ids, int n) {
    ok(weir__backend_upload(b->be, b->l.lookup.history + slot * b->l.lookup.ld, ids, (size_t)n * sizeof *ids),
       "history");
}

void bucket_get_history(bucket *b, int slot, int32_t *ids, int n) {
    ok(weir__backend_download(b->be, ids, b->l.lookup.history + slot * b->l.lookup.ld,
                              (size_t)n * sizeof *ids),
       "history");
}

void bucket_get_q(bucket *b, float *rows, weir_row_stats *stats) {
    const size_t n = (size_t)b->l.n_seat * (size_t)(b->l.gamma + 1), wide = (size_t)b->l.n_vocab;
    for (size_t r = 0; r < n; r++)
        ok(weir__backend_download(b->be, rows + r * wide, b->l.q_logits + r * (size_t)b->l.ld_q,
                                  wide * sizeof *rows),
           "rows of q");
    ok(weir__backend_download(b->be, stats, b->l.q_stats, n * sizeof *stats), "statistics of q");
}

void bucket_lookup_block(bucket *b, const float *table) {
    const weir_loop_flags *flags = b->mapped_flags;
    const int slot = flags->done % BUCKET_DEPTH, n = b->l.n_seat * (b->l.gamma + 1), n_vocab = b->l.n_vocab;
    weir_loop_lookup a = {.loop = &b->l};
    ok(b->be->op.loop_lookup(b->be, &a), "loop_lookup");
    make_rows(b, WEIR_LOOP_VERIFY, &b->rows[0]);
    float *p = malloc((size_t)n * (size_t)n_vocab * sizeof *p);
    for (int r = 0; r < n; r++)
        memcpy(p + r * n_vocab, table + b->rows[0].token[r] * n_vocab, (size_t)n_vocab * sizeof *p);
    close_block(b, p, slot);
    free(p);
}

/* ---- seats --------------------------------------------------------------------------------------------- */

weir_seat seat_of_mix(int i, int gamma) {
    static const struct {
        weir_rule rule;
        float alpha, temp;
    } table[] = {
        {WEIR_RULE_EXACT, 0.0f, 1.0f},   {WEIR_RULE_TOKEN_V3, 0.5f, 1.0f}, {WEIR_RULE_LOSSY, 0.3f, 1.0f},
        {WEIR_RULE_OPT, 0.2f, 0.7f},     {WEIR_RULE_CACTUS, 0.4f, 1.0f},   {WEIR_RULE_EXACT, 0.0f, 0.0f},
        {WEIR_RULE_TYPICAL, 0.3f, 1.0f}, {WEIR_RULE_ENSEMBLE, 0.5f, 1.2f}, {WEIR_RULE_CHOW, 0.6f, 0.0f},
        {WEIR_RULE_BILD, 2.0f, 1.0f},    {WEIR_RULE_FUZZY, 0.3f, 1.0f},
    };
    const int k = i % (int)(sizeof table / sizeof *table);
    weir_seat s = {.law = weir_law_default(),
                   .slot = 3 * i + 1,
                   .base = 70 * i % 190,
                   .gamma = gamma - i % 3 > 0 ? gamma - i % 3 : gamma,
                   .limit = 1000,
                   .n_eos = 2,
                   .eos = {2, 5},
                   .tail = {0, 11},
                   .n_draft = 9};
    s.law.rule = table[k].rule;
    s.law.alpha = table[k].alpha;
    s.law.beta = weir_rule_facts(table[k].rule)->beta_default;
    s.law.temp = table[k].temp;
    s.law.key[0] = 77u * (uint32_t)i;
    s.law.key[1] = 5;
    s.law.measure_reject = i % 2;
    if (i % 4 == 2) s.law.top_k = 40, s.law.top_p = 0.9f;
    if (i % 5 == 3) s.law.bonus_pi = false;
    if (i % 3 == 0) s.law.block_verify = weir_rule_facts(table[k].rule)->pi_exists;
    if (i % 6 == 1) s.law.exact_first = 6;
    if (i % 9 == 8 && gamma > 0) s.gamma = 0; /* the verifier alone among drafting ones */
    s.bonus_from = s.gamma > 0 ? weir__seat_bonus_from(&s.law) : INT32_MAX;
    return s;
}

bool seats_need_bonus(const weir_seat *seats, int n, int gamma) {
    for (int i = 0; i < n; i++)
        if (gamma > 0 && seats[i].gamma == gamma && seats[i].bonus_from < INT32_MAX) return true;
    return false;
}

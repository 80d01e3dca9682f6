#include "kernels/accept/sweep/truncate.h"

#include <math.h>
#include <string.h>

#include "kernels/accept/sweep/order.h"

typedef struct selection {
    const weir_env *env;
    weir_row_view row; /* scaled so that probs() gives the weight e^((l - max) / T) */
    int32_t n_vocab;
    bool by_mass;
    uint32_t floor;     /* keys below are out */
    uint32_t key, mask; /* the digits found so far */
    uint64_t bin[WEIR_SEARCH_BINS];
} selection;

static void fill_bins(selection *s, int digit) {
    const uint32_t low = weir__search_low(digit);
    const int shift = weir__search_shift(digit);
    _Alignas(64) float w[WEIR_CHUNK];
    memset(s->bin, 0, sizeof s->bin);
    for (int32_t begin = 0; begin < s->n_vocab; begin += WEIR_CHUNK) {
        const int32_t n = s->n_vocab - begin < WEIR_CHUNK ? s->n_vocab - begin : WEIR_CHUNK;
        if (s->by_mass) s->env->lanes->probs(&s->row, false, begin, n, w);
        for (int32_t i = 0; i < n; i++) {
            const uint32_t key = weir__search_key(s->row.logits[begin + i]);
            if (key < s->floor || ((key ^ s->key) & s->mask)) continue;
            s->bin[key >> shift & low] += s->by_mass ? weir__search_mass(w[i]) : 1u;
        }
    }
}

/* Largest key such that the total at or above it reaches `target` (at most the total of all). Returns the
 * part of the target that is left for the entries of exactly that key. */
static uint64_t select_key(selection *s, uint64_t target) {
    s->key = s->mask = 0;
    for (int digit = 0; digit < WEIR_SEARCH_DIGITS; digit++) {
        fill_bins(s, digit);
        const uint32_t low = weir__search_low(digit);
        const int shift = weir__search_shift(digit);
        uint32_t b = low;
        while (b > 0 && s->bin[b] < target) target -= s->bin[b--];
        s->key |= b << shift;
        s->mask |= low << shift;
    }
    return target;
}

static uint64_t total_mass(selection *s) {
    uint64_t total = 0;
    s->key = s->mask = 0;
    fill_bins(s, 0);
    for (int b = 0; b < WEIR_SEARCH_BINS; b++) total += s->bin[b];
    return total;
}

/* Id of the n-th entry (from 1) that equals value. */
static int32_t nth_equal(const float *l, int32_t n_vocab, float value, uint64_t n) {
    int32_t at = 0;
    for (int32_t v = 0; v < n_vocab; v++) {
        if (l[v] != value) continue;
        at = v;
        if (--n == 0) break;
    }
    return at;
}

static void cut_top_k(selection *s, int32_t top_k) {
    s->by_mass = false;
    select_key(s, (uint64_t)top_k);
    s->floor = s->key;
}

static void cut_top_p(selection *s, float top_p, int32_t *tie) {
    s->by_mass = true;
    const uint64_t total = total_mass(s);
    const uint64_t left = select_key(s, weir__search_target(top_p, total));
    const float value = weir__search_value(s->key);
    const uint64_t each = weir__search_mass(wf_exp((value - s->row.max) * s->row.inv_temp));
    s->floor = s->key;
    *tie = nth_equal(s->row.logits, s->n_vocab, value, each ? (left + each - 1) / each : 1);
}

/* Weights rise with the logit (wf_exp does, over every float), so those at or above min_p are those above a
 * threshold. */
static void cut_min_p(selection *s, float min_p, int32_t *tie) {
    uint32_t lowest = weir__search_key(s->row.max);
    _Alignas(64) float w[WEIR_CHUNK];
    for (int32_t begin = 0; begin < s->n_vocab; begin += WEIR_CHUNK) {
        const int32_t n = s->n_vocab - begin < WEIR_CHUNK ? s->n_vocab - begin : WEIR_CHUNK;
        s->env->lanes->probs(&s->row, false, begin, n, w);
        for (int32_t i = 0; i < n; i++) {
            const uint32_t key = weir__search_key(s->row.logits[begin + i]);
            if (w[i] >= min_p && key < lowest) lowest = key;
        }
    }
    if (lowest <= s->floor) return;
    s->floor = lowest;
    *tie = INT32_MAX;
}

void weir__truncate(const weir_env *env, const weir_law *law, const weir_row_view *r, int32_t n_vocab,
                    float *thr, int32_t *tie) {
    selection s = {.env = env, .row = *r, .n_vocab = n_vocab};
    s.row.cut = false;
    s.row.inv_psum = 1.0f;
    *tie = INT32_MAX;
    if (law->top_k > 0 && law->top_k < n_vocab) cut_top_k(&s, law->top_k);
    if (law->top_p < 1.0f) cut_top_p(&s, law->top_p, tie);
    if (law->min_p > 0.0f) cut_min_p(&s, law->min_p, tie);
    *thr = s.floor ? weir__search_value(s.floor) : -INFINITY;
}

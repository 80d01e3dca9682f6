#include "kernels/accept/truncate.h"

#include <math.h>
#include <string.h>

/* Selection descends through the 32 bits of a key by these digits, the highest first. */
enum { DIGITS = 3, BINS = 1 << 11 };
static const int SHIFT[DIGITS] = {21, 10, 0}, BITS[DIGITS] = {11, 11, 10};

/* Unsigned key that rises with the float; both zeros have one. */
static uint32_t key_of(float l) { return (uint32_t)weir__order_key(l + 0.0f) ^ 0x80000000u; }

static float value_of(uint32_t key) { return weir__order_value((int32_t)(key ^ 0x80000000u)); }

static uint64_t mass_of(float w) { return (uint64_t)(w * 0x1p40f); }

typedef struct selection {
    const weir_env *env;
    weir_row_view row; /* scaled so that probs() gives the weight e^((l - max) / T) */
    int32_t n_vocab;
    bool by_mass;
    uint32_t floor; /* keys below are out */
    uint32_t key, mask; /* the digits found so far */
    uint64_t bin[BINS];
} selection;

static void fill_bins(selection *s, int digit) {
    const uint32_t low = (1u << BITS[digit]) - 1u;
    _Alignas(64) float w[WEIR_CHUNK];
    memset(s->bin, 0, sizeof s->bin);
    for (int32_t begin = 0; begin < s->n_vocab; begin += WEIR_CHUNK) {
        const int32_t n = s->n_vocab - begin < WEIR_CHUNK ? s->n_vocab - begin : WEIR_CHUNK;
        if (s->by_mass) s->env->lanes->probs(&s->row, false, begin, n, w);
        for (int32_t i = 0; i < n; i++) {
            const uint32_t key = key_of(s->row.logits[begin + i]);
            if (key < s->floor || ((key ^ s->key) & s->mask)) continue;
            s->bin[key >> SHIFT[digit] & low] += s->by_mass ? mass_of(w[i]) : 1u;
        }
    }
}

/* Largest key such that the total at or above it reaches `target` (at most the total of all). Returns
 * what of the target is left for the entries at that very key. */
static uint64_t select_key(selection *s, uint64_t target) {
    s->key = s->mask = 0;
    for (int digit = 0; digit < DIGITS; digit++) {
        fill_bins(s, digit);
        uint32_t b = (1u << BITS[digit]) - 1u;
        while (b > 0 && s->bin[b] < target) target -= s->bin[b--];
        s->key |= b << SHIFT[digit];
        s->mask |= ((1u << BITS[digit]) - 1u) << SHIFT[digit];
    }
    return target;
}

static uint64_t total_mass(selection *s) {
    uint64_t total = 0;
    s->key = s->mask = 0;
    fill_bins(s, 0);
    for (int b = 0; b < BINS; b++) total += s->bin[b];
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
    const double want = ceil((double)top_p * (double)total);
    const uint64_t target = want < 1.0 ? 1 : want > (double)total ? total : (uint64_t)want;
    const uint64_t left = select_key(s, target);
    const float value = value_of(s->key);
    const uint64_t each = mass_of(wf_exp((value - s->row.max) * s->row.inv_temp));
    s->floor = s->key;
    *tie = nth_equal(s->row.logits, s->n_vocab, value, each ? (left + each - 1) / each : 1);
}

/* Weights rise with the logit (wf_exp does, over every float), so those at or above min_p are an upper set. */
static void cut_min_p(selection *s, float min_p, int32_t *tie) {
    uint32_t lowest = key_of(s->row.max);
    _Alignas(64) float w[WEIR_CHUNK];
    for (int32_t begin = 0; begin < s->n_vocab; begin += WEIR_CHUNK) {
        const int32_t n = s->n_vocab - begin < WEIR_CHUNK ? s->n_vocab - begin : WEIR_CHUNK;
        s->env->lanes->probs(&s->row, false, begin, n, w);
        for (int32_t i = 0; i < n; i++) {
            const uint32_t key = key_of(s->row.logits[begin + i]);
            if (w[i] >= min_p && key < lowest) lowest = key;
        }
    }
    if (lowest <= s->floor) return;
    s->floor = lowest;
    *tie = INT32_MAX;
}

void weir__truncate(const weir_env *env, const weir_law *law, const weir_row_view *r, int32_t n_vocab, float *thr,
                    int32_t *tie) {
    selection s = {.env = env, .row = *r, .n_vocab = n_vocab};
    s.row.cut = false;
    s.row.inv_psum = 1.0f;
    *tie = INT32_MAX;
    if (law->top_k > 0 && law->top_k < n_vocab) cut_top_k(&s, law->top_k);
    if (law->top_p < 1.0f) cut_top_p(&s, law->top_p, tie);
    if (law->min_p > 0.0f) cut_min_p(&s, law->min_p, tie);
    *thr = s.floor ? value_of(s.floor) : -INFINITY;
}

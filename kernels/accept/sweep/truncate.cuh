#ifndef WEIR_KERNELS_ACCEPT_SWEEP_TRUNCATE_CUH
#define WEIR_KERNELS_ACCEPT_SWEEP_TRUNCATE_CUH

/* truncate.c by a team: the same threshold from the same integers. Each block adds up the bins of its chunks
 * in shared memory, then into one of three sets of bins in the team's scratch: one is filled, one is still
 * read from the previous fill, and the third is cleared for the next. A fill costs one barrier. */
#include "kernels/accept/sweep/sweep.cuh"

enum {
    TEAM_BIN_WORDS = 2 * WEIR_SEARCH_BINS,
    TEAM_BINS_EACH = WEIR_SEARCH_BINS / TEAM_THREADS,
    TEAM_BIN_SETS = 3
};

struct team_search_shared {
    uint32_t bin[TEAM_BIN_WORDS]; /* 64 bits each, low word first */
    uint64_t total[TEAM_THREADS]; /* of each thread's bins, or chunks */
    uint64_t group[32];           /* of 8 of those */
    uint64_t left;
    uint32_t found;
};

struct team_search {
    weir_row_view row; /* scaled so that a probability is the weight e^((l - max) / T) */
    int32_t n_vocab;
    bool by_mass;
    uint32_t floor;     /* keys below are out */
    uint32_t key, mask; /* the digits found so far */
};

/* bin += x, in two words: 32-bit atomics on shared memory are single instructions, 64-bit ones are loops. */
TEAM_FN void team_bin_add(uint32_t *bin, uint64_t x) {
    const uint32_t low = static_cast<uint32_t>(x), old = atomicAdd(&bin[0], low);
    const uint32_t high = static_cast<uint32_t>(x >> 32) + (old + low < low ? 1u : 0u);
    if (high) atomicAdd(&bin[1], high);
}

TEAM_FN uint64_t team_bin_at(const uint32_t *bin, int32_t i) {
    return static_cast<uint64_t>(bin[2 * i + 1]) << 32 | bin[2 * i];
}

TEAM_FN uint32_t *team_bin_set(const weir_env *t, uint32_t fill) {
    uint32_t *first = reinterpret_cast<uint32_t *>(t->scratch + static_cast<int64_t>(2) * t->buffer);
    return first + fill % TEAM_BIN_SETS * TEAM_BIN_WORDS;
}

/* This block's part of clearing a set. */
TEAM_FN void team_bins_clear(const weir_env *t, uint32_t fill) {
    uint32_t *set = team_bin_set(t, fill);
    for (int32_t i = t->rank * TEAM_THREADS + static_cast<int32_t>(threadIdx.x); i < TEAM_BIN_WORDS;
         i += t->size * TEAM_THREADS)
        set[i] = 0;
}

TEAM_FN void team_bins_count(const weir_env *t, const team_search &s, int digit) {
    const uint32_t low = weir__search_low(digit);
    const int shift = weir__search_shift(digit);
    for (int32_t c = team_first(t); c < t->n_chunk; c += team_stride(t))
        for (int32_t v = c * WEIR_CHUNK + team_lane(); v < team_chunk_end(c, s.n_vocab); v += 32) {
            const float l = s.row.logits[v];
            const uint32_t key = weir__search_key(l);
            if (key < s.floor || ((key ^ s.key) & s.mask)) continue;
            const uint64_t x = s.by_mass ? weir__search_mass(weir__prob_of(&s.row, l, v, false)) : 1u;
            team_bin_add(&t->search->bin[2 * (key >> shift & low)], x);
        }
}

/* Bins of one digit; returns the address of the whole team's bins. Weights of 0 are not added. */
TEAM_CALL const uint32_t *team_bins_fill(const weir_env *t, const team_search *s, int digit) {
    uint32_t *bin = t->search->bin;
    if (t->size > 1 && t->fill == 0) { /* the first set has not been cleared */
        team_bins_clear(t, 0);
        team_wait(t);
    }
    for (int32_t i = static_cast<int32_t>(threadIdx.x); i < TEAM_BIN_WORDS; i += TEAM_THREADS) bin[i] = 0;
    __syncthreads();
    team_bins_count(t, *s, digit);
    __syncthreads();
    if (t->size == 1) return bin;
    uint32_t *set = team_bin_set(t, t->fill);
    for (int32_t i = static_cast<int32_t>(threadIdx.x); i < WEIR_SEARCH_BINS; i += TEAM_THREADS) {
        const uint64_t x = team_bin_at(bin, i);
        if (x) team_bin_add(&set[2 * i], x);
    }
    t->fill++;
    team_bins_clear(t, t->fill);
    team_wait(t);
    return set;
}

/* ---- walking ----------------------------------------------------------------------------------------------
 * Thread i has put its part of the numbers into total[i]; sums of eight of them follow. */

TEAM_FN void team_walk_groups(const weir_env *t) {
    team_search_shared *w = t->search;
    __syncthreads();
    if (threadIdx.x < 32) {
        uint64_t sum = 0;
        for (int i = 0; i < 8; i++) sum += w->total[8 * threadIdx.x + i];
        w->group[threadIdx.x] = sum;
    }
    __syncthreads();
}

TEAM_FN void team_bins_total(const weir_env *t, const uint32_t *bin) {
    const int32_t first = static_cast<int32_t>(threadIdx.x) * TEAM_BINS_EACH;
    uint64_t sum = 0;
    for (int32_t i = 0; i < TEAM_BINS_EACH; i++) sum += team_bin_at(bin, first + i);
    t->search->total[threadIdx.x] = sum;
    team_walk_groups(t);
}

TEAM_FN uint64_t team_groups_total(const weir_env *t) {
    uint64_t sum = 0;
    for (int i = 0; i < 32; i++) sum += t->search->group[i];
    return sum;
}

/* The highest bin b such that it and those above hold at least `target`; returns what is left of the target
 * for it. On bins that team_bins_total has summed. */
TEAM_FN uint32_t team_bins_walk(const weir_env *t, const uint32_t *bin, uint64_t *target) {
    team_search_shared *w = t->search;
    if (threadIdx.x == 0) {
        uint64_t left = *target;
        int32_t g = 31;
        while (g > 0 && w->group[g] < left) left -= w->group[g--];
        int32_t i = 8 * g + 7;
        while (i > 8 * g && w->total[i] < left) left -= w->total[i--];
        int32_t b = TEAM_BINS_EACH * (i + 1) - 1;
        while (b > TEAM_BINS_EACH * i && team_bin_at(bin, b) < left) left -= team_bin_at(bin, b--);
        w->left = left;
        w->found = static_cast<uint32_t>(b);
    }
    __syncthreads();
    *target = w->left;
    return w->found;
}

TEAM_FN void team_search_take(team_search *s, int digit, uint32_t found) {
    s->key |= found << weir__search_shift(digit);
    s->mask |= weir__search_low(digit) << weir__search_shift(digit);
}

/* Largest key such that the total at or above it reaches the target; returns what is left of it for the
 * entries of exactly that key. By mass: `top_p` of the total, which the first digit's bins give; else top_k
 * entries. */
TEAM_FN uint64_t team_search_key(const weir_env *t, team_search *s, int32_t top_k, float top_p) {
    uint64_t left = static_cast<uint64_t>(top_k);
    s->key = s->mask = 0;
    for (int digit = 0; digit < WEIR_SEARCH_DIGITS; digit++) {
        const uint32_t *bin = team_bins_fill(t, s, digit);
        team_bins_total(t, bin);
        if (digit == 0 && s->by_mass) left = weir__search_target(top_p, team_groups_total(t));
        team_search_take(s, digit, team_bins_walk(t, bin, &left));
    }
    return left;
}

/* ---- ties ---------------------------------------------------------------------------------------------- */

/* How many logits of each chunk equal `value`, to the pass's buffer. */
TEAM_FN void team_equal_count(const weir_env *t, const float *l, int32_t n_vocab, float value) {
    uint32_t *count = reinterpret_cast<uint32_t *>(team_buffer(t));
    for (int32_t c = team_first(t); c < t->n_chunk; c += team_stride(t)) {
        uint32_t n = 0;
        for (int32_t v = c * WEIR_CHUNK + team_lane(); v < team_chunk_end(c, n_vocab); v += 32)
            n += l[v] == value;
        n = k_warp_sum(n);
        if (team_lane() == 0) count[c] = n;
    }
}

/* Thread 0: the chunk of the n-th (from 1) equal entry, n clipped to their number; and its number within the
 * chunk. */
TEAM_FN void team_equal_chunk(const weir_env *t, const uint32_t *count, int32_t each, uint64_t n) {
    team_search_shared *w = t->search;
    uint64_t total = team_groups_total(t);
    if (n > total) n = total;
    int32_t g = 0, i, c;
    for (; g < 31 && w->group[g] < n; g++) n -= w->group[g];
    for (i = 8 * g; i < 8 * g + 7 && w->total[i] < n; i++) n -= w->total[i];
    for (c = each * i; c < each * (i + 1) - 1 && c < t->n_chunk - 1 && count[c] < n; c++) n -= count[c];
    w->left = n;
    w->found = static_cast<uint32_t>(c);
}

/* Warp 0: id of the n-th of a chunk's entries that equal value; 0 if there is none. */
TEAM_FN int32_t team_equal_id(const float *l, int32_t n_vocab, float value, int32_t c, uint32_t n) {
    for (int32_t at = c * WEIR_CHUNK; at < team_chunk_end(c, n_vocab); at += 32) {
        const int32_t v = at + team_lane();
        uint32_t hits = __ballot_sync(0xffffffffu, v < n_vocab && l[v] == value);
        const uint32_t here = static_cast<uint32_t>(__popc(hits));
        if (n > here) {
            n -= here;
            continue;
        }
        for (uint32_t k = 1; k < n; k++) hits &= hits - 1;
        return at + __ffs(static_cast<int>(hits)) - 1;
    }
    return 0;
}

/* Id of the n-th entry (from 1) that equals value, the last one if there are fewer. One pass. */
TEAM_CALL int32_t team_nth_equal(const weir_env *t, const float *l, int32_t n_vocab, float value,
                                 uint64_t n) {
    team_search_shared *w = t->search;
    team_equal_count(t, l, n_vocab, value);
    const uint32_t *count = reinterpret_cast<const uint32_t *>(team_buffer(t));
    t->turn++;
    team_wait(t);
    const int32_t each = (t->n_chunk + TEAM_THREADS - 1) / TEAM_THREADS,
                  first = static_cast<int32_t>(threadIdx.x) * each;
    uint64_t sum = 0;
    for (int32_t c = first; c < first + each && c < t->n_chunk; c++) sum += count[c];
    w->total[threadIdx.x] = sum;
    team_walk_groups(t);
    if (threadIdx.x == 0) team_equal_chunk(t, count, each, n);
    __syncthreads();
    const int32_t c = static_cast<int32_t>(w->found);
    const uint32_t nth = static_cast<uint32_t>(w->left);
    __syncthreads();
    if (threadIdx.x < 32) {
        const int32_t id = team_equal_id(l, n_vocab, value, c, nth);
        if (threadIdx.x == 0) w->found = static_cast<uint32_t>(id);
    }
    __syncthreads();
    return static_cast<int32_t>(w->found);
}

/* ---- the three cuts ------------------------------------------------------------------------------------ */

TEAM_FN void team_cut_top_p(const weir_env *t, team_search *s, float top_p, int32_t *tie) {
    s->by_mass = true;
    const uint64_t left = team_search_key(t, s, 0, top_p);
    const float value = weir__search_value(s->key);
    const uint64_t each = weir__search_mass(wf_exp((value - s->row.max) * s->row.inv_temp));
    s->floor = s->key;
    *tie = team_nth_equal(t, s->row.logits, s->n_vocab, value, each ? (left + each - 1) / each : 1);
}

/* Weights rise with the logit, so those at or above min_p are those above a threshold. One pass. */
TEAM_FN void team_cut_min_p(const weir_env *t, team_search *s, float min_p, int32_t *tie) {
    uint32_t lowest = weir__search_key(s->row.max);
    for (int32_t c = team_first(t); c < t->n_chunk; c += team_stride(t))
        for (int32_t v = c * WEIR_CHUNK + team_lane(); v < team_chunk_end(c, s->n_vocab); v += 32) {
            const float l = s->row.logits[v];
            const uint32_t key = weir__search_key(l);
            if (weir__prob_of(&s->row, l, v, false) >= min_p && key < lowest) lowest = key;
        }
    uint64_t least[1] = {lowest};
    team_least(t, true, least);
    if (least[0] <= s->floor) return;
    s->floor = static_cast<uint32_t>(least[0]);
    *tie = INT32_MAX;
}

TEAM_CALL void weir__truncate(const weir_env *t, const weir_law *law, const weir_row_view *r, int32_t n_vocab,
                              float *thr, int32_t *tie) {
    team_search s;
    s.row = *r;
    s.row.cut = false;
    s.row.inv_psum = 1.0f;
    s.n_vocab = n_vocab;
    s.by_mass = false;
    s.floor = 0;
    *tie = INT32_MAX;
    if (law->top_k > 0 && law->top_k < n_vocab) {
        team_search_key(t, &s, law->top_k, 1.0f);
        s.floor = s.key;
    }
    if (law->top_p < 1.0f) team_cut_top_p(t, &s, law->top_p, tie);
    if (law->min_p > 0.0f) team_cut_min_p(t, &s, law->min_p, tie);
    *thr = s.floor ? weir__search_value(s.floor) : -INFINITY;
}

#endif /* WEIR_KERNELS_ACCEPT_SWEEP_TRUNCATE_CUH */

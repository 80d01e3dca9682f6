#include <math.h>

#include "kernels/moe/choice.h"
#include "kernels/moe/cpu.h"

static float logit(const weir_route *a, const float *l, int32_t e) {
    return a->bias ? l[e] + a->bias[e] : l[e];
}

/* Inserted one by one in rising id, so that of equal ones the lower stays ahead. */
static void choose(const weir_route *a, const float *l, int32_t *chosen) {
    int32_t n = 0;
    for (int32_t e = 0; e < a->n_expert; e++) {
        const int32_t key = weir__expert_key(logit(a, l, e));
        int32_t j = n;
        for (; j > 0 && key > weir__expert_key(logit(a, l, chosen[j - 1])); j--) {
            if (j < a->n_used) chosen[j] = chosen[j - 1];
        }
        if (j < a->n_used) chosen[j] = e;
        if (n < a->n_used) n++;
    }
}

/* The largest logit is the first of the chosen ones. */
static void weigh(const weir_route *a, const float *l, const int32_t *chosen, float *weight) {
    const double most = (double)logit(a, l, chosen[0]);
    const int32_t n = a->over_all ? a->n_expert : a->n_used;
    double sum = 0.0;
    for (int32_t i = 0; i < n; i++) sum += exp((double)logit(a, l, a->over_all ? i : chosen[i]) - most);
    for (int32_t j = 0; j < a->n_used; j++)
        weight[j] = (float)(exp((double)logit(a, l, chosen[j]) - most) / sum);
}

static void route_row(const weir_route *a, int64_t r) {
    int32_t *chosen = a->expert + r * a->n_used;
    float *weight = a->weight + r * a->n_used;
    if (a->slot && a->slot[r] < 0) {
        for (int32_t j = 0; j < a->n_used; j++) chosen[j] = -1, weight[j] = 0.0f;
        return;
    }
    choose(a, a->logits + r * a->ld, chosen);
    weigh(a, a->logits + r * a->ld, chosen, weight);
}

/* Counts, then places: begin[e + 1] is the next free entry of expert e until all are placed. */
static void sort_entries(const weir_route *a) {
    const int64_t n = a->n_row * a->n_used;
    int32_t *begin = a->begin;
    for (int32_t e = 0; e <= a->n_expert; e++) begin[e] = 0;
    for (int64_t i = 0; i < n; i++) {
        a->row[i] = a->owner[i] = 0;
        if (a->expert[i] >= 0 && a->expert[i] + 2 <= a->n_expert) begin[a->expert[i] + 2]++;
    }
    for (int32_t e = 2; e <= a->n_expert; e++) begin[e] += begin[e - 1];
    for (int64_t i = 0; i < n; i++) {
        const int32_t e = a->expert[i];
        a->place[i] = e < 0 ? -1 : begin[e + 1]++;
        if (e >= 0) a->row[a->place[i]] = (int32_t)(i / a->n_used), a->owner[a->place[i]] = e;
    }
}

weir_status weir__route_cpu(weir_backend *be, weir_route *a) {
    (void)be;
    WEIR_TRY(weir__route_check(a));
    for (int64_t r = 0; r < a->n_row; r++) route_row(a, r);
    sort_entries(a);
    return WEIR_OK;
}

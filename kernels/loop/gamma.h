#ifndef WEIR_KERNELS_LOOP_GAMMA_H
#define WEIR_KERNELS_LOOP_GAMMA_H

#include "kernels/accept/law.h"
#include "kernels/math/fmath.h"

/* How many tokens a block drafts where the session leaves it open (gamma auto): a function of the session's
 * past and of a table of costs, one source for every backend. IEEE add, multiply and divide alone, so that
 * every backend gets the same bits.
 *
 * A block that drafts gamma tokens of which each is accepted with probability a gives E = 1 + a + … + a^gamma
 * tokens (Leviathan et al., ICML 2023, eq. 1) and costs C; its rate is E / C. Within a block, after j drafts
 * that are all accepted with probability S, k further ones are worth drafting if the tokens that they bring,
 * at what a token costs at that rate, outweigh what they cost. That is the rule of a renewal-reward process:
 * stop when no continuation earns more than the long-run rate. S is a product over the drafts so far of what
 * drafts of such confidence came to. Confidence is the raw max q of the row that a draft was drawn from: of
 * the row's statistics it goes best with acceptance (demo pair, 1,933 rows, correlation with 1 - D_TV 0.84,
 * with equal argmax 0.63; entropy 0.82 and 0.60).
 *
 * The law of the output stays pi, because a block's end is a stopping time: whether draft j is made depends
 * on what came before it alone. That takes care, since draws are keyed by position: a draft after the
 * rejected one is drawn again in the next block, by the same random numbers. So what blocks learn from is
 * never a discarded draft, its confidence, or how many there were, but the rows up to the rejected one, whose
 * random numbers no later draw uses. */

enum { WEIR_GAMMA_BUCKETS = 8 };

/* In units of a token of the verifier alone. */
typedef struct weir_gamma_costs {
    float draft;                      /* a step of the drafter, with the draw */
    float verify[WEIR_GAMMA_MAX + 1]; /* verifying and closing a block of j drafts; entry 0 is 1 */
} weir_gamma_costs;

/* Drafts that were decided on, older ones counting less. */
typedef struct weir_gamma_past {
    float seen, accepted;
    float seen_at[WEIR_GAMMA_BUCKETS], accepted_at[WEIR_GAMMA_BUCKETS]; /* by confidence */
    int32_t settled; /* 1: drafting cannot pay, and the session stays without drafts */
} weir_gamma_past;

/* What a session's options make of a block. */
typedef struct weir_gamma_plan {
    int32_t most; /* drafts */
    bool bonus;   /* a block that is accepted whole closes with a token from pi: one more step of the drafter.
                     Without drafts that token would be from p, another law, so that there is no such block */
} weir_gamma_plan;

/* What is taken for known before the first draft: how many are accepted, and as how many drafts that
 * counts. */
#define WEIR_GAMMA_PRIOR 0.7f
#define WEIR_GAMMA_PRIOR_WEIGHT 4.0f
/* Accepted drafts that a session is given beyond those it had before it settles: settling is for good. */
#define WEIR_GAMMA_DOUBT 2.0f
/* What a draft counts after each later one. */
#define WEIR_GAMMA_KEEPS (63.0f / 64.0f)

WF_FN int32_t weir__gamma_bucket(float confidence) {
    int32_t b = 0;
    b += confidence >= 0.15f;
    b += confidence >= 0.3f;
    b += confidence >= 0.45f;
    b += confidence >= 0.6f;
    b += confidence >= 0.75f;
    b += confidence >= 0.9f;
    b += confidence >= 0.97f;
    return b;
}

/* How often drafts of a bucket are refused, against all drafts: what is taken for known. */
WF_FN float weir__gamma_refusal(int32_t bucket) {
    switch (bucket) {
    case 0: return 1.65f;
    case 1: return 1.45f;
    case 2: return 1.25f;
    case 3: return 1.0f;
    case 4: return 0.72f;
    case 5: return 0.42f;
    case 6: return 0.18f;
    default: return 0.03f;
    }
}

/* The same of the draft that follows one of the bucket. */
WF_FN float weir__gamma_refusal_after(int32_t bucket) {
    switch (bucket) {
    case 0: return 1.27f;
    case 1: return 1.2f;
    case 2: return 1.1f;
    case 3: return 1.0f;
    case 4: return 0.95f;
    case 5: return 0.9f;
    case 6: return 0.8f;
    default: return 0.66f;
    }
}

/* Acceptance of a draft; more: accepted drafts on top of those seen. */
WF_FN float weir__gamma_mean(const weir_gamma_past *h, float more) {
    const float weight = WEIR_GAMMA_PRIOR_WEIGHT;
    return (h->accepted + weight * WEIR_GAMMA_PRIOR + more) / (h->seen + weight + more);
}

WF_FN float weir__gamma_floor(float a) { return a < 0.05f ? 0.05f : a; }

/* Of one of the bucket; mean: of all. */
WF_FN float weir__gamma_mean_at(const weir_gamma_past *h, int32_t bucket, float mean) {
    const float weight = WEIR_GAMMA_PRIOR_WEIGHT;
    const float known = weir__gamma_floor(1.0f - (1.0f - mean) * weir__gamma_refusal(bucket));
    return (h->accepted_at[bucket] + weight * known) / (h->seen_at[bucket] + weight);
}

/* ---- costs --------------------------------------------------------------------------------------------- */

/* Of a block of j drafts; whole: the probability that all are accepted. */
WF_FN float weir__gamma_cost(const weir_gamma_costs *c, const weir_gamma_plan *g, int32_t j, float whole) {
    const float steps = (float)j + (g->bonus ? whole : 0.0f);
    return steps * c->draft + c->verify[j];
}

/* Tokens for a unit of cost, at the best number of drafts. */
WF_FN float weir__gamma_rate(const weir_gamma_costs *c, const weir_gamma_plan *g, float mean) {
    float tokens = 1.0f, whole = 1.0f, best_tokens = 1.0f, best_cost = c->verify[0];
    for (int32_t j = 1; j <= g->most; j++) {
        whole *= mean;
        tokens += whole;
        const float cost = weir__gamma_cost(c, g, j, whole);
        const bool first = j == 1 && g->bonus;
        if (!first && !(tokens * best_cost > best_tokens * cost)) continue;
        best_tokens = tokens;
        best_cost = cost;
    }
    return best_tokens / best_cost;
}

/* Some number of drafts is cheaper than none. */
WF_FN bool weir__gamma_pays(const weir_gamma_costs *c, const weir_gamma_plan *g, float mean) {
    float tokens = 1.0f, whole = 1.0f;
    for (int32_t j = 1; j <= g->most; j++) {
        whole *= mean;
        tokens += whole;
        if (tokens > weir__gamma_cost(c, g, j, whole)) return true;
    }
    return false;
}

/* After j drafts, which all are accepted with probability `hope`: whether to draft on. next: acceptance of
 * the next one, mean: of those after it. All lengths are looked at, since verifying some number of rows may
 * cost no more than one row less. */
WF_FN bool weir__gamma_extends(const weir_gamma_costs *c, const weir_gamma_plan *g, int32_t j, float hope,
                               float next, float mean, float rate) {
    float whole = hope * next, tokens = 0.0f;
    for (int32_t k = j + 1; k <= g->most; k++) {
        tokens += whole;
        float steps = (float)(k - j);
        if (g->bonus) steps -= hope - whole; /* the step after the last draft is made already */
        if (tokens >= rate * (steps * c->draft + (c->verify[k] - c->verify[j]))) return true;
        whole *= mean;
    }
    return false;
}

/* ---- a session's past ---------------------------------------------------------------------------------- */

/* Before its first block. Where drafting would not pay if all were accepted it is settled at once. */
WF_FN void weir__gamma_begin(const weir_gamma_costs *c, const weir_gamma_plan *g, weir_gamma_past *h) {
    h->seen = h->accepted = 0.0f;
    for (int32_t b = 0; b < WEIR_GAMMA_BUCKETS; b++) h->seen_at[b] = h->accepted_at[b] = 0.0f;
    h->settled = !g->bonus && !weir__gamma_pays(c, g, 1.0f);
}

/* A draft that was decided on. */
WF_FN void weir__gamma_learn(weir_gamma_past *h, float confidence, bool accepted) {
    const int32_t b = weir__gamma_bucket(confidence);
    const float one = accepted ? 1.0f : 0.0f;
    h->seen = h->seen * WEIR_GAMMA_KEEPS + 1.0f;
    h->accepted = h->accepted * WEIR_GAMMA_KEEPS + one;
    h->seen_at[b] = h->seen_at[b] * WEIR_GAMMA_KEEPS + 1.0f;
    h->accepted_at[b] = h->accepted_at[b] * WEIR_GAMMA_KEEPS + one;
}

/* After a block. */
WF_FN void weir__gamma_settle(const weir_gamma_costs *c, const weir_gamma_plan *g, weir_gamma_past *h) {
    if (!g->bonus && !weir__gamma_pays(c, g, weir__gamma_mean(h, WEIR_GAMMA_DOUBT))) h->settled = 1;
}

#endif /* WEIR_KERNELS_LOOP_GAMMA_H */

#include "kernels/accept/law.h"

#include <math.h>
#include <string.h>

#include "kernels/accept/traits.h"

#define BELOW "defers iff "
#define FACTS(id)                                                                                      \
    .kind = WEIR_RULE_KIND(WEIR_RULE_##id), .q_only = WEIR_RULE_IN(WEIR_RULES_Q_ONLY, WEIR_RULE_##id), \
    .pi_exists = WEIR_RULE_IN(WEIR_RULES_WITH_PI, WEIR_RULE_##id),                                     \
    .one_hot = WEIR_RULE_IN(WEIR_RULES_ONE_HOT, WEIR_RULE_##id)

/* One entry per rule: names, formula, ranges. The arithmetic is that of policy_impl.h, in the same order.
 * Some ranges extend a little past the paper's, where that end is meaningful (chow and token-v3 below 0 are
 * exact decoding). Defaults are moderate: they defer occasionally on a pair that mostly agrees. */
static const weir_rule_info RULES[WEIR_RULE_COUNT] = {
    [WEIR_RULE_EXACT] = {FACTS(EXACT), .name = "exact", .alias = "speed",
                         .defers = "always: speculative decoding, the verifier's own law",
                         .alpha_min = -INFINITY, .alpha_max = INFINITY, .alpha_default = 0.0f,
                         .beta_default = NAN},
    [WEIR_RULE_CHOW] = {FACTS(CHOW), .name = "chow", .alias = "cascade_chow",
                        .defers = BELOW "max q < 1 - alpha", .alpha_min = -1.0f, .alpha_max = 1.0f,
                        .alpha_default = 0.5f, .beta_default = NAN},
    [WEIR_RULE_CHOW_LOG] = {FACTS(CHOW_LOG), .name = "chow-log", .defers = BELOW "H(q) > alpha nats",
                            .alpha_min = -1.0f, .alpha_max = INFINITY, .alpha_default = 1.0f,
                            .beta_default = NAN},
    [WEIR_RULE_DIFF] = {FACTS(DIFF), .name = "diff", .alias = "cascade_diff",
                        .defers = BELOW "max q < max p - alpha", .alpha_min = -1.0f, .alpha_max = 1.0f,
                        .alpha_default = 0.0f, .beta_default = NAN},
    [WEIR_RULE_OPT] = {FACTS(OPT), .name = "opt", .alias = "cascade_opt",
                       .defers = BELOW "max q < max p - alpha D_TV(p, q)", .alpha_min = -INFINITY,
                       .alpha_max = INFINITY, .alpha_default = 0.0f, .beta_default = NAN},
    [WEIR_RULE_OPT_LOG] = {FACTS(OPT_LOG), .name = "opt-log",
                           .defers = BELOW "H(q) > H(p) + alpha D_TV(p, q)", .alpha_min = -INFINITY,
                           .alpha_max = INFINITY, .alpha_default = 0.0f, .beta_default = NAN},
    [WEIR_RULE_TOKEN_V1] = {FACTS(TOKEN_V1), .name = "token-v1", .alias = "cascade_tokenV1",
                            .defers = "token v " BELOW "q(v) < max p - alpha", .alpha_min = -1.0f,
                            .alpha_max = 1.0f, .alpha_default = 0.0f, .beta_default = NAN},
    [WEIR_RULE_TOKEN_V2] = {FACTS(TOKEN_V2), .name = "token-v2", .alias = "cascade_tokenV2",
                            .defers = "token v " BELOW "p(v) < max p - alpha", .alpha_min = -1.0f,
                            .alpha_max = 1.0f, .alpha_default = 0.0f, .beta_default = NAN},
    [WEIR_RULE_TOKEN_V3] = {FACTS(TOKEN_V3), .name = "token-v3", .alias = "cascade_tokenV3",
                            .defers = "token v " BELOW "p(v) < (1 - alpha) max p", .alpha_min = -1.0f,
                            .alpha_max = 1.0f, .alpha_default = 0.2f, .beta_default = NAN},
    [WEIR_RULE_LOSSY] =
        {FACTS(LOSSY), .name = "lossy",
         .defers = "accepts min(1, p(x) / ((1 - alpha) q(x))), else draws from norm((p / beta - q)+)",
         .alpha_min = 0.0f, .alpha_max = 1.0f, .alpha_max_open = true, .alpha_default = 0.1f,
         .beta_default = 1.0f},
    [WEIR_RULE_BILD] = {FACTS(BILD), .name = "bild", .defers = BELOW "-log p(argmax q) > alpha",
                        .alpha_min = 0.0f, .alpha_max = INFINITY, .alpha_default = 1.0f, .beta_default = NAN},
    [WEIR_RULE_TOKEN_V3_EXACT_TAIL] =
        {FACTS(TOKEN_V3_EXACT_TAIL), .name = "token-v3-exact-tail",
         .defers = "accepts v if p(v) >= (1 - alpha) max p, else min(1, p / q); draws from norm((p - q)+)",
         .alpha_min = -1.0f, .alpha_max = 1.0f, .alpha_default = 0.2f, .beta_default = NAN},
    [WEIR_RULE_ENSEMBLE] = {FACTS(ENSEMBLE), .name = "ensemble",
                            .defers = "never by a test: pi = alpha p + (1 - alpha) q", .alpha_min = 0.0f,
                            .alpha_max = 1.0f, .alpha_default = 0.5f, .beta_default = NAN},
    [WEIR_RULE_TYPICAL] = {FACTS(TYPICAL), .name = "typical",
                           .defers =
                               "accepts v if p(v) > min(alpha, beta e^-H(p)), else draws from p on that set",
                           .alpha_min = 0.0f, .alpha_max = 1.0f, .alpha_default = 0.09f,
                           .beta_default = 0.3f},
    [WEIR_RULE_CACTUS] = {FACTS(CACTUS), .name = "cactus",
                          .defers =
                              "accepts min(1, g / q(x)), g = min(1, p(x) + sqrt(2 alpha p(x) (1 - p(x))))",
                          .alpha_min = 0.0f, .alpha_max = INFINITY, .alpha_default = 0.1f,
                          .beta_default = NAN},
    [WEIR_RULE_FUZZY] = {FACTS(FUZZY), .name = "fuzzy", .defers = BELOW "JS(p, q) > alpha nats",
                         .alpha_min = 0.0f, .alpha_max = INFINITY, .alpha_default = 0.1f,
                         .beta_default = NAN},
};

const weir_rule_info *weir_rule_facts(weir_rule rule) {
    return (int)rule >= 0 && rule < WEIR_RULE_COUNT ? &RULES[rule] : NULL;
}

int weir_rule_parse(const char *name) {
    if (!name) return -1;
    for (int i = 0; i < WEIR_RULE_COUNT; i++)
        if (!strcmp(name, RULES[i].name) || (RULES[i].alias && !strcmp(name, RULES[i].alias))) return i;
    return -1;
}

weir_law weir_law_default(void) {
    return (weir_law){.rule = WEIR_RULE_EXACT, .beta = 1.0f, .temp = 1.0f, .top_p = 1.0f, .bonus_pi = true};
}

/* Written so that NaN fails. */
static bool within(float x, float lo, float hi) { return x >= lo && x <= hi; }

static weir_status check_knobs(const weir_law *law, const weir_rule_info *f, weir_err *err) {
    const bool open_end = f->alpha_max_open && law->alpha >= f->alpha_max;
    if (!within(law->alpha, f->alpha_min, f->alpha_max) || open_end)
        return weir_fail(err, WEIR_EINVAL, "deferral alpha of %s is %g, not in [%g, %g%c", f->name,
                         (double)law->alpha, (double)f->alpha_min, (double)f->alpha_max,
                         f->alpha_max_open ? ')' : ']');
    if (law->rule == WEIR_RULE_LOSSY && !isnan(law->beta) && !within(law->beta, 1.0f - law->alpha, INFINITY))
        return weir_fail(err, WEIR_EINVAL, "deferral beta of lossy is %g, below 1 - alpha = %g",
                         (double)law->beta, (double)(1.0f - law->alpha));
    if (law->rule == WEIR_RULE_TYPICAL && !within(law->beta, 0.0f, INFINITY))
        return weir_fail(err, WEIR_EINVAL, "deferral beta of typical is %g, not in [0, inf]",
                         (double)law->beta);
    return WEIR_OK;
}

weir_status weir_law_check(const weir_law *law, weir_err *err) {
    const weir_rule_info *f = weir_rule_facts((weir_rule)law->rule);
    if (!f)
        return weir_fail(err, WEIR_EINVAL, "deferral rule %d is unknown, not in [0, %d]", law->rule,
                         WEIR_RULE_COUNT - 1);
    WEIR_TRY(check_knobs(law, f, err));
    if (!within(law->temp, 0.0f, 2.0f))
        return weir_fail(err, WEIR_EINVAL, "temperature is %g, not in [0, 2]", (double)law->temp);
    if (law->top_k < 0) return weir_fail(err, WEIR_EINVAL, "top-k is %d, below 0", law->top_k);
    if (!within(law->top_p, 0.0f, 1.0f) || !(law->top_p > 0.0f))
        return weir_fail(err, WEIR_EINVAL, "top-p is %g, not in (0, 1]", (double)law->top_p);
    if (!within(law->min_p, 0.0f, 1.0f))
        return weir_fail(err, WEIR_EINVAL, "min-p is %g, not in [0, 1]", (double)law->min_p);
    if (law->exact_first < 0)
        return weir_fail(err, WEIR_EINVAL, "exact-first is %d, below 0", law->exact_first);
    if (law->block_verify && !f->pi_exists)
        return weir_fail(err, WEIR_ENOTSUP,
                         "block verification needs a target law, and %s has none: it "
                         "depends on the drafted token",
                         f->name);
    return WEIR_OK;
}

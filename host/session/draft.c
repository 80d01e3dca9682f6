/* The kinds of drafts, and what each of them serves. */
#include <stdio.h>
#include <string.h>

#include "host/weir.h"

static const weir_draft_info kinds[WEIR_DRAFT_KINDS] = {
    [WEIR_DRAFT_NONE] = {.name = "none", .about = "no drafter"},
    [WEIR_DRAFT_MODEL] =
        {.name = "model", .about = "a drafter", .loads = true, .blocks = true, .has_q = true},
    [WEIR_DRAFT_LOOKUP] = {.name = WEIR_NGRAM,
                           .about = "prompt lookup (" WEIR_NGRAM ")",
                           .blocks = true,
                           .one_hot = true},
    [WEIR_DRAFT_TEXT] = {.name = "text",
                         .about = "a drafter of another vocabulary",
                         .loads = true,
                         .blocks = true,
                         .one_hot = true,
                         .greedy = true},
};

const weir_draft_info *weir_draft_facts(weir_draft_kind kind) { return &kinds[kind]; }

weir_draft_kind weir_draft_named(const char *model_draft) {
    if (!model_draft) return WEIR_DRAFT_NONE;
    return strcmp(model_draft, WEIR_NGRAM) == 0 ? WEIR_DRAFT_LOOKUP : WEIR_DRAFT_MODEL;
}

/* "exact, token-v2, … or fuzzy" */
static void one_hot_rules(char *buf, size_t cap) {
    const char *last = NULL;
    size_t n = 0;
    buf[0] = '\0';
    for (int i = 0; i <= WEIR_RULE_COUNT; i++) {
        if (i < WEIR_RULE_COUNT && !weir_rule_facts((weir_rule)i)->one_hot) continue;
        const char *before = n == 0 ? "" : i < WEIR_RULE_COUNT ? ", " : " or ";
        if (last && n < cap) n += (size_t)snprintf(buf + n, cap - n, "%s%s", before, last);
        if (i < WEIR_RULE_COUNT) last = weir_rule_facts((weir_rule)i)->name;
    }
}

/* Of drafts that are certain. */
static weir_status check_one_hot(const weir_draft_info *k, weir_method method, weir_rule rule,
                                 weir_err *err) {
    if (method != WEIR_METHOD_SPECULATIVE)
        return weir_fail(
            err, WEIR_ENOTSUP,
            "method %s runs a drafter by itself, which %s cannot be: use speculative or verifier",
            weir_method_name(method), k->about);
    const weir_rule_info *info = weir_rule_facts(rule);
    if (!info || info->one_hot) return WEIR_OK; /* an unknown rule is not for this to say */
    char names[160];
    one_hot_rules(names, sizeof names);
    return weir_fail(err, WEIR_ENOTSUP,
                     "rule %s goes by the drafter's confidence, which %s does not have: use %s", info->name,
                     k->about, names);
}

weir_status weir_draft_check(weir_draft_kind kind, weir_method method, const weir_law *law, weir_err *err) {
    const weir_draft_info *k = weir_draft_facts(kind);
    if (method == WEIR_METHOD_VERIFIER || k->has_q) return WEIR_OK;
    if (!k->blocks)
        return weir_fail(err, WEIR_ENOTSUP, "method %s needs a drafter; the engine was opened without one",
                         weir_method_name(method));
    WEIR_TRY(check_one_hot(k, method, (weir_rule)law->rule, err));
    if (!k->greedy || law->temp == 0.0f) return WEIR_OK;
    return weir_fail(
        err, WEIR_ENOTSUP,
        "temperature %g: %s drafts its likeliest text, and how likely that was among the verifier's "
        "tokens is lost: use temperature 0, or method verifier",
        (double)law->temp, k->about);
}

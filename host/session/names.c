/* Words for methods, ends and sources, as command line and answers spell them, and which of them prompt
 * lookup serves. */
#include <stdio.h>
#include <string.h>

#include "host/weir.h"

static const char *const method_names[] = {"speculative",   "verifier",       "drafter",
                                           "token-cascade", "oracle-cascade", "sequence-cascade"};
static const char *const finish_names[] = {"running", "stop", "length", "cancelled"};
static const char *const ended_names[] = {"not", "eos", "stop", "limit", "context", "cancelled"};
static const char *const source_names[] = {"kept", "accepted", "resampled", "bonus", "drafter", "verifier"};

static const char *name_at(const char *const *names, size_t n, int i) {
    return i >= 0 && (size_t)i < n ? names[i] : "unknown";
}

const char *weir_method_name(weir_method m) {
    return name_at(method_names, sizeof method_names / sizeof *method_names, (int)m);
}
const char *weir_finish_name(weir_finish f) {
    return name_at(finish_names, sizeof finish_names / sizeof *finish_names, (int)f);
}
const char *weir_ended_name(weir_ended w) {
    return name_at(ended_names, sizeof ended_names / sizeof *ended_names, (int)w);
}
const char *weir_source_name(int source) {
    return name_at(source_names, sizeof source_names / sizeof *source_names, source);
}
int weir_method_parse(const char *name) {
    for (size_t i = 0; i < sizeof method_names / sizeof *method_names; i++)
        if (strcmp(name, method_names[i]) == 0) return (int)i;
    return -1;
}

/* ---- prompt lookup ------------------------------------------------------------------------------------- */

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

weir_status weir_lookup_check(weir_method method, weir_rule rule, weir_err *err) {
    if (method == WEIR_METHOD_VERIFIER) return WEIR_OK;
    if (method != WEIR_METHOD_SPECULATIVE)
        return weir_fail(err, WEIR_ENOTSUP,
                         "method %s runs a drafter by itself, and prompt lookup (" WEIR_NGRAM
                         ") is none: use speculative or verifier",
                         weir_method_name(method));
    const weir_rule_info *info = weir_rule_facts(rule);
    if (!info || info->one_hot) return WEIR_OK; /* an unknown rule is not for this to say */
    char names[160];
    one_hot_rules(names, sizeof names);
    return weir_fail(err, WEIR_ENOTSUP,
                     "rule %s goes by the drafter's confidence, which prompt lookup (" WEIR_NGRAM
                     ") does not have: use %s",
                     info->name, names);
}

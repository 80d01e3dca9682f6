#include "host/session/check.h"

#include <math.h>

#include "host/state.h"

static weir_status check_method(const weir_engine *e, const weir_session_options *o, weir_err *err) {
    if ((int)o->method < 0 || (int)o->method > (int)WEIR_METHOD_SEQUENCE_CASCADE)
        return weir_fail(err, WEIR_EINVAL, "method %d is not one of the six", (int)o->method);
    WEIR_TRY(weir_draft_check(e->pair.draft, o->method, &o->law, err));
    const weir_rule_info *rule = weir_rule_facts((weir_rule)o->law.rule);
    if (o->method == WEIR_METHOD_TOKEN_CASCADE && !rule->q_only)
        return weir_fail(err, WEIR_ENOTSUP,
                         "token-cascade decides before the verifier runs: rule %s looks at the "
                         "verifier's row; use chow or chow-log",
                         rule->name);
    if (o->method == WEIR_METHOD_ORACLE_CASCADE && rule->kind != WEIR_KIND_GATE)
        return weir_fail(err, WEIR_ENOTSUP,
                         "oracle-cascade takes a whole token from one model: rule %s does not decide "
                         "by row; use exact, chow, chow-log, diff, opt, opt-log, bild or fuzzy",
                         rule->name);
    if (o->method == WEIR_METHOD_SEQUENCE_CASCADE && !(o->law.alpha >= 0.0f))
        return weir_fail(err, WEIR_EINVAL,
                         "sequence-cascade: alpha %g is outside [0, inf): it defers when the "
                         "confidence (a log-probability) is below -alpha",
                         (double)o->law.alpha);
    return WEIR_OK;
}

static weir_status check_limits(const weir_engine *e, const weir_session_options *o, weir_err *err) {
    if (o->max_tokens < 0 || o->max_tokens > e->pair.ctx_size)
        return weir_fail(err, WEIR_EINVAL, "max_tokens %d is outside [0, %d] (the context, -c)",
                         o->max_tokens, e->pair.ctx_size);
    const bool blocks = o->method == WEIR_METHOD_SPECULATIVE, chosen = o->n_draft == WEIR_GAMMA_AUTO;
    if (blocks && chosen && e->pair.fixed_gamma)
        return weir_fail(err, WEIR_EINVAL, "gamma auto: the engine was opened for fixed gammas");
    if (blocks && !chosen && (o->n_draft < 1 || o->n_draft > e->pair.max_draft))
        return weir_fail(err, WEIR_EINVAL, "gamma %d is outside [1, %d]", o->n_draft, e->pair.max_draft);
    if (o->n_stop < 0 || o->n_stop > 16)
        return weir_fail(err, WEIR_EINVAL, "%d stop strings; at most 16 are allowed", o->n_stop);
    for (int i = 0; i < o->n_stop; i++)
        if (!o->stop[i] || !o->stop[i][0]) return weir_fail(err, WEIR_EINVAL, "stop string %d is empty", i);
    if (o->n_top < 0 || o->n_top > WEIR_N_TOP_MAX)
        return weir_fail(err, WEIR_EINVAL, "n_top %d is outside [0, %d]", o->n_top, WEIR_N_TOP_MAX);
    if (o->n_stop > 0 && !e->pair.tok)
        return weir_fail(err, WEIR_ENOTSUP, "stop strings need a tokenizer; the checkpoint has none");
    return WEIR_OK;
}

weir_status weir__session_check(const weir_engine *e, const weir_session_options *o, const int32_t *prompt,
                                size_t n_prompt, weir_err *err) {
    weir_law law = o->law;
    if (o->method == WEIR_METHOD_SEQUENCE_CASCADE || o->method == WEIR_METHOD_VERIFIER ||
        o->method == WEIR_METHOD_DRAFTER) {
        law.rule = WEIR_RULE_EXACT; /* only sampling fields matter there */
        law.alpha = 0.0f;
        law.beta = weir_rule_facts(WEIR_RULE_EXACT)->beta_default;
    }
    WEIR_TRY(weir_law_check(&law, err));
    WEIR_TRY(check_method(e, o, err));
    WEIR_TRY(check_limits(e, o, err));
    if (n_prompt == 0) return weir_fail(err, WEIR_EINVAL, "the prompt has no token");
    if (!e->pair.facts.encoder_decoder && o->max_tokens > 0 && n_prompt >= (size_t)e->pair.ctx_size)
        return weir_fail(err, WEIR_ETOOLONG,
                         "the prompt has %zu tokens; the context holds %d for prompt and output together "
                         "(raise it with -c)",
                         n_prompt, e->pair.ctx_size);
    if (n_prompt > (size_t)e->pair.ctx_size)
        return weir_fail(err, WEIR_ETOOLONG,
                         "the prompt has %zu tokens; the context holds %d (raise it with -c)", n_prompt,
                         e->pair.ctx_size);
    for (size_t i = 0; i < n_prompt; i++)
        if (prompt[i] < 0 || prompt[i] >= e->pair.n_vocab)
            return weir_fail(err, WEIR_EINVAL, "prompt token %zu is %d; ids are in [0, %d)", i,
                             (int)prompt[i], (int)e->pair.n_vocab);
    return WEIR_OK;
}

/* Options and prompts at the edges of what a session may be. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/host/pairs/pair_fixture.h"

static weir_engine *open_with(int max_draft) {
    weir_engine_options o = demo_options();
    o.max_draft = max_draft;
    return engine_open(&o);
}

/* The status of a session of one prompt token; `word` is in the message where there is one. */
static void expect_session(weir_engine *e, const weir_session_options *o, int32_t id, weir_status want,
                           const char *word) {
    weir_session *s = NULL;
    weir_err err = {""};
    const weir_status st = weir_session_create(e, o, &id, 1, NULL, NULL, &s, &err);
    cr_expect_eq(st, want, "%s: %s", word, err.text);
    cr_expect(st == WEIR_OK || strstr(err.text, word), "\"%s\" lacks \"%s\"", err.text, word);
    weir_session_free(s);
}

Test(session_check, gamma_is_the_engines_at_most) {
    weir_engine *e = open_with(3);
    weir_session_options o = weir_session_options_default();
    for (int gamma = 0; gamma <= 5; gamma++) {
        o.n_draft = gamma;
        expect_session(e, &o, 5, gamma <= 3 ? WEIR_OK : WEIR_EINVAL, "[1, 3]");
    }
    o.method = WEIR_METHOD_VERIFIER; /* drafts nothing */
    expect_session(e, &o, 5, WEIR_OK, "");
    weir_engine_close(e);
}

Test(session_check, ids_end_with_the_vocabulary) {
    weir_engine *e = open_with(0);
    weir_engine_facts f;
    weir_engine_get_facts(e, &f);
    const weir_session_options o = weir_session_options_default();
    expect_session(e, &o, 0, WEIR_OK, "");
    expect_session(e, &o, f.n_vocab - 1, WEIR_OK, "");
    expect_session(e, &o, f.n_vocab, WEIR_EINVAL, "ids are in [0, ");
    expect_session(e, &o, -1, WEIR_EINVAL, "ids are in [0, ");
    weir_engine_close(e);
}

/* There alpha is a threshold in nats, whatever the rule. */
Test(session_check, a_sequence_cascade_has_an_alpha_of_its_own) {
    weir_engine *e = open_with(0);
    weir_session_options o = weir_session_options_default();
    o.method = WEIR_METHOD_SEQUENCE_CASCADE;
    o.law.rule = WEIR_RULE_CHOW;
    o.law.alpha = 5.0f;
    expect_session(e, &o, 5, WEIR_OK, "");
    o.law.alpha = -0.5f;
    expect_session(e, &o, 5, WEIR_EINVAL, "sequence-cascade: alpha");
    weir_engine_close(e);
}

/* A whole program on host/weir.h: translate.c VERIFIER DRAFTER TEXT. It prints the translation as it comes,
 * the drafter's words in brackets, then what the cascade did. Build: cc translate.c -lweir_host and the
 * libraries of the README. */
#include <stdio.h>
#include <string.h>

#include "host/weir.h"

/* A text that is drafted and accepted is the drafter's; everything else is the verifier's. */
static bool print_token(void *ud, weir_session *s, const weir_token_event *ev) {
    (void)ud, (void)s;
    const char *source = weir_source_name(ev->source);
    bool drafted = strcmp(source, "kept") == 0 || strcmp(source, "accepted") == 0;
    if (ev->bytes > 0) printf(drafted ? "[%.*s]" : "%.*s", (int)ev->bytes, ev->text);
    fflush(stdout);
    return true; /* false would cancel the session */
}

static weir_status translate(weir_engine *e, const char *text, weir_err *err) {
    weir_session_options opt = weir_session_options_default();
    opt.law.rule = WEIR_RULE_TOKEN_V3; /* the drafter keeps what the verifier finds likely enough */
    opt.law.alpha = 0.2f;
    opt.n_draft = 5;
    opt.seed = 1;

    int32_t *ids = NULL;
    size_t n_ids = 0;
    WEIR_TRY(weir_tokenize(e, text, strlen(text), true, true, &ids, &n_ids, err));
    weir_session *s = NULL;
    weir_status status = weir_session_create(e, &opt, ids, n_ids, print_token, NULL, &s, err);
    weir_ids_free(ids);
    if (status != WEIR_OK) return status;

    weir_session_view view;
    do {
        status = weir_step(e, &s, 1, 4, err); /* several sessions could step together here */
        weir_session_get(s, &view);
    } while (status == WEIR_OK && view.finish == WEIR_RUNNING);
    printf("\n%zu tokens in %lld blocks, %lld of %lld drafts accepted, %lld verifier calls, %.1f ms\n",
           view.n, (long long)view.stats.blocks, (long long)view.stats.accepted,
           (long long)view.stats.drafted, (long long)view.stats.verifier_calls,
           1e3 * view.stats.seconds_total);
    weir_session_free(s);
    return status;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: %s VERIFIER DRAFTER TEXT\n", argv[0]);
        return 2;
    }
    weir_engine_options opt = weir_engine_options_default();
    opt.model = argv[1];
    opt.model_draft = argv[2];
    weir_err err = {{0}};
    weir_engine *e = NULL;
    weir_status status = weir_engine_open(&e, &opt, &err);
    if (status == WEIR_OK) status = translate(e, argv[3], &err);
    if (status != WEIR_OK) fprintf(stderr, "%s: %s\n", weir_status_str(status), err.text);
    weir_engine_close(e);
    return status == WEIR_OK ? 0 : 1;
}

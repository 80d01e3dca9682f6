/* A whole program on host/weir.h: translate.c VERIFIER DRAFTER TEXT. It prints the translation as it comes,
 * the drafter's words in brackets, then what the cascade did. Build: cc translate.c -lweir_host and the
 * libraries of the README. */
#include <stdio.h>
#include <string.h>

#include "host/weir.h"

/* A text that is drafted and accepted is the drafter's; everything else is the verifier's. */
static void print_token(const weir_token_event *t) {
    const char *source = weir_source_name(t->source);
    bool drafted = strcmp(source, "kept") == 0 || strcmp(source, "accepted") == 0;
    if (t->bytes > 0) printf(drafted ? "[%.*s]" : "%.*s", (int)t->bytes, t->text);
    fflush(stdout);
}

/* The events of one request; any number could be under way. */
static weir_status print_answer(weir_queue *q, weir_err *err) {
    weir_queue_event ev;
    do {
        weir_queue_next(q, 0.0, &ev);
        for (size_t i = 0; ev.kind == WEIR_QUEUE_TOKENS && i < ev.n_token; i++) print_token(&ev.tokens[i]);
    } while (ev.kind == WEIR_QUEUE_TOKENS);
    const weir_session_stats *s = &ev.view.stats;
    printf("\n%zu tokens in %lld blocks, %lld of %lld drafts accepted, %lld verifier calls, %.1f ms\n",
           ev.view.n, (long long)s->blocks, (long long)s->accepted, (long long)s->drafted,
           (long long)s->verifier_calls, 1e3 * s->seconds_total);
    *err = ev.err;
    return ev.status;
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
    weir_queue *q = NULL;
    weir_request *r = NULL;
    weir_status status = weir_queue_open(&q, e, NULL, err);
    weir_queue_job job = weir_queue_job_default();
    job.options = opt, job.prompt = ids, job.n_prompt = n_ids;
    if (status == WEIR_OK) status = weir_queue_submit(q, &job, 1, &r, err);
    weir_ids_free(ids);
    if (status == WEIR_OK) status = print_answer(q, err);
    weir_queue_close(q); /* and with it the request */
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

/* What an answer says of each token, gathered as JSON. */
#include "host/serve/api/answer_parts.h"

#include <math.h>
#include <string.h>

#include "host/wire/put.h"

enum { N_BUF = 9 };

static void list_bufs(api_choice *c, wire_buf *list[N_BUF]) {
    wire_buf *const all[N_BUF] = {&c->text,   &c->ids, &c->sources, &c->policy, &c->tokens,
                                  &c->values, &c->top, &c->offsets, &c->tail};
    memcpy(list, all, sizeof all);
}

bool api_parts_failed(const api_answer *a, api_choice *c) {
    wire_buf *list[N_BUF];
    bool failed = a->spelled.failed || a->raw.failed;
    list_bufs(c, list);
    for (int i = 0; i < N_BUF; i++) failed |= list[i]->failed;
    return failed;
}

bool api_parts_any(const api_choice *c) {
    return c->text.len > 0 || c->ids.len > 0 || c->sources.len > 0 || c->tokens.len > 0;
}

void api_parts_clear(api_choice *c) {
    wire_buf *list[N_BUF];
    list_bufs(c, list);
    for (int i = 0; i < N_BUF; i++) list[i]->len = 0;
}

void api_parts_free(api_choice *c) {
    wire_buf *list[N_BUF];
    list_bufs(c, list);
    for (int i = 0; i < N_BUF; i++) wire_buf_free(list[i]);
}

static int64_t count_chars(const char *bytes, size_t n) {
    int64_t chars = 0;
    for (size_t i = 0; i < n; i++) chars += ((unsigned char)bytes[i] & 0xc0) != 0x80;
    return chars;
}

void api_comma(wire_buf *items) {
    if (items->len > 0) wire_buf_add(items, ",", 1);
}

static void add_source(const api_ask *ask, api_choice *c, const api_token *t) {
    if (ask->token_ids) {
        api_comma(&c->ids);
        wire_put_int(&c->ids, t->id);
    }
    if (!ask->sources) return;
    api_comma(&c->sources);
    if (t->source)
        wire_put_text(&c->sources, t->source, strlen(t->source));
    else
        wire_buf_puts(&c->sources, "null");
    api_comma(&c->policy);
    wire_put_real(&c->policy, (double)t->policy_logprob);
}

void api_parts_add(api_answer *a, api_choice *c, const api_token *t) {
    if (a->ask->logprobs) api_logprob_add(a, c, &(api_entry){.t = t, .offset = c->n_char});
    add_source(a->ask, c, t);
    if (t->bytes == 0) return;
    wire_put_escaped(&c->text, t->text, t->bytes);
    if (a->ask->logprobs) c->n_char += count_chars(t->text, t->bytes);
}

/* ---- echo ---------------------------------------------------------------------------------------------- */

/* The text of prompt token i, onto a->raw. What the engine has put in front is none of the prompt's: the bos,
 * and the space before the first word, which its text lacks when it is decoded alone. */
static weir_status prompt_text(api_answer *a, const api_prompt *p, size_t i, bool *begun) {
    const weir_engine_facts *f = &a->server->facts;
    char *bytes = NULL, *alone = NULL;
    size_t n = 0, n_alone = 0, skip = 0;
    if (i == 0 && f->add_bos && p->ids[0] == f->bos_id) return WEIR_OK;
    weir_status s = weir_token_bytes(a->server->engine, p->ids[i], &bytes, &n, NULL);
    if (s == WEIR_OK && !*begun && n > 0 && bytes[0] == ' ') {
        s = weir_detokenize(a->server->engine, &p->ids[i], 1, &alone, &n_alone, NULL);
        skip = s == WEIR_OK && n_alone + 1 == n;
    }
    *begun = true;
    if (s == WEIR_OK) wire_buf_add(&a->raw, bytes + skip, n - skip);
    weir_text_free(bytes);
    weir_text_free(alone);
    return s;
}

static void add_prompt_entry(api_answer *a, api_choice *c, const api_prompt *p, size_t i,
                             const api_scored *scored) {
    const size_t at = i - 1, n_top = (size_t)a->ask->n_top;
    const bool known = i > 0 && scored && at < scored->n;
    const api_token t = {.id = p->ids[i],
                         .logprob = known ? scored->logprobs[at] : NAN,
                         .top = known && scored->top ? scored->top + at * n_top : NULL,
                         .n_top = known && scored->top ? (int)n_top : 0};
    api_logprob_add(a, c, &(api_entry){.t = &t, .offset = c->n_char, .first = i == 0});
}

void api_parts_add_prompt(api_answer *a, api_choice *c, const api_prompt *p, const api_scored *scored) {
    bool begun = false;
    size_t counted = 0;
    a->raw.len = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (a->ask->logprobs) add_prompt_entry(a, c, p, i, scored);
        if (prompt_text(a, p, i, &begun) == WEIR_ENOMEM) a->raw.failed = true;
        if (a->raw.failed) return;
        if (a->raw.len > counted) c->n_char += count_chars(a->raw.data + counted, a->raw.len - counted);
        counted = a->raw.len;
    }
    wire_put_escaped(&c->text, a->raw.data, a->raw.len);
}

/* ---- writing ------------------------------------------------------------------------------------------- */

static void put_list(wire_buf *out, const char *key, const wire_buf *items) {
    wire_buf_puts(out, key);
    wire_buf_add(out, items->data, items->len);
    wire_buf_add(out, "]", 1);
}

/* A chunk may have no token, a whole answer has lists in any case. */
static void write_logprobs(const api_answer *a, const api_choice *c, wire_buf *out) {
    if (!a->ask->logprobs || (a->ask->stream && c->tokens.len == 0)) {
        wire_buf_puts(out, ",\"logprobs\":null");
    } else if (a->ask->chat) {
        put_list(out, ",\"logprobs\":{\"content\":[", &c->tokens);
        wire_buf_puts(out, ",\"refusal\":null}");
    } else {
        put_list(out, ",\"logprobs\":{\"tokens\":[", &c->tokens);
        put_list(out, ",\"token_logprobs\":[", &c->values);
        put_list(out, ",\"top_logprobs\":[", &c->top);
        put_list(out, ",\"text_offset\":[", &c->offsets);
        wire_buf_add(out, "}", 1);
    }
}

void api_parts_write(const api_answer *a, const api_choice *c, const char *end, size_t n_end, wire_buf *out) {
    write_logprobs(a, c, out);
    wire_buf_add(out, end, n_end);
    if (a->ask->token_ids) put_list(out, ",\"token_ids\":[", &c->ids);
    if (!a->ask->sources) return;
    put_list(out, ",\"sources\":[", &c->sources);
    put_list(out, ",\"policy_logprobs\":[", &c->policy);
}

#include "tests/serve/api/answer_fixture.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/state.h"
#include "host/tokenizers/text/bytes.h"

static weir_engine engine;
static const char *const names[] = {"demo"};
static api_server server;

/* Token b is byte b. */
static weir_tokenizer *open_tokenizer(void) {
    char json[16384] = "{\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{";
    size_t n = strlen(json);
    for (int b = 0; b < 256; b++) {
        char spelled[3] = "";
        spelled[weir__byte_spell((uint8_t)b, spelled)] = '\0';
        const char *escape = b == '"' || b == '\\' ? "\\" : "";
        n += (size_t)snprintf(json + n, sizeof json - n, "\"%s%s\":%d,", escape, spelled, b);
    }
    snprintf(json + n, sizeof json - n,
             "\"\xc4\xa0word\":256},\"unk_token\":null},\"added_tokens\":["
             "{\"id\":257,\"content\":\"bytes:\\\\xe4\",\"special\":false},"
             "{\"id\":258,\"content\":\"<end>\",\"special\":true}],"
             "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
             "\"decoder\":{\"type\":\"ByteLevel\"}}");
    weir_tokenizer *t = NULL;
    weir_err err = {""};
    cr_assert(weir__tokenizer_open_json_bytes(&t, json, strlen(json), "bytes", &err) == WEIR_OK, "%s",
              err.text);
    return t;
}

api_server *fixture_server(void) {
    engine = (weir_engine){.pair.tok = open_tokenizer()};
    engine.pair.n_vocab = weir__tokenizer_size(engine.pair.tok);
    server = (api_server){.engine = &engine,
                          .names = names,
                          .n_name = 1,
                          .facts = {.bos_id = -1, .has_tokenizer = true},
                          .fingerprint = "weir-0.1.0-0123-4567"};
    return &server;
}

void fixture_vocabulary(const char *tokenizer_json) {
    weir_err err = {""};
    weir__tokenizer_free(engine.pair.tok);
    engine.pair.tok = NULL;
    cr_assert(weir__tokenizer_open_json(&engine.pair.tok, tokenizer_json, &err) == WEIR_OK, "%s", err.text);
    engine.pair.n_vocab = weir__tokenizer_size(engine.pair.tok);
}

void fixture_close(void) { weir__tokenizer_free(engine.pair.tok); }

void fixture_ask(api_ask *ask) {
    static int32_t hi[] = {'H', 'i'};
    static api_prompt prompt = {hi, 2};
    static char model[] = "demo";
    *ask = (api_ask){.n = 1,
                     .prompts = &prompt,
                     .n_prompt = 1,
                     .o = weir_session_options_default(),
                     .model = model,
                     .answer_seconds = INFINITY};
    ask->o.seed = 7;
    ask->o.n_draft = 5;
}

weir_token_event fixture_token(int32_t id) {
    static char bytes[256];
    weir_token_event t = {
        .id = id, .source = WEIR_SOURCE_ACCEPTED, .logprob = -0.5f, .policy_logprob = -0.25f, .text = ""};
    if (id == TOKEN_WORD) {
        t.text = " word";
        t.bytes = 5;
    } else if (id == TOKEN_TWIN) {
        t.text = "bytes:\\xe4";
        t.bytes = 10;
    } else if (id < 256) {
        bytes[id] = (char)id;
        t.text = bytes + id;
        t.bytes = 1;
    }
    return t;
}

void fixture_top(weir_token_event *t, weir_top *room, int n) {
    for (int i = 0; i < n; i++) room[i] = (weir_top){t->id + i, -0.5f * (float)(i + 1)};
    t->top = room;
    t->n_top = n;
}

api_end fixture_end(int64_t n_output) {
    api_end e = {.finish = WEIR_FINISH_STOP,
                 .ended_by = WEIR_ENDED_EOS,
                 .stop = -1,
                 .eos = TOKEN_END,
                 .eos_logprob = -2,
                 .eos_policy_logprob = -1,
                 .queue_seconds = 0.25};
    e.stats = (weir_session_stats){.n_prompt = 2,
                                   .n_output = n_output,
                                   .blocks = (n_output + 1) / 2,
                                   .drafted = 5 * ((n_output + 1) / 2),
                                   .accepted = n_output,
                                   .rows_examined = n_output + 1,
                                   .reject_mass = 0.5,
                                   .seconds_prefill = 0.5,
                                   .seconds_total = 2.5,
                                   .seconds_first = 0.75};
    e.stats.accept_hist[2] = e.stats.blocks;
    return e;
}

/* ---- reading ------------------------------------------------------------------------------------------- */

json_t *fixture_events(const wire_buf *b, int *done) {
    json_t *events = json_array();
    const char *p = b->data, *end = b->data + b->len;
    *done = 0;
    while (p < end) {
        const char *stop = memmem(p, (size_t)(end - p), "\n\n", 2);
        cr_assert(stop && strncmp(p, "data: ", 6) == 0, "no event: %.60s", p);
        cr_assert(!memchr(p, '\n', (size_t)(stop - p)), "an event of two lines: %.60s", p);
        cr_assert(*done == 0, "something after [DONE]: %.60s", p);
        json_error_t e;
        json_t *v = json_loadb(p + 6, (size_t)(stop - p) - 6, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
        if (v)
            json_array_append_new(events, v);
        else if (strncmp(p + 6, "[DONE]\n", 7) == 0)
            ++*done;
        else
            cr_assert_fail("%s: %.200s", e.text, p);
        p = stop + 2;
    }
    return events;
}

json_t *at(const json_t *v, const char *path) {
    while (v && *path) {
        const size_t n = strcspn(path, ".");
        char key[64];
        snprintf(key, sizeof key, "%.*s", (int)n, path);
        v = json_is_array(v) ? json_array_get(v, (size_t)strtol(key, NULL, 10)) : json_object_get(v, key);
        path += n + (path[n] == '.');
    }
    return (json_t *)v;
}

const char *text_at(const json_t *v, const char *path) {
    const json_t *x = at(v, path);
    cr_assert(json_is_string(x), "%s is no text", path);
    return json_string_value(x);
}

int64_t int_at(const json_t *v, const char *path) {
    const json_t *x = at(v, path);
    cr_assert(json_is_integer(x), "%s is no integer", path);
    return json_integer_value(x);
}

bool is_null_at(const json_t *v, const char *path) { return json_is_null(at(v, path)); }

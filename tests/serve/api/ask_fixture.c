#include "tests/serve/api/ask_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/wire/settings.h"
#include "tests/support/alloc.h"
#include "tests/support/costs.h"

api_server demo, decoder;
serve_error said;

static weir_engine *engines[2];
static const char *const names[2] = {"demo", "alias"};
static api_profile fast = {.name = "fast"};

static api_server server_of(weir_engine *e) {
    api_server s = {.engine = e, .names = names, .n_name = 2, .defaults = weir_session_options_default()};
    weir_engine_get_facts(e, &s.facts);
    if (!s.facts.has_draft) s.defaults.method = WEIR_METHOD_VERIFIER;
    fast.o = s.defaults;
    wire_set_rule(&fast.o.law, WEIR_RULE_TOKEN_V3);
    fast.o.law.alpha = 0.4f;
    fast.o.n_draft = 7;
    s.profiles = &fast;
    s.n_profile = s.facts.has_draft;
    s.created = 1700000000;
    return s;
}

void servers_open(void) {
    weir_err err = {{0}};
    weir_engine_options o = weir_engine_options_default();
    o.costs = TEST_COSTS;
    o.model = WEIR_SOURCE_DIR "/models/demo/verifier";
    o.model_draft = WEIR_SOURCE_DIR "/models/demo/drafter";
    o.device = "cpu";
    o.chat_template = "plain";
    o.dry_run = true;
    o.max_draft = 8;
    cr_assert(weir_engine_open(&engines[0], &o, &err) == WEIR_OK, "%s", err.text);
    o.model = WEIR_SOURCE_DIR "/tests/golden/decoder/llama_f32";
    o.model_draft = o.chat_template = NULL;
    o.ctx_size = 64;
    cr_assert(weir_engine_open(&engines[1], &o, &err) == WEIR_OK, "%s", err.text);
    decoder = server_of(engines[1]);
    demo = server_of(engines[0]);
}

void servers_close(void) {
    for (int i = 0; i < 2; i++) weir_engine_close(engines[i]);
}

bool ask_bytes(const api_server *s, bool chat, const char *body, size_t n, api_ask *out) {
    said = (serve_error){0};
    return api_ask_read(s, chat, body, n, out, &said);
}

bool ask(const api_server *s, bool chat, const char *fields, api_ask *out) {
    static char body[1 << 16];
    const char *begin = !s->facts.has_tokenizer ? "{\"prompt\": [3, 4, 5]"
                        : chat ? "{\"messages\": [{\"role\": \"user\", \"content\": \"It snowed a lot.\"}]"
                               : "{\"prompt\": \"It snowed a lot.\"";
    const int n = snprintf(body, sizeof body, "%s%s%s}", begin, fields[0] ? ", " : "", fields);
    cr_assert(n < (int)sizeof body);
    return ask_bytes(s, chat, body, (size_t)n, out);
}

void ask_refused(const api_server *s, bool chat, const char *fields, const char *code, const char *param,
                 const char *words) {
    api_ask a = {.n_prompt = -7};
    const long live = alloc_live();
    cr_assert(!ask(s, chat, fields, &a), "%s is taken", fields);
    cr_expect(a.n_prompt == -7 && alloc_live() == live, "%s: something is left", fields);
    cr_expect(said.status == (strcmp(code, "model_not_found") == 0 ? 404 : 400), "%s: %d", fields,
              said.status);
    cr_expect_str_eq(said.code, code, "%s: %s (%s)", fields, said.code, said.message.text);
    cr_expect_str_eq(said.param, param, "%s: %s (%s)", fields, said.param, said.message.text);
    cr_expect(strstr(said.message.text, words) && !strchr(said.message.text, '\n'), "%s: \"%s\" is not in %s",
              fields, words, said.message.text);
}

#include "host/serve/api/model.h"

#include <stdio.h>
#include <string.h>

#include "host/serve/api/body.h"
#include "host/serve/api/calls.h"
#include "host/wire/json.h"
#include "host/wire/settings.h"

/* In the order of the list. */
static const struct {
    const char *suffix;
    weir_method method;
} fixed[] = {
    {"exact", WEIR_METHOD_SPECULATIVE},
    {"verifier", WEIR_METHOD_VERIFIER},
    {"drafter", WEIR_METHOD_DRAFTER},
};

enum { N_FIXED = sizeof fixed / sizeof *fixed };

/* Without a drafter the verifier is all there is; drafts without a distribution are no answers. */
static bool is_served(const api_server *s, weir_method m) {
    if (m == WEIR_METHOD_SPECULATIVE) return weir_can_draft(&s->facts);
    return m == WEIR_METHOD_VERIFIER || weir_draft_facts(s->facts.draft)->has_q;
}

/* Suffix k of a name, 0 none; NULL past the last. */
static const char *suffix_at(const api_server *s, int k) {
    for (int i = 0; i < N_FIXED; i++)
        if (is_served(s, fixed[i].method) && --k == 0) return fixed[i].suffix;
    return k <= s->n_profile ? s->profiles[k - 1].name : NULL;
}

static int n_suffix(const api_server *s) {
    int k = 0;
    while (suffix_at(s, k + 1)) k++;
    return k;
}

bool api_model_at(const api_server *s, int i, api_model *m) {
    const int each = 1 + n_suffix(s);
    if (i < 0 || i / each >= s->n_name) return false;
    *m = (api_model){.name = s->names[i / each], .suffix = i % each ? suffix_at(s, i % each) : NULL};
    return true;
}

static bool is_called(const api_model *m, const char *name, size_t n) {
    const size_t a = strlen(m->name), b = m->suffix ? strlen(m->suffix) : 0;
    if (n != (m->suffix ? a + 1 + b : a) || memcmp(name, m->name, a) != 0) return false;
    return !m->suffix || (name[a] == ':' && memcmp(name + a + 1, m->suffix, b) == 0);
}

static void settings_of(const api_server *s, const char *suffix, weir_session_options *o) {
    *o = s->defaults;
    for (int i = 0; suffix && i < N_FIXED; i++) {
        if (strcmp(fixed[i].suffix, suffix) != 0) continue;
        wire_set_method(o, fixed[i].method);
        if (fixed[i].method == WEIR_METHOD_SPECULATIVE) wire_set_rule(&o->law, WEIR_RULE_EXACT);
        return;
    }
    for (int i = 0; suffix && i < s->n_profile; i++)
        if (strcmp(s->profiles[i].name, suffix) == 0) *o = s->profiles[i].o;
}

static bool not_found(const api_server *s, const char *name, size_t n, serve_error *e) {
    char list[400] = "";
    api_model m;
    size_t used = 0;
    for (int i = 0; used < sizeof list && api_model_at(s, i, &m); i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s%s%s", i ? ", " : "", m.name,
                                 m.suffix ? ":" : "", m.suffix ? m.suffix : "");
    return serve_fail(e, 404, "model_not_found", "model", "\"model\": no \"%.*s\" here, expected one of %s",
                      n < 80 ? (int)n : 80, name, list);
}

bool api_model_resolve(const api_server *s, const char *name, size_t n, weir_session_options *o,
                       serve_error *e) {
    api_model m;
    if (!name) {
        *o = s->defaults;
        return true;
    }
    for (int i = 0; api_model_at(s, i, &m); i++) {
        if (!is_called(&m, name, n)) continue;
        settings_of(s, m.suffix, o);
        return true;
    }
    return not_found(s, name, n, e);
}

/* ---- /v1/models ---------------------------------------------------------------------------------------- */

static json_t *meta_json(const api_server *s) {
    const weir_engine_facts *f = &s->facts;
    json_t *meta = json_object();
    wire_set(meta, "n_ctx", json_integer(f->ctx_size));
    wire_set(meta, "n_vocab", json_integer(f->n_vocab));
    wire_set(meta, "n_params", json_integer(f->n_param[0]));
    wire_set(meta, "n_params_draft", f->has_draft ? json_integer(f->n_param[1]) : json_null());
    return meta;
}

static json_t *model_json(const api_server *s, const api_model *m) {
    wire_buf id = {0};
    json_t *v = json_object();
    const bool whole = wire_buf_puts(&id, m->name) &&
                       (!m->suffix || (wire_buf_puts(&id, ":") && wire_buf_puts(&id, m->suffix)));
    wire_set(v, "id", whole ? wire_text(id.data, id.len) : NULL);
    wire_set(v, "object", json_string("model"));
    wire_set(v, "created", json_integer(s->created));
    wire_set(v, "owned_by", json_string("weir"));
    wire_set(v, "max_model_len", json_integer(s->facts.ctx_size));
    wire_set(v, "meta", meta_json(s));
    wire_buf_free(&id);
    return v;
}

bool api_models(const api_server *s, wire_buf *out, serve_error *e) {
    json_t *list = json_array(), *all = json_object();
    api_model m;
    for (int i = 0; api_model_at(s, i, &m); i++) wire_add(list, model_json(s, &m));
    wire_set(all, "object", json_string("list"));
    wire_set(all, "data", list);
    return wire_write(all, out) || api_no_memory(e);
}

bool api_model_named(const api_server *s, const char *name, size_t n, wire_buf *out, serve_error *e) {
    api_model m;
    for (int i = 0; api_model_at(s, i, &m); i++)
        if (is_called(&m, name, n)) return wire_write(model_json(s, &m), out) || api_no_memory(e);
    return not_found(s, name, n, e);
}

/* /props and /slots: what is served, and what is being done. */
#include <math.h>
#include <string.h>

#include "host/serve/api/body.h"
#include "host/serve/api/calls.h"
#include "host/wire/json.h"
#include "host/wire/settings.h"

/* Settings as an answer has them, without what is a request's own. */
static json_t *settings_json(const weir_session_options *o) {
    json_t *v = json_object();
    wire_set_settings(v, WIRE_ANSWER, o);
    json_object_del(v, "seed");
    json_object_del(v, "max_tokens");
    return v;
}

/* ---- rules --------------------------------------------------------------------------------------------- */

static json_t *alpha_json(const weir_rule_info *r) {
    json_t *v = json_object();
    wire_set(v, "min", wire_real((double)r->alpha_min)); /* null: no end */
    wire_set(v, "max", wire_real((double)r->alpha_max));
    wire_set(v, "max_open", json_boolean(r->alpha_max_open));
    wire_set(v, "default", wire_knob(r->alpha_default));
    return v;
}

static json_t *beta_json(weir_rule rule, const weir_rule_info *r) {
    const wire_field *f = &wire_fields[WIRE_BETA];
    json_t *v = json_object();
    wire_set(v, "min", wire_real(f->lo));
    wire_set(v, "max", wire_real(f->hi));
    wire_set(v, "default", wire_knob(r->beta_default));
    wire_set(v, "auto", json_boolean(rule == WEIR_RULE_LOSSY));
    return v;
}

/* The methods that take it, besides speculative. */
static json_t *methods_json(const weir_engine_facts *f, const weir_rule_info *r) {
    json_t *v = json_array();
    wire_add(v, json_string(weir_method_name(WEIR_METHOD_SPECULATIVE)));
    if (weir_draft_facts(f->draft)->one_hot) return v;
    if (r->q_only) wire_add(v, json_string(weir_method_name(WEIR_METHOD_TOKEN_CASCADE)));
    if (r->kind == WEIR_KIND_GATE) wire_add(v, json_string(weir_method_name(WEIR_METHOD_ORACLE_CASCADE)));
    return v;
}

/* Those that can be asked for. */
static json_t *rules_json(const weir_engine_facts *f) {
    json_t *list = json_array();
    for (int i = 0; i < WEIR_RULE_COUNT; i++) {
        const weir_rule_info *r = weir_rule_facts((weir_rule)i);
        if (weir_draft_facts(f->draft)->one_hot && !r->one_hot) continue;
        json_t *v = json_object();
        wire_set(v, "name", json_string(r->name));
        wire_set(v, "help", wire_text(r->defers, strlen(r->defers)));
        wire_set(v, "alpha", i == WEIR_RULE_EXACT ? json_null() : alpha_json(r));
        wire_set(v, "beta", isnan(r->beta_default) ? json_null() : beta_json((weir_rule)i, r));
        wire_set(v, "block_verify", json_boolean(r->pi_exists));
        wire_set(v, "methods", methods_json(f, r));
        wire_add(list, v);
    }
    return list;
}

/* ---- /props -------------------------------------------------------------------------------------------- */

static json_t *profiles_json(const api_server *s) {
    json_t *list = json_array();
    for (int i = 0; i < s->n_profile; i++) {
        json_t *v = json_object();
        wire_set(v, "name", wire_text(s->profiles[i].name, strlen(s->profiles[i].name)));
        wire_set(v, "settings", settings_json(&s->profiles[i].o));
        wire_add(list, v);
    }
    return list;
}

static json_t *model_json(const weir_engine_facts *f, int side) {
    json_t *v = json_object();
    wire_set(v, "family", wire_text(f->family[side], strlen(f->family[side])));
    wire_set(v, "n_params", json_integer(f->n_param[side]));
    wire_set(v, "dtype", json_string(f->dtype[side]));
    wire_set(v, "quantized", wire_quantized_json(f, side));
    return v;
}

static void set_pair(json_t *v, const api_server *s) {
    const weir_engine_facts *f = &s->facts;
    json_t *names = json_array();
    for (int i = 0; i < s->n_name; i++) wire_add(names, wire_text(s->names[i], strlen(s->names[i])));
    wire_set(v, "model_names", names);
    wire_set(v, "verifier", model_json(f, 0));
    wire_set(v, "drafter", f->has_draft ? model_json(f, 1) : json_null());
    wire_set(v, "drafts", json_string(weir_draft_facts(f->draft)->name));
    wire_set(v, "prompt_lookup", wire_lookup_json(f));
    wire_set(v, "encoder_decoder", json_boolean(f->encoder_decoder));
    wire_set(v, "has_tokenizer", json_boolean(f->has_tokenizer));
    wire_set(v, "n_ctx", json_integer(f->ctx_size));
    wire_set(v, "n_vocab", json_integer(f->n_vocab));
    wire_set(v, "max_speculative_tokens", json_integer(f->max_draft));
    wire_set(v, "costs", f->costs ? json_string(f->costs) : json_null());
    wire_set_device(v, f);
}

static json_t *prefix_cache_json(const weir_engine_facts *f) {
    json_t *v = json_object();
    wire_set(v, "verifier", json_boolean(f->prefix_cache[0]));
    wire_set(v, "drafter", json_boolean(f->prefix_cache[1]));
    return v;
}

/* llama.cpp's names, where it has the thing. */
bool api_props(const api_server *s, wire_buf *out, serve_error *e) {
    const weir_engine_facts *f = &s->facts;
    json_t *v = json_object();
    json_t *settings = json_object();
    wire_set(settings, "n_ctx", json_integer(f->ctx_size));
    wire_set(settings, "params", settings_json(&s->defaults));
    wire_set(v, "build_info", json_string("weir " WEIR_VERSION));
    wire_set(v, "system_fingerprint", wire_text(s->fingerprint, strlen(s->fingerprint)));
    wire_set(v, "model_alias", wire_text(s->names[0], strlen(s->names[0])));
    set_pair(v, s);
    wire_set(v, "total_slots", json_integer(f->n_parallel));
    wire_set(v, "default_generation_settings", settings);
    wire_set(v, "chat_format",
             f->chat_template ? wire_text(f->chat_template, strlen(f->chat_template)) : json_null());
    const char *template = weir_chat_template_text(s->engine);
    wire_set(v, "chat_template", template ? wire_text(template, strlen(template)) : json_null());
    wire_set(v, "prefix_cache", prefix_cache_json(f));
    wire_set(v, "endpoint_slots", json_boolean(s->slots));
    wire_set(v, "endpoint_metrics", json_boolean(s->metrics));
    wire_set(v, "strict_fields", json_boolean(s->strict_fields));
    wire_set(v, "rules", rules_json(f));
    wire_set(v, "profiles", profiles_json(s));
    return wire_write(v, out) || api_no_memory(e);
}

/* ---- /slots -------------------------------------------------------------------------------------------- */

static json_t *slot_json(const api_server *s, int id, const api_slot *slot) {
    json_t *v = json_object();
    wire_set(v, "id", json_integer(id));
    wire_set(v, "is_processing", json_boolean(slot->o != NULL));
    wire_set(v, "state", json_string(!slot->o ? "idle" : slot->prefill ? "prefill" : "running"));
    wire_set(v, "n_ctx", json_integer(s->facts.ctx_size));
    wire_set(v, "n_prompt", json_integer(slot->n_prompt));
    wire_set(v, "n_output", json_integer(slot->n_output));
    wire_set(v, "params", slot->o ? settings_json(slot->o) : json_null());
    return v;
}

bool api_slots(const api_server *s, const api_slot *slots, int n, wire_buf *out, serve_error *e) {
    json_t *list = json_array();
    for (int i = 0; i < n; i++) wire_add(list, slot_json(s, i, &slots[i]));
    return wire_write(list, out) || api_no_memory(e);
}

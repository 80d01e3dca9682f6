#include "host/formats/checkpoint.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/formats/config/config.h"
#include "host/formats/gguf/gguf.h"
#include "host/formats/safetensors/f8.h"
#include "host/formats/safetensors/int4.h"
#include "host/formats/safetensors/safetensors.h"
#include "host/formats/safetensors/stacks.h"
#include "host/formats/tensor_names.h"
#include "kernels/base/mem.h"

static const size_t MAX_CONFIG = 16u << 20;

/* ---- the JSON files ------------------------------------------------------------------------------------ */

typedef weir_status (*parse_fn)(const char *json, size_t bytes, const char *label, weir_checkpoint *out,
                                weir_err *err);

/* Reads dir/name and hands it to parse; a missing file is fine where optional. *found may be NULL. */
static weir_status parse_file(weir_checkpoint *c, const char *name, bool optional, bool *found,
                              parse_fn parse, weir_err *err) {
    char *path, *text = NULL;
    size_t bytes;
    weir_status s;
    bool there = true;
    WEIR_TRY(weir__path_join(&path, c->dir, name, err));
    if (optional && access(path, F_OK) != 0 && errno == ENOENT) {
        there = false;
        s = WEIR_OK;
    } else {
        s = weir__file_read(path, MAX_CONFIG, &text, &bytes, err);
        if (s == WEIR_OK) s = parse(text, bytes, path, c, err);
    }
    weir_free(text);
    weir_free(path);
    if (found) *found = there;
    return s;
}

/* transformers applies an adapter that it finds in a model's directory. An adapter alone is not a model. */
static weir_status refuse_adapter(const char *json, size_t bytes, const char *label, weir_checkpoint *out,
                                  weir_err *err) {
    json_t *root;
    (void)out;
    WEIR_TRY(weir__json_object(json, bytes, label, &root, err));
    const char *type = json_string_value(json_object_get(root, "peft_type"));
    const char *base = json_string_value(json_object_get(root, "base_model_name_or_path"));
    const weir_status s =
        weir_fail(err, WEIR_ENOTSUP,
                  "%s: an adapter (%.20s) of %.100s: merge it into its model first (peft: merge_and_unload)",
                  weir__label(label), type ? type : "of unnamed type", base ? base : "an unnamed model");
    json_decref(root);
    return s;
}

/* Processors of images and texts keep their template in a separate JSON file. */
static weir_status take_json_template(const char *text, size_t bytes, const char *label, weir_checkpoint *out,
                                      weir_err *err) {
    json_t *root;
    WEIR_TRY(weir__json_object(text, bytes, label, &root, err));
    const weir_status s = out->chat_template ? WEIR_OK : weir__take_template(root, label, out, err);
    json_decref(root);
    return s;
}

/* A template in a separate file wins over the one in tokenizer_config.json, as in transformers. */
static weir_status read_template(weir_checkpoint *c, weir_err *err) {
    bool found;
    WEIR_TRY(parse_file(c, "chat_template.jinja", true, &found, weir__set_template, err));
    if (found) return WEIR_OK;
    WEIR_TRY(parse_file(c, "additional_chat_templates/default.jinja", true, NULL, weir__set_template, err));
    return parse_file(c, "chat_template.json", true, NULL, take_json_template, err);
}

static weir_status read_configs(weir_checkpoint *c, weir_err *err) {
    bool found;
    WEIR_TRY(parse_file(c, "adapter_config.json", true, NULL, refuse_adapter, err));
    WEIR_TRY(parse_file(c, "config.json", false, NULL, weir__config_parse, err));
    WEIR_TRY(parse_file(c, "generation_config.json", true, NULL, weir__generation_config_parse, err));
    WEIR_TRY(parse_file(c, "tokenizer_config.json", true, &found, weir__tokenizer_config_parse, err));
    if (c->kind != WEIR_FAMILY_T5) {
        WEIR_TRY(parse_file(c, "special_tokens_map.json", true, NULL, weir__special_tokens_parse, err));
        return read_template(c, err);
    }
    c->extra_ids_assumed = !found;
    if (!found) c->extra_ids = 100;
    return WEIR_OK;
}

/* Except for T5, tokenizer.json comes before the .model: the .model lacks tokens that were added later, and
 * its library finds user-defined pieces such as "<end_of_turn>" in any text. T5 takes its ids from the .model
 * if there is one. */
static weir_status find_tokenizer(weir_checkpoint *c, weir_err *err) {
    static const struct {
        const char *name;
        weir_tokenizer_kind kind;
    } files[] = {{"tokenizer.json", WEIR_TOKENIZER_JSON},
                 {"spiece.model", WEIR_TOKENIZER_SPM},
                 {"tokenizer.model", WEIR_TOKENIZER_SPM},
                 {"tokenizer.json", WEIR_TOKENIZER_JSON},
                 {"merges.txt", WEIR_TOKENIZER_GPT2}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (c->kind == WEIR_FAMILY_T5 && (i == 0 || files[i].kind == WEIR_TOKENIZER_GPT2)) continue;
        char *path;
        WEIR_TRY(weir__path_join(&path, c->dir, files[i].name, err));
        if (access(path, F_OK) == 0) {
            c->tokenizer_path = path;
            c->tokenizer = files[i].kind;
            return WEIR_OK;
        }
        weir_free(path);
    }
    return WEIR_OK;
}

/* ---- what is made of tensors --------------------------------------------------------------------------- */

/* Elements, or an order of inputs, of the entry whose bytes are at `of`. */
struct weir_made {
    struct weir_made *next;
    const void *of;
    void *data;
};

static struct weir_made **find_made(struct weir_made **at, const void *of) {
    while (*at && (*at)->of != of) at = &(*at)->next;
    return at;
}

/* Takes over data; returns it. NULL: no memory. */
static const void *keep(struct weir_made **list, const void *of, void *data) {
    struct weir_made *w = data ? weir_alloc(1, sizeof *w) : NULL;
    if (!w) {
        weir_free(data);
        return NULL;
    }
    *w = (struct weir_made){*list, of, data};
    *list = w;
    return data;
}

static void drop_one(struct weir_made **list, const void *of) {
    struct weir_made **at = find_made(list, of), *w = *at;
    if (!w) return;
    *at = w->next;
    weir_free(w->data);
    weir_free(w);
}

static void drop_all(struct weir_made **list) {
    while (*list) drop_one(list, (*list)->of);
}

void weir__checkpoint_drop(weir_checkpoint *c) { drop_all(&c->made); }

/* NULL: the model's own. */
static const int32_t *order_of(const weir_checkpoint *c, const weir_entry *codes) {
    struct weir_made *list = c->orders;
    const struct weir_made *w = *find_made(&list, codes->data);
    return w ? w->data : NULL;
}

/* ---- tensors ------------------------------------------------------------------------------------------- */

static bool is_weight(const char *name) {
    size_t n = strlen(name);
    return n > 7 && strcmp(name + n - 7, ".weight") == 0 && weir__tensor_is_of_text(name);
}

/* "llama (silu, untied head, GPTQ)", "…, GPTQ act-order)" */
static void note_form(weir_checkpoint *c, weir_int4_form form) {
    static const char *const names[] = {[WEIR_INT4_GPTQ] = "GPTQ",
                                        [WEIR_INT4_GPTQ_V2] = "GPTQ v2",
                                        [WEIR_INT4_AWQ] = "AWQ",
                                        [WEIR_INT4_PACKED] = "pack-quantized",
                                        [WEIR_INT4_MXFP4] = "MXFP4"};
    const size_t n = strlen(c->family);
    if (n > 0)
        snprintf(c->family + n - 1, sizeof c->family - n + 1, ", %s%s)", names[form],
                 c->orders ? " act-order" : "");
}

static weir_status check_codes(weir_checkpoint *c, const weir_entry *e, weir_err *err) {
    int32_t *order;
    WEIR_TRY(weir__int4_check(c->tensors, c->int4, e, c->dir, &order, err));
    if (!order || keep(&c->orders, e->data, order)) return WEIR_OK;
    return weir_fail(err, WEIR_ENOMEM, "%s: no memory for the order of inputs", weir__label(c->dir));
}

/* A source can only say that a tensor is missing. A tensor that exists but cannot be used is refused here,
 * with the reason. */
static weir_status check_tensors(weir_checkpoint *c, weir_err *err) {
    weir_entry e;
    bool have_dtype = false, have_codes = false;
    WEIR_TRY(weir__check_tensor_names(c, err));
    for (size_t i = 0; i < weir__safetensors_count(c->tensors); i++) {
        weir__safetensors_at(c->tensors, i, &e);
        if (weir__is_int4(c->int4, &e) && weir__tensor_is_of_text(e.name)) {
            WEIR_TRY(check_codes(c, &e, err));
            have_codes = true;
        }
        if (!is_weight(e.name)) continue;
        const bool f8 = weir__is_f8(&e);
        if (f8) WEIR_TRY(weir__f8_check(c->tensors, &e, c->f8_block, c->dir, err));
        if (e.dtype < 0 && !f8)
            return weir_fail(err, WEIR_ENOTSUP,
                             "%s: tensor %.100s: dtype %.20s is not supported, expected F32, F16, BF16 or "
                             "F8_E4M3",
                             weir__label(c->dir), e.name, e.type);
        if (e.n_dim < 1 || e.n_dim > 4)
            return weir_fail(err, WEIR_EFORMAT, "%s: tensor %.100s: %d dimensions, expected 1 to 4",
                             weir__label(c->dir), e.name, e.n_dim);
        if (e.n_dim >= 2 && !have_dtype) {
            c->dtype = f8 ? weir__f8_dtype(c->tensors, &e, c->f8_block) : (weir_dtype)e.dtype;
            have_dtype = true;
        }
    }
    if (!have_dtype)
        return weir_fail(err, WEIR_EFORMAT, "%s: no matrix among its %zu tensors", weir__label(c->dir),
                         weir__safetensors_count(c->tensors));
    weir_tensor table;
    weir_tensor_source src = weir__checkpoint_source(c);
    if (src.find(src.ud, weir__bulk_tensor(c), &table)) c->dtype = table.dtype;
    if (have_codes) note_form(c, c->int4.form);
    if (src.find(src.ud, "model.layers.0.mlp.experts.down_proj.weight", &table) &&
        table.dtype == WEIR_DTYPE_MXFP4)
        note_form(c, WEIR_INT4_MXFP4);
    return WEIR_OK;
}

weir_checkpoint weir__checkpoint_copy(const weir_checkpoint *c) {
    weir_checkpoint copy = *c;
    copy.made = NULL;
    return copy;
}

/* The entry of a tensor of the file's name, or of its codes. */
static bool find_entry(const weir_checkpoint *c, const char *own, weir_entry *e) {
    return weir__safetensors_find(c->tensors, own, e) || weir__int4_find(c->tensors, c->int4, own, e);
}

/* 4-bit codes and 8-bit floats have no data until a model loads them. */
static bool as_tensor(const weir_checkpoint *c, const weir_entry *e, weir_tensor *out) {
    if (weir__is_int4(c->int4, e)) return weir__int4_tensor(c->tensors, c->int4, e, order_of(c, e), out);
    if (!weir__is_f8(e) || e->n_dim != 2) return weir__entry_tensor(e, out);
    *out = weir_tensor_of(NULL, weir__f8_dtype(c->tensors, e, c->f8_block), e->shape, e->n_dim);
    return true;
}

/* Whether a model's tensor is part of one that holds all of a layer's experts; its entry. */
static bool find_stack(const weir_checkpoint *c, const char *own, weir_entry *e) {
    return c->decoder.experts.names == WEIR_EXPERTS_ROUTER && weir__stack_find(c->tensors, own, e);
}

/* The first of the tensor's possible names that exists in the file. */
static const char *find_named(const weir_checkpoint *c, const char *name, char room[WEIR__TENSOR_NAME_CAP],
                              weir_tensor *out) {
    const char *own;
    weir_entry e;
    for (int i = 0; (own = weir__tensor_file_name(c, name, i, room)) != NULL; i++)
        if (find_stack(c, own, &e) ? weir__stack_tensor(c->tensors, own, out)
                                   : find_entry(c, own, &e) && as_tensor(c, &e, out))
            return own;
    return NULL;
}

/* Longrope's divisors under the names that GGUF files give them. */
static bool find_divisors(const weir_checkpoint *c, const char *name, weir_tensor *out) {
    static const char *const names[2] = {"rope_factors_short.weight", "rope_factors_long.weight"};
    const weir_rope_config *r = &c->decoder.rope;
    for (int i = 0; i < 2 && r->kind == WEIR_ROPE_LONGROPE; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        const int64_t n[1] = {weir__rope_dims(r, c->decoder.head_dim) / 2};
        *out = weir_tensor_of(c->rope_divisors[i], WEIR_DTYPE_F32, n, 1);
        return true;
    }
    return false;
}

static bool source_find(void *ud, const char *name, weir_tensor *out) {
    char room[WEIR__TENSOR_NAME_CAP];
    if (find_divisors(ud, name, out)) return true;
    return find_named(ud, name, room, out) != NULL;
}

/* Of stacks, 4-bit codes and 8-bit floats alone; the others have their data. */
static const void *source_data(void *ud, const char *name) {
    weir_checkpoint *c = ud;
    char room[WEIR__TENSOR_NAME_CAP];
    weir_tensor t;
    weir_entry e;
    const char *own = find_named(c, name, room, &t);
    if (!own) return NULL;
    if (find_stack(c, own, &e))
        return keep(&c->made, weir__stack_key(c->tensors, own), weir__stack_elements(c->tensors, own));
    if (!find_entry(c, own, &e)) return NULL;
    return keep(&c->made, e.data,
                weir__is_int4(c->int4, &e) ? weir__int4_pack(c->tensors, c->int4, &e, order_of(c, &e))
                                           : weir__f8_elements(c->tensors, &e, c->f8_block));
}

static void source_release(void *ud, const char *name) {
    weir_checkpoint *c = ud;
    char room[WEIR__TENSOR_NAME_CAP];
    weir_tensor t;
    weir_entry e;
    const char *own = find_named(c, name, room, &t);
    if (!own) return;
    if (find_stack(c, own, &e)) {
        drop_one(&c->made, weir__stack_key(c->tensors, own));
        weir__stack_release(c->tensors, own);
        return;
    }
    if (!find_entry(c, own, &e)) return;
    drop_one(&c->made, e.data);
    weir__safetensors_release(c->tensors, e.name);
}

weir_tensor_source weir__checkpoint_source(weir_checkpoint *c) {
    weir_tensor_source src = {.find = source_find, .release = source_release, .data = source_data, .ud = c};
    if (c->gguf) src = weir__gguf_source(c->gguf);
    src.quantise = c->quantise;
    return src;
}

/* Larger than a configuration: it holds the whole vocabulary. */
static weir_status read_post_processor(weir_checkpoint *c, weir_err *err) {
    static const size_t MAX_TOKENIZER = 256u << 20;
    char *text = NULL;
    size_t bytes;
    if (!c->asks_post_processor || c->tokenizer != WEIR_TOKENIZER_JSON) return WEIR_OK;
    WEIR_TRY(weir__file_read(c->tokenizer_path, MAX_TOKENIZER, &text, &bytes, err));
    const weir_status s = weir__post_processor_parse(text, bytes, c->tokenizer_path, c, err);
    weir_free(text);
    return s;
}

static weir_status open_dir(weir_checkpoint *c, weir_err *err) {
    WEIR_TRY(read_configs(c, err));
    WEIR_TRY(find_tokenizer(c, err));
    WEIR_TRY(read_post_processor(c, err));
    WEIR_TRY(weir__safetensors_open_dir(&c->tensors, c->dir, err));
    WEIR_TRY(check_tensors(c, err));
    const size_t n = strlen(c->ignored);
    if (c->n_ignored_more > 0)
        snprintf(c->ignored + n, sizeof c->ignored - n, " and %d more", (int)c->n_ignored_more);
    return WEIR_OK;
}

/* ---- GGUF ---------------------------------------------------------------------------------------------- */

static weir_status open_gguf(weir_checkpoint *c, weir_err *err) {
    weir_gguf_model m;
    WEIR_TRY(weir__gguf_open(&c->gguf, c->dir, err));
    WEIR_TRY(weir__gguf_read_model(c->gguf, &m, err));
    c->kind = m.kind;
    c->decoder = m.config;
    c->t5 = m.t5;
    c->dtype = m.dtype;
    c->start_id = m.start_id;
    c->extra_ids = m.n_sentinel;
    c->bos_id = m.bos_id;
    c->pad_id = m.pad_id;
    c->add_bos = m.add_bos;
    c->n_eos = m.n_eos;
    memcpy(c->eos, m.eos, sizeof c->eos);
    c->tokenizer = WEIR_TOKENIZER_GGUF;
    const bool t5 = m.kind == WEIR_FAMILY_T5, tied = t5 ? m.t5.tied : m.config.tied;
    const weir_act act = t5 ? m.t5.act : m.config.act;
    snprintf(c->family, sizeof c->family, "%.20s (%s%s, %s head, GGUF)", m.architecture,
             t5 && m.t5.gated ? "gated " : "",
             act == WEIR_ACT_SILU   ? "silu"
             : act == WEIR_ACT_RELU ? "relu"
                                    : "gelu_tanh",
             tied ? "tied" : "untied");
    return m.chat_template ? weir__set_template(m.chat_template, m.chat_template_bytes, c->dir, c, err)
                           : WEIR_OK;
}

/* ---- fingerprint --------------------------------------------------------------------------------------- */

/* FNV-1a, 64 bits (Fowler, Noll, Vo). */
static uint64_t hash_bytes(uint64_t h, const void *bytes, size_t n) {
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

static uint64_t hash_entry(uint64_t h, const weir_entry *e) {
    const size_t part = e->bytes < 256 ? e->bytes : 256;
    h = hash_bytes(h, e->name, strlen(e->name) + 1);
    h = hash_bytes(h, e->type, strlen(e->type) + 1);
    h = hash_bytes(h, e->shape, sizeof e->shape);
    h = hash_bytes(h, e->data, part);
    return hash_bytes(h, (const char *)e->data + (e->bytes - part) / 2, part);
}

uint64_t weir__checkpoint_fingerprint(const weir_checkpoint *c) {
    const size_t n = c->gguf ? weir__gguf_count(c->gguf) : weir__safetensors_count(c->tensors);
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) {
        weir_entry e;
        if (c->gguf)
            weir__gguf_at(c->gguf, i, &e);
        else
            weir__safetensors_at(c->tensors, i, &e);
        h = hash_entry(h, &e);
    }
    return h;
}

/* ---- open and close ------------------------------------------------------------------------------------ */

static bool is_file(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

weir_status weir__checkpoint_open(weir_checkpoint *out, const char *path, bool strict, weir_err *err) {
    weir_checkpoint c = {.dir = weir_strdup(path), .bos_id = -1, .strict = strict};
    if (!c.dir) return weir_fail(err, WEIR_ENOMEM, "%s: no memory for its name", weir__label(path));
    const weir_status s = is_file(path) ? open_gguf(&c, err) : open_dir(&c, err);
    if (s != WEIR_OK) {
        weir__checkpoint_close(&c);
        return s;
    }
    *out = c;
    return WEIR_OK;
}

void weir__checkpoint_close(weir_checkpoint *c) {
    weir__checkpoint_drop(c);
    drop_all(&c->orders);
    weir__safetensors_close(c->tensors);
    weir__gguf_close(c->gguf);
    weir_free(c->chat_template);
    for (int i = 0; i < WEIR_SPECIAL_N; i++) weir_free(c->special[i]);
    weir_free(c->tokenizer_path);
    weir_free(c->dir);
    memset(c, 0, sizeof *c);
}

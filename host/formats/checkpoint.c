#include "host/formats/checkpoint.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/formats/config.h"
#include "kernels/base/mem.h"

static const size_t MAX_CONFIG = 16u << 20;
enum { MAX_EXTRA_IDS = 1 << 20 };

/* dir/name in a weir_alloc buffer; NULL without memory. */
static char *path_in(const char *dir, const char *name) {
    size_t n = strlen(dir) + strlen(name) + 2;
    char *p = weir_alloc(n, 1);
    if (p) snprintf(p, n, "%s/%s", dir, name);
    return p;
}

/* ---- the JSON files -------------------------------------------------------------------------------------- */

typedef weir_status (*parse_fn)(const char *json, size_t bytes, const char *label, weir_checkpoint *out,
                                weir_err *err);

/* Reads dir/name and hands it to parse; a missing file is fine where optional. *found may be NULL. */
static weir_status parse_file(weir_checkpoint *c, const char *name, bool optional, bool *found,
                              parse_fn parse, weir_err *err) {
    char *path = path_in(c->dir, name), *text = NULL;
    size_t bytes;
    weir_status s;
    bool there = true;
    if (!path) return weir_fail(err, WEIR_ENOMEM, "%s: no memory for a path", weir__label(c->dir));
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

/* T5's tokenizer classes have 100 sentinels unless told; others none. */
weir_status weir_tokenizer_config_parse(const char *json, size_t bytes, const char *label,
                                        weir_checkpoint *out, weir_err *err) {
    json_t *root;
    WEIR_TRY(weir__json_object(json, bytes, label, &root, err));
    const char *class = "T5Tokenizer"; /* what transformers takes for model_type t5 and mt5 */
    int32_t n = -1;
    weir_status s = weir__get_string(root, "tokenizer_class", &class, label, err);
    if (s == WEIR_OK && !json_is_null(json_object_get(root, "extra_ids")))
        s = weir__get_int(root, "extra_ids", 0, MAX_EXTRA_IDS, &n, label, err);
    if (s == WEIR_OK) {
        bool t5 = strcmp(class, "T5Tokenizer") == 0 || strcmp(class, "T5TokenizerFast") == 0 ||
                  strcmp(class, "MT5Tokenizer") == 0 || strcmp(class, "MT5TokenizerFast") == 0;
        out->extra_ids = n >= 0 ? n : t5 ? 100 : 0;
    }
    json_decref(root);
    return s;
}

static weir_status read_configs(weir_checkpoint *c, weir_err *err) {
    bool found;
    WEIR_TRY(parse_file(c, "config.json", false, NULL, weir_t5_config_parse, err));
    WEIR_TRY(parse_file(c, "generation_config.json", true, NULL, weir_generation_config_parse, err));
    WEIR_TRY(parse_file(c, "tokenizer_config.json", true, &found, weir_tokenizer_config_parse, err));
    if (!found) c->extra_ids = 100;
    return WEIR_OK;
}

static weir_status find_tokenizer(weir_checkpoint *c, weir_err *err) {
    static const char *const names[] = {"spiece.model", "tokenizer.model"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = path_in(c->dir, names[i]);
        if (!path) return weir_fail(err, WEIR_ENOMEM, "%s: no memory for a path", weir__label(c->dir));
        if (access(path, F_OK) == 0) {
            c->tokenizer_path = path;
            return WEIR_OK;
        }
        weir_free(path);
    }
    return WEIR_OK;
}

/* ---- tensors --------------------------------------------------------------------------------------------- */

static bool parse_dtype(const char *name, weir_dtype *out) {
    if (strcmp(name, "F32") == 0)
        *out = WEIR_DTYPE_F32;
    else if (strcmp(name, "F16") == 0)
        *out = WEIR_DTYPE_F16;
    else if (strcmp(name, "BF16") == 0)
        *out = WEIR_DTYPE_BF16;
    else
        return false;
    return true;
}

static bool is_weight(const char *name) {
    size_t n = strlen(name);
    return n > 7 && strcmp(name + n - 7, ".weight") == 0;
}

/* A source can only say "not there", so what is there but unusable is refused here, with the reason. */
static weir_status check_tensors(weir_checkpoint *c, weir_err *err) {
    weir_st_entry e;
    weir_dtype dtype;
    bool have_dtype = false;
    for (size_t i = 0; i < weir_safetensors_count(c->tensors); i++) {
        weir_safetensors_at(c->tensors, i, &e);
        if (!is_weight(e.name)) continue;
        if (!parse_dtype(e.dtype, &dtype))
            return weir_fail(err, WEIR_ENOTSUP,
                             "%s: tensor %.100s: dtype %.20s is not supported, expected F32, F16 or BF16",
                             weir__label(c->dir), e.name, e.dtype);
        if (e.n_dim != 1 && e.n_dim != 2)
            return weir_fail(err, WEIR_EFORMAT, "%s: tensor %.100s: %d dimensions, expected 1 or 2",
                             weir__label(c->dir), e.name, e.n_dim);
        if (e.n_dim == 2 && !have_dtype) {
            c->dtype = dtype;
            have_dtype = true;
        }
    }
    if (!have_dtype)
        return weir_fail(err, WEIR_EFORMAT, "%s: no matrix among its %zu tensors", weir__label(c->dir),
                         weir_safetensors_count(c->tensors));
    weir_tensor shared;
    weir_tensor_source src = weir_checkpoint_source(c);
    if (src.find(src.ud, "shared.weight", &shared)) c->dtype = shared.dtype;
    return WEIR_OK;
}

static bool find_exact(const weir_checkpoint *c, const char *name, weir_tensor *out) {
    weir_st_entry e;
    weir_dtype dtype;
    if (!weir_safetensors_find(c->tensors, name, &e) || !parse_dtype(e.dtype, &dtype)) return false;
    if (e.n_dim != 1 && e.n_dim != 2) return false;
    *out = (weir_tensor){
        .data = e.data, .dtype = dtype, .rows = e.n_dim == 2 ? e.shape[0] : 1, .cols = e.shape[e.n_dim - 1]};
    return true;
}

/* One embedding under three names: writers keep any one of them. */
static const char *const EMBEDDINGS[] = {"shared.weight", "encoder.embed_tokens.weight",
                                         "decoder.embed_tokens.weight"};
enum { N_EMBEDDING = sizeof EMBEDDINGS / sizeof *EMBEDDINGS };

static bool source_find(void *ud, const char *name, weir_tensor *out) {
    const weir_checkpoint *c = ud;
    if (find_exact(c, name, out)) return true;
    if (strcmp(name, EMBEDDINGS[0]) != 0) return false;
    for (int i = 1; i < N_EMBEDDING; i++)
        if (find_exact(c, EMBEDDINGS[i], out)) return true;
    return false;
}

static void source_release(void *ud, const char *name) {
    const weir_checkpoint *c = ud;
    weir_tensor t;
    const char *at = name;
    if (strcmp(name, EMBEDDINGS[0]) == 0)
        for (int i = N_EMBEDDING - 1; i >= 0; i--)
            if (find_exact(c, EMBEDDINGS[i], &t)) at = EMBEDDINGS[i];
    weir_safetensors_release(c->tensors, at);
}

weir_tensor_source weir_checkpoint_source(weir_checkpoint *c) {
    return (weir_tensor_source){.find = source_find, .release = source_release, .ud = c};
}

/* ---- open and close -------------------------------------------------------------------------------------- */

weir_status weir_checkpoint_open(weir_checkpoint *out, const char *dir, weir_err *err) {
    weir_checkpoint c = {.dir = weir_strdup(dir)};
    weir_status s = WEIR_OK;
    if (!c.dir) return weir_fail(err, WEIR_ENOMEM, "%s: no memory for its name", weir__label(dir));
    s = read_configs(&c, err);
    if (s == WEIR_OK) s = find_tokenizer(&c, err);
    if (s == WEIR_OK) s = weir_safetensors_open_dir(&c.tensors, dir, err);
    if (s == WEIR_OK) s = check_tensors(&c, err);
    if (s != WEIR_OK) {
        weir_checkpoint_close(&c);
        return s;
    }
    *out = c;
    return WEIR_OK;
}

void weir_checkpoint_close(weir_checkpoint *c) {
    weir_safetensors_close(c->tensors);
    weir_free(c->tokenizer_path);
    weir_free(c->chat_template);
    weir_free(c->dir);
    memset(c, 0, sizeof *c);
}

/* A directory is a list of st_files and one order over the tensors that count: all of a single file's, or
 * those that the index names. */
#include "host/formats/safetensors/safetensors.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/formats/json/json_file.h"
#include "host/formats/map.h"
#include "host/formats/safetensors/st_file.h"
#include "kernels/base/mem.h"

static const size_t MAX_INDEX = 100u * 1000 * 1000; /* as for a header */
enum { MAX_SHARD = 65536 };

struct weir_safetensors {
    st_file *files; /* (n_file) */
    size_t n_file;
    weir_entry *order; /* (n) those that count, sorted by name */
    size_t n;
};

/* ---- the handle ---------------------------------------------------------------------------------------- */

static weir_status alloc_handle(weir_safetensors **out, size_t n_file, const char *label, weir_err *err) {
    weir_safetensors *s = weir_calloc(1, sizeof *s);
    if (s) s->files = weir_calloc(n_file, sizeof *s->files);
    if (!s || !s->files) {
        weir_free(s);
        return weir_fail(err, WEIR_ENOMEM, "%s: no memory for the list of files", weir__label(label));
    }
    *out = s;
    return WEIR_OK;
}

static weir_status alloc_order(weir_safetensors *s, size_t n, const char *label, weir_err *err) {
    weir_entry *order = weir_calloc(n, sizeof *order);
    if (!order)
        return weir_fail(err, WEIR_ENOMEM, "%s: no memory to list %zu tensors", weir__label(label), n);
    s->order = order;
    return WEIR_OK;
}

/* One file, from a path (bytes NULL) or from memory. */
static weir_status open_single(weir_safetensors **out, const void *bytes, size_t n, const char *label,
                               weir_err *err) {
    weir_safetensors *s = NULL;
    WEIR_TRY(alloc_handle(&s, 1, label, err));
    s->n_file = 1;
    st_file *f = &s->files[0];
    weir_status st =
        bytes ? weir__st_file_from_bytes(f, bytes, n, label, err) : weir__st_file_from_path(f, label, err);
    if (st == WEIR_OK) st = alloc_order(s, f->n_tensor, label, err);
    if (st != WEIR_OK) {
        weir__safetensors_close(s);
        return st;
    }
    for (; s->n < f->n_tensor; s->n++) s->order[s->n] = f->tensors[s->n].e;
    *out = s;
    return WEIR_OK;
}

weir_status weir__safetensors_open_bytes(weir_safetensors **out, const void *bytes, size_t n,
                                         const char *label, weir_err *err) {
    return open_single(out, bytes ? bytes : "", bytes ? n : 0, label, err);
}

weir_status weir__safetensors_open_file(weir_safetensors **out, const char *path, weir_err *err) {
    return open_single(out, NULL, 0, path, err);
}

void weir__safetensors_close(weir_safetensors *s) {
    if (!s) return;
    for (size_t i = 0; i < s->n_file; i++) weir__st_file_close(&s->files[i]);
    weir_free(s->files);
    weir_free(s->order);
    weir_free(s);
}

size_t weir__safetensors_count(const weir_safetensors *s) { return s->n; }

void weir__safetensors_at(const weir_safetensors *s, size_t i, weir_entry *out) { *out = s->order[i]; }

bool weir__safetensors_find(const weir_safetensors *s, const char *name, weir_entry *out) {
    const weir_entry *e = weir__entry_find(s->order, s->n, sizeof *s->order, name);
    if (e) *out = *e;
    return e != NULL;
}

static const st_file *file_of(const weir_safetensors *s, const void *data) {
    uintptr_t p = (uintptr_t)data;
    for (size_t i = 0; i < s->n_file; i++) {
        uintptr_t base = (uintptr_t)s->files[i].bytes;
        if (p >= base && p - base <= s->files[i].n_bytes) return &s->files[i];
    }
    return NULL;
}

void weir__safetensors_release(const weir_safetensors *s, const char *name) {
    weir_entry e;
    if (!weir__safetensors_find(s, name, &e)) return;
    const st_file *f = file_of(s, e.data);
    if (!f || !f->mapped) return;
    weir__map_release(e.data, e.bytes);
}

/* ---- index and shards ---------------------------------------------------------------------------------- */

typedef struct st_index {
    const char *path; /* of the index file */
    const char *dir;
    json_t *map;        /* borrowed: tensor name to shard name */
    const char **shard; /* (n_shard) sorted, each once; borrowed from map */
    size_t n_shard;
} st_index;

static int by_string(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A shard is a plain file name, so that an index cannot lead out of its directory. */
static bool plain_name(const char *s) {
    return s[0] != '\0' && s[0] != '.' && !strchr(s, '/') && !strstr(s, "..") && !strstr(s, WEIR_JSON_ZERO) &&
           strlen(s) < 256;
}

static weir_status collect_shards(st_index *ix, weir_err *err) {
    const char *name;
    json_t *value;
    size_t n = json_object_size(ix->map);
    if (n == 0) return weir_fail(err, WEIR_EFORMAT, "%s: weight_map is empty", weir__label(ix->path));
    ix->shard = weir_alloc(n, sizeof *ix->shard);
    if (!ix->shard)
        return weir_fail(err, WEIR_ENOMEM, "%s: no memory for %zu names", weir__label(ix->path), n);

    n = 0;
    json_object_foreach(ix->map, name, value) {
        const char *shard = json_string_value(value);
        if (!shard)
            return weir_fail(err, WEIR_EFORMAT, "%s: tensor %.100s: its shard is not a string",
                             weir__label(ix->path), name);
        if (!plain_name(shard))
            return weir_fail(err, WEIR_EFORMAT, "%s: tensor %.100s: shard %.100s is not a plain file name",
                             weir__label(ix->path), name, shard);
        ix->shard[n++] = shard;
    }
    qsort(ix->shard, n, sizeof *ix->shard, by_string);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || strcmp(ix->shard[i], ix->shard[ix->n_shard - 1]) != 0)
            ix->shard[ix->n_shard++] = ix->shard[i];
    if (ix->n_shard > MAX_SHARD)
        return weir_fail(err, WEIR_EFORMAT, "%s: %zu shards, expected at most %d", weir__label(ix->path),
                         ix->n_shard, MAX_SHARD);
    return WEIR_OK;
}

/* The index decides which shard's tensor counts; shards may hold more than it names. */
static weir_status order_by_index(weir_safetensors *s, const st_index *ix, weir_err *err) {
    const char *name;
    json_t *value;
    json_object_foreach(ix->map, name, value) {
        const char *shard = json_string_value(value);
        const char **at = bsearch(&shard, ix->shard, ix->n_shard, sizeof *ix->shard, by_string);
        const st_file *f = &s->files[at - ix->shard];
        const weir_entry *t = weir__entry_find(f->tensors, f->n_tensor, sizeof *f->tensors, name);
        if (!t)
            return weir_fail(err, WEIR_EFORMAT, "%s: tensor %.100s is not in %.100s, where the index puts it",
                             weir__label(ix->path), name, shard);
        s->order[s->n++] = *t;
    }
    qsort(s->order, s->n, sizeof *s->order, weir__entry_by_name);
    return WEIR_OK;
}

static weir_status open_shards(weir_safetensors **out, const st_index *ix, weir_err *err) {
    weir_safetensors *s = NULL;
    WEIR_TRY(alloc_handle(&s, ix->n_shard, ix->path, err));
    weir_status st = alloc_order(s, json_object_size(ix->map), ix->path, err);
    for (size_t i = 0; st == WEIR_OK && i < ix->n_shard; i++) {
        char *path = NULL;
        st = weir__path_join(&path, ix->dir, ix->shard[i], err);
        if (st != WEIR_OK) break;
        s->n_file++;
        st = weir__st_file_from_path(&s->files[i], path, err);
        weir_free(path);
    }
    if (st == WEIR_OK) st = order_by_index(s, ix, err);
    if (st != WEIR_OK) {
        weir__safetensors_close(s);
        return st;
    }
    *out = s;
    return WEIR_OK;
}

weir_status weir__safetensors_open_index(weir_safetensors **out, const char *json, size_t bytes,
                                         const char *path, const char *dir, weir_err *err) {
    json_t *root;
    WEIR_TRY(weir__json_object(json, bytes, path, &root, err));
    st_index ix = {.path = path, .dir = dir, .map = json_object_get(root, "weight_map")};
    weir_status st;
    if (!json_is_object(ix.map))
        st = weir_fail(err, WEIR_EFORMAT, "%s: weight_map is not an object", weir__label(path));
    else
        st = collect_shards(&ix, err);
    if (st == WEIR_OK) st = open_shards(out, &ix, err);
    weir_free(ix.shard);
    json_decref(root);
    return st;
}

static weir_status open_index_file(weir_safetensors **out, const char *path, const char *dir, weir_err *err) {
    char *text;
    size_t bytes;
    WEIR_TRY(weir__file_read(path, MAX_INDEX, &text, &bytes, err));
    weir_status st = weir__safetensors_open_index(out, text, bytes, path, dir, err);
    weir_free(text);
    return st;
}

/* Weights in a form that is not read are named. */
static weir_status say_what_is_there(const char *dir, weir_err *err) {
    static const char *const names[] = {
        "pytorch_model.bin",   "pytorch_model.bin.index.json", "consolidated.safetensors",
        "consolidated.00.pth", "adapter_model.safetensors",    "adapter_model.bin",
        "tf_model.h5",         "flax_model.msgpack",           "weights.npz"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = NULL;
        WEIR_TRY(weir__path_join(&path, dir, names[i], err));
        const bool there = access(path, F_OK) == 0;
        weir_free(path);
        if (there)
            return weir_fail(
                err, WEIR_ENOTSUP,
                "%s: no model.safetensors or model.safetensors.index.json there, and %s is not read: "
                "save the model with transformers' save_pretrained",
                weir__label(dir), names[i]);
    }
    return weir_fail(err, WEIR_EIO, "%s: no model.safetensors or model.safetensors.index.json there",
                     weir__label(dir));
}

weir_status weir__safetensors_open_dir(weir_safetensors **out, const char *dir, weir_err *err) {
    char *single = NULL, *index = NULL;
    weir_status st = weir__path_join(&single, dir, "model.safetensors", err);
    if (st == WEIR_OK) st = weir__path_join(&index, dir, "model.safetensors.index.json", err);
    if (st == WEIR_OK) {
        /* What is there but cannot be looked at is opened all the same, for errno's words. */
        if (access(single, F_OK) == 0 || errno != ENOENT)
            st = weir__safetensors_open_file(out, single, err);
        else if (access(index, F_OK) == 0 || errno != ENOENT)
            st = open_index_file(out, index, dir, err);
        else
            st = say_what_is_there(dir, err);
    }
    weir_free(single);
    weir_free(index);
    return st;
}

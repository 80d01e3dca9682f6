#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/weir.h"
#include "tests/formats/directory_maker.h"
#include "tests/support/files.h"

/* directories.json: shapes of model directories as public repositories hold them, each with what becomes of
 * it: it opens and answers, with the fields of the warning, or it is refused with a line. directories.md is
 * the same table for readers; WEIR_UPDATE=1 writes it anew. */
static const char TABLE[] = WEIR_SOURCE_DIR "/tests/formats/directories.json";
static const char PAGE[] = WEIR_SOURCE_DIR "/tests/formats/directories.md";

static json_t *read_table(void) {
    json_error_t e;
    json_t *table = json_load_file(TABLE, JSON_REJECT_DUPLICATES, &e);
    cr_assert(table, "%s:%d: %s", TABLE, e.line, e.text);
    return table;
}

static const char *get(const json_t *row, const char *key) {
    return json_string_value(json_object_get(row, key));
}

static weir_status open_engine(const char *dir, bool strict, weir_engine **out, weir_err *err) {
    weir_engine_options o = weir_engine_options_default();
    o.model = dir;
    o.device = "cpu";
    o.n_thread = 1;
    o.ctx_size = 16;
    o.strict_config = strict;
    err->text[0] = '\0';
    return weir_engine_open(out, &o, err);
}

/* Two tokens behind "ab", or behind an id where there is no tokenizer. */
static void answer(weir_engine *e, const json_t *row) {
    const char *name = get(row, "name");
    weir_engine_facts f;
    weir_err err = {""};
    weir_session *s;
    weir_session_view view;
    int32_t one = 3, *ids = NULL;
    size_t n = 1;
    weir_engine_get_facts(e, &f);
    if (f.has_tokenizer)
        cr_assert_eq(weir_tokenize(e, "ab", 2, true, true, &ids, &n, &err), WEIR_OK, "%s: %s", name,
                     err.text);
    const json_t *first = json_object_get(row, "first");
    if (first)
        cr_expect_eq(ids ? ids[0] : -1, (int32_t)json_integer_value(first), "%s: begins with %d", name,
                     ids ? ids[0] : -1);
    const json_t *count = json_object_get(row, "count");
    if (count) cr_expect_eq(n, (size_t)json_integer_value(count), "%s: %zu ids", name, n);
    weir_session_options o = weir_session_options_default();
    o.method = WEIR_METHOD_VERIFIER;
    o.max_tokens = 2;
    o.ignore_eos = true;
    cr_assert_eq(weir_session_create(e, &o, ids ? ids : &one, n, NULL, NULL, &s, &err), WEIR_OK, "%s: %s",
                 name, err.text);
    cr_assert_eq(weir_step(e, &s, 1, 2, &err), WEIR_OK, "%s: %s", name, err.text);
    weir_session_get(s, &view);
    cr_expect_eq(view.n, 2, "%s: %zu tokens", name, view.n);
    weir_session_free(s);
    weir_ids_free(ids);
}

static void expect_opens(const json_t *row, const char *dir) {
    const char *name = get(row, "name"), *warns = get(row, "warns");
    weir_engine *e;
    weir_engine_facts f;
    weir_err err;
    cr_assert_eq(open_engine(dir, false, &e, &err), WEIR_OK, "%s: %s", name, err.text);
    weir_engine_get_facts(e, &f);
    cr_expect_str_eq(f.ignored[0] ? f.ignored[0] : "", warns ? warns : "", "%s", name);
    answer(e, row);
    weir_engine_close(e);
    const weir_status s = open_engine(dir, true, &e, &err);
    cr_expect_eq(s, warns ? WEIR_ENOTSUP : WEIR_OK, "%s, strictly: %s", name, err.text);
    if (s == WEIR_OK)
        weir_engine_close(e);
    else
        cr_expect(err_is_line(&err, "unknown field") || err_is_line(&err, "none of that name"), "%s: %s",
                  name, err.text);
}

static void expect_refused(const json_t *row, const char *dir) {
    weir_engine *e;
    weir_err err;
    const weir_status s = open_engine(dir, false, &e, &err);
    cr_expect(s != WEIR_OK, "%s opens", get(row, "name"));
    if (s == WEIR_OK)
        weir_engine_close(e);
    else
        cr_expect(err_is_line(&err, get(row, "refused")) && strstr(err.text, dir), "%s: %s", get(row, "name"),
                  err.text);
}

Test(directories, every_shape_has_its_verdict) {
    json_t *table = read_table(), *row;
    const json_t *rows = json_object_get(table, "rows");
    size_t i;
    cr_assert(json_array_size(rows) >= 40);
    json_array_foreach(rows, i, row) {
        char *dir = directory_make(table, row);
        if (get(row, "refused"))
            expect_refused(row, dir);
        else
            expect_opens(row, dir);
        files_remove_dir(dir);
    }
    json_decref(table);
}

static char *page_of(const json_t *rows, size_t *n) {
    char *text = NULL;
    json_t *row;
    size_t i;
    FILE *f = open_memstream(&text, n);
    fprintf(f, "# Model directories: what opens\n"
               "Made by `WEIR_UPDATE=1 test_directories` from `directories.json`. The test makes every "
               "directory, opens it, lets it\nanswer, and holds what happens against this table.\n\n"
               "| directory | what is special | verdict |\n|---|---|---|\n");
    json_array_foreach(rows, i, row) {
        fprintf(f, "| %s | %s | ", get(row, "name"), get(row, "what"));
        if (get(row, "refused"))
            fprintf(f, "refused: `%s` |\n", get(row, "refused"));
        else if (get(row, "warns"))
            fprintf(f, "opens, warns of `%s` |\n", get(row, "warns"));
        else
            fprintf(f, "opens |\n");
    }
    fclose(f);
    return text;
}

Test(directories, the_page_is_the_table) {
    json_t *table = read_table();
    size_t n_want, n;
    char *want = page_of(json_object_get(table, "rows"), &n_want);
    if (getenv("WEIR_UPDATE")) files_write(WEIR_SOURCE_DIR "/tests/formats", "directories.md", want, n_want);
    char *page = (char *)files_read(PAGE, &n);
    cr_assert(page && n == n_want && memcmp(page, want, n) == 0,
              "directories.md is not what directories.json says: WEIR_UPDATE=1 test_directories writes it");
    free(page);
    free(want);
    json_decref(table);
}

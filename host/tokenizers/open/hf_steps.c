/* tokenizer.json: "normalizer", "pre_tokenizer" and "decoder". */
#include <string.h>

#include "host/tokenizers/open/hf_json.h"
#include "host/tokenizers/steps/charsmap.h"
#include "host/tokenizers/text/utf8.h"

static bool is(const json_t *o, const char *type) { return strcmp(weir__hf_type(o), type) == 0; }

static weir_status refuse(const char *what, const json_t *o, weir_err *err) {
    return weir_fail(err, WEIR_ENOTSUP, "%s of type \"%.60s\" is not supported", what, weir__hf_type(o));
}

static weir_status need_string(const json_t *o, const char *key, const char **out, weir_err *err) {
    *out = NULL;
    WEIR_TRY(weir__hf_string(o, key, out, err));
    return *out ? WEIR_OK : weir_fail(err, WEIR_EFORMAT, "%s: no %s", weir__hf_type(o), key);
}

/* ---- normalizer ---------------------------------------------------------------------------------------- */

static weir_status replace_pattern(weir__pipeline *b, const char *regex, const char *to, weir_err *err) {
    weir__pretok *p = NULL;
    WEIR_TRY(weir__pretok_open(&p, err));
    const weir_status s = weir__pretok_add(p, regex, strlen(regex), false, WEIR__SPLIT_KEPT, err);
    if (s == WEIR_OK) return weir__step_add_pattern(&b->norm, p, to, err);
    weir__pretok_free(p);
    return s;
}

static weir_status replace(weir__pipeline *b, const json_t *o, weir_err *err) {
    const json_t *pattern = json_object_get(o, "pattern");
    const bool literal = json_object_get(pattern, "String") != NULL;
    const char *from, *to;
    WEIR_TRY(need_string(pattern, literal ? "String" : "Regex", &from, err));
    WEIR_TRY(need_string(o, "content", &to, err));
    return literal ? weir__step_add(&b->norm, WEIR__STEP_REPLACE, from, to, err)
                   : replace_pattern(b, from, to, err);
}

static weir_status strip_text(weir__pipeline *b, const json_t *o, weir_err *err) {
    bool left = true, right = true;
    WEIR_TRY(weir__hf_bool(o, "strip_left", &left, err));
    WEIR_TRY(weir__hf_bool(o, "strip_right", &right, err));
    if (left) WEIR_TRY(weir__step_add(&b->norm, WEIR__STEP_STRIP_LEFT, "", "", err));
    return right ? weir__step_add(&b->norm, WEIR__STEP_STRIP_RIGHT, "", "", err) : WEIR_OK;
}

static weir_status precompiled(weir__pipeline *b, const json_t *o, weir_err *err) {
    const json_t *table = json_object_get(o, "precompiled_charsmap");
    weir__charsmap *map = NULL;
    if (!json_is_string(table)) return weir_fail(err, WEIR_EFORMAT, "Precompiled: no precompiled_charsmap");
    if (json_string_length(table) == 0) return WEIR_OK;
    WEIR_TRY(weir__charsmap_open(&map, json_string_value(table), json_string_length(table), err));
    return weir__step_add_charsmap(&b->norm, map, err);
}

static weir_status normalizer(weir__pipeline *b, const json_t *o, weir_err *err) {
    static const struct {
        const char *type;
        weir__step_kind kind;
    } plain[] = {{"NFC", WEIR__STEP_NFC},
                 {"NFD", WEIR__STEP_NFD},
                 {"NFKC", WEIR__STEP_NFKC},
                 {"NFKD", WEIR__STEP_NFKD},
                 {"Nmt", WEIR__STEP_NMT},
                 {"Lowercase", WEIR__STEP_LOWERCASE},
                 {"StripAccents", WEIR__STEP_STRIP_ACCENTS}};
    const char *to;
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (is(o, plain[i].type)) return weir__step_add(&b->norm, plain[i].kind, "", "", err);
    if (is(o, "Replace")) return replace(b, o, err);
    if (is(o, "Strip")) return strip_text(b, o, err);
    if (is(o, "Precompiled")) return precompiled(b, o, err);
    if (!is(o, "Prepend")) return refuse("normalizer", o, err);
    WEIR_TRY(need_string(o, "prepend", &to, err));
    return weir__step_add(&b->norm, WEIR__STEP_PREPEND, "", to, err);
}

weir_status weir__hf_normalizer(weir__pipeline *b, const json_t *o, weir_err *err) {
    return weir__hf_each(b, o, "normalizers", 0, normalizer, err);
}

/* ---- pre-tokenizer ------------------------------------------------------------------------------------- */

static weir_status behavior(const json_t *o, bool inverted, weir__split *out, weir_err *err) {
    static const struct {
        const char *name;
        weir__split how;
    } known[] = {{"Isolated", WEIR__SPLIT_ISOLATED},
                 {"Removed", WEIR__SPLIT_REMOVED},
                 {"MergedWithPrevious", WEIR__SPLIT_WITH_PREVIOUS},
                 {"MergedWithNext", WEIR__SPLIT_WITH_NEXT},
                 {"Contiguous", WEIR__SPLIT_CONTIGUOUS}};
    const char *name;
    WEIR_TRY(need_string(o, "behavior", &name, err));
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(name, known[i].name) != 0) continue;
        *out = known[i].how;
        if (inverted && *out == WEIR__SPLIT_REMOVED) *out = WEIR__SPLIT_KEPT;
        if (!inverted || *out == WEIR__SPLIT_KEPT || *out == WEIR__SPLIT_ISOLATED) return WEIR_OK;
        return weir_fail(err, WEIR_ENOTSUP,
                         "pre_tokenizer: an inverted Split of behavior %s is not supported", name);
    }
    return weir_fail(err, WEIR_ENOTSUP, "pre_tokenizer: behavior \"%.60s\" is not supported", name);
}

static weir_status add_pattern(weir__pipeline *b, const char *s, bool literal, weir__split how,
                               weir_err *err) {
    return weir__pretok_add(b->pretok, s, strlen(s), literal, how, err);
}

static weir_status split(weir__pipeline *b, const json_t *o, weir_err *err) {
    const json_t *pattern = json_object_get(o, "pattern");
    const bool literal = json_object_get(pattern, "String") != NULL;
    bool inverted = false;
    const char *s;
    weir__split how;
    WEIR_TRY(need_string(pattern, literal ? "String" : "Regex", &s, err));
    WEIR_TRY(weir__hf_bool(o, "invert", &inverted, err));
    WEIR_TRY(behavior(o, inverted, &how, err));
    return add_pattern(b, s, literal, how, err);
}

/* The cut into words happens before bytes are spelled, as far as ids can tell: GPT-2's expression sees the
 * text. */
static weir_status byte_level(weir__pipeline *b, const json_t *o, bool alone, weir_err *err) {
    bool space = true, regex = true, ignore;
    WEIR_TRY(weir__hf_bool(o, "add_prefix_space", &space, err));
    WEIR_TRY(weir__hf_bool(o, "use_regex", &regex, err));
    if (space && !alone)
        return weir_fail(err, WEIR_ENOTSUP,
                         "pre_tokenizer: ByteLevel with add_prefix_space after other steps is not supported");
    if (space) WEIR_TRY(weir__step_add(&b->prep, WEIR__STEP_PREPEND_UNLESS, "", " ", err));
    b->byte_level = true;
    return regex ? weir__pretok_add_named(b->pretok, "gpt-2", strlen("gpt-2"), &ignore, err) : WEIR_OK;
}

/* Replaces spaces, puts one before the text, cuts before each. Files before prepend_scheme have
 * add_prefix_space. */
static weir_status metaspace(weir__steps *steps, weir__pretok *words, const json_t *o, weir_err *err) {
    const char *mark = "\xe2\x96\x81", *scheme = NULL;
    bool space = true, cuts = true;
    WEIR_TRY(weir__hf_string(o, "replacement", &mark, err));
    WEIR_TRY(weir__hf_bool(o, "add_prefix_space", &space, err));
    WEIR_TRY(weir__hf_bool(o, "split", &cuts, err));
    WEIR_TRY(weir__hf_string(o, "prepend_scheme", &scheme, err));
    if (!scheme) scheme = space ? "always" : "never";
    const bool always = strcmp(scheme, "always") == 0, first = strcmp(scheme, "first") == 0;
    if (!always && !first && strcmp(scheme, "never") != 0)
        return weir_fail(err, WEIR_ENOTSUP, "pre_tokenizer: prepend_scheme \"%.60s\" is not supported",
                         scheme);
    WEIR_TRY(weir__step_add(steps, WEIR__STEP_REPLACE, " ", mark, err));
    if (always || first)
        WEIR_TRY(weir__step_add(steps, first ? WEIR__STEP_PREPEND_FIRST : WEIR__STEP_PREPEND_UNLESS, "", mark,
                                err));
    return cuts ? weir__pretok_add(words, mark, strlen(mark), true, WEIR__SPLIT_WITH_NEXT, err) : WEIR_OK;
}

/* After another step it sees each word of that by itself. */
static weir_status metaspace_of_words(weir__pipeline *b, const json_t *o, weir_err *err) {
    WEIR_TRY(weir__pretok_open(&b->each_pretok, err));
    return metaspace(&b->each, b->each_pretok, o, err);
}

static weir_status pre_tokenizer(weir__pipeline *b, const json_t *o, weir_err *err) {
    const bool alone = weir__pretok_is_empty(b->pretok) && b->prep.n == 0;
    weir__split how = WEIR__SPLIT_ISOLATED;
    bool single = false;
    if (b->byte_level || b->each_pretok || (b->prep.n > 0 && is(o, "Metaspace")))
        return weir_fail(err, WEIR_ENOTSUP,
                         "pre_tokenizer: %.60s after ByteLevel or Metaspace is not supported",
                         weir__hf_type(o));
    if (is(o, "Split")) return split(b, o, err);
    if (is(o, "ByteLevel")) return byte_level(b, o, alone, err);
    if (is(o, "Digits")) {
        WEIR_TRY(weir__hf_bool(o, "individual_digits", &single, err));
        return add_pattern(b, single ? "\\p{N}" : "\\p{N}+", false, how, err);
    }
    if (is(o, "Punctuation")) {
        if (json_object_get(o, "behavior")) WEIR_TRY(behavior(o, false, &how, err));
        return add_pattern(b, "[!-/:-@\\[-`{-~\\p{P}]", false, how, err);
    }
    if (is(o, "WhitespaceSplit")) return add_pattern(b, "\\s", false, WEIR__SPLIT_REMOVED, err);
    if (!is(o, "Metaspace")) return refuse("pre_tokenizer", o, err);
    return alone ? metaspace(&b->prep, b->pretok, o, err) : metaspace_of_words(b, o, err);
}

weir_status weir__hf_pre_tokenizer(weir__pipeline *b, const json_t *o, weir_err *err) {
    WEIR_TRY(weir__pretok_open(&b->pretok, err));
    WEIR_TRY(weir__hf_each(b, o, "pretokenizers", 0, pre_tokenizer, err));
    if (weir__pretok_is_empty(b->pretok)) { /* a text is one word */
        weir__pretok_free(b->pretok);
        b->pretok = NULL;
    }
    return WEIR_OK;
}

/* ---- decoder ------------------------------------------------------------------------------------------- */

static weir_status add(weir__pipeline *b, weir__decode_kind kind, json_int_t start, json_int_t stop,
                       const char *from, const char *to, weir_err *err) {
    const weir__decode_step step = {.kind = kind, .start = (int32_t)start, .stop = (int32_t)stop};
    return weir__decode_add(&b->decoder, step, from, to, err);
}

static weir_status strip(weir__pipeline *b, const json_t *o, weir_err *err) {
    const char *content = "";
    json_int_t start = 0, stop = 0;
    WEIR_TRY(need_string(o, "content", &content, err));
    WEIR_TRY(weir__hf_int(o, "start", &start, err));
    WEIR_TRY(weir__hf_int(o, "stop", &stop, err));
    if (*content == '\0' || weir__utf8_length(*content) != strlen(content) || start < 0 || stop < 0 ||
        start > 1000 || stop > 1000)
        return weir_fail(err, WEIR_EFORMAT, "decoder: Strip of other than one character, at most 1000 times");
    return add(b, WEIR__DECODE_STRIP, start, stop, content, "", err);
}

/* After Fuse a longer text could be found across tokens, and would take back what was written. */
static weir_status replace_spelled(weir__pipeline *b, const json_t *o, bool fused, weir_err *err) {
    const json_t *pattern = json_object_get(o, "pattern");
    const char *from, *to;
    if (!json_object_get(pattern, "String"))
        return weir_fail(err, WEIR_ENOTSUP, "decoder: Replace by a regular expression is not supported");
    WEIR_TRY(need_string(pattern, "String", &from, err));
    WEIR_TRY(need_string(o, "content", &to, err));
    if (fused && weir__utf8_length(*from) < strlen(from))
        return weir_fail(err, WEIR_ENOTSUP,
                         "decoder: Replace of more than a character after Fuse is not supported");
    return add(b, WEIR__DECODE_REPLACE, 0, 0, from, to, err);
}

static weir_status metaspace_spelled(weir__pipeline *b, const json_t *o, weir_err *err) {
    const char *mark = "\xe2\x96\x81", *scheme = NULL;
    bool space = true;
    WEIR_TRY(weir__hf_string(o, "replacement", &mark, err));
    WEIR_TRY(weir__hf_bool(o, "add_prefix_space", &space, err));
    WEIR_TRY(weir__hf_string(o, "prepend_scheme", &scheme, err));
    const bool drops = scheme ? strcmp(scheme, "never") != 0 : space;
    return add(b, WEIR__DECODE_METASPACE, drops, 0, mark, " ", err);
}

static weir_status decoder(weir__pipeline *b, const json_t *o, weir_err *err) {
    bool fused = false;
    for (int i = 0; i < b->decoder.n; i++)
        fused |= b->decoder.list[i].kind == WEIR__DECODE_FUSE ||
                 b->decoder.list[i].kind == WEIR__DECODE_BYTE_LEVEL;
    if (is(o, "Fuse")) return add(b, WEIR__DECODE_FUSE, 0, 0, "", "", err);
    if (is(o, "Strip")) return strip(b, o, err);
    if (is(o, "Replace")) return replace_spelled(b, o, fused, err);
    if (fused && (is(o, "ByteLevel") || is(o, "ByteFallback") || is(o, "Metaspace")))
        return weir_fail(err, WEIR_ENOTSUP, "decoder: %s after Fuse is not supported", weir__hf_type(o));
    if (is(o, "ByteLevel")) {
        WEIR_TRY(add(b, WEIR__DECODE_BYTE_LEVEL, 0, 0, "", "", err));
        return add(b, WEIR__DECODE_FUSE, 0, 0, "", "", err);
    }
    if (is(o, "ByteFallback")) return add(b, WEIR__DECODE_BYTE_FALLBACK, 0, 0, "", "", err);
    return is(o, "Metaspace") ? metaspace_spelled(b, o, err) : refuse("decoder", o, err);
}

weir_status weir__hf_decoder(weir__pipeline *b, const json_t *o, weir_err *err) {
    b->decoder.spaces = !o || json_is_null(o);
    return weir__hf_each(b, o, "decoders", 0, decoder, err);
}

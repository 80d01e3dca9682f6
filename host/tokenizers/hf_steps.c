/* tokenizer.json: "normalizer", "pre_tokenizer" and "decoder". */
#include <string.h>

#include "host/tokenizers/hf_json.h"

static bool is(const json_t *o, const char *type) { return strcmp(weir__hf_type(o), type) == 0; }

static weir_status refuse(const char *what, const json_t *o, weir_err *err) {
    return weir_fail(err, WEIR_ENOTSUP, "%s of type \"%.60s\" is not supported", what, weir__hf_type(o));
}

static weir_status need_string(const json_t *o, const char *key, const char **out, weir_err *err) {
    *out = NULL;
    WEIR_TRY(weir__hf_string(o, key, out, err));
    return *out ? WEIR_OK : weir_fail(err, WEIR_EFORMAT, "%s: no %s", weir__hf_type(o), key);
}

/* ---- normalizer ------------------------------------------------------------------------------------------------------ */

static weir_status normalizer(weir__bpe *b, const json_t *o, weir_err *err) {
    const char *from = "", *to = "";
    if (is(o, "NFC")) return weir__bpe_add_step(b->norm, &b->n_norm, WEIR__STEP_NFC, "", "", err);
    if (is(o, "Prepend")) {
        WEIR_TRY(need_string(o, "prepend", &to, err));
        return weir__bpe_add_step(b->norm, &b->n_norm, WEIR__STEP_PREPEND, "", to, err);
    }
    if (!is(o, "Replace")) return refuse("normalizer", o, err);
    const json_t *pattern = json_object_get(o, "pattern");
    if (!json_object_get(pattern, "String"))
        return weir_fail(err, WEIR_ENOTSUP, "normalizer Replace by a regular expression is not supported");
    WEIR_TRY(need_string(pattern, "String", &from, err));
    WEIR_TRY(need_string(o, "content", &to, err));
    return weir__bpe_add_step(b->norm, &b->n_norm, WEIR__STEP_REPLACE, from, to, err);
}

weir_status weir__hf_normalizer(weir__bpe *b, const json_t *o, weir_err *err) {
    return weir__hf_each(b, o, "normalizers", 0, normalizer, err);
}

/* ---- pre-tokenizer --------------------------------------------------------------------------------------------------- */

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
        return weir_fail(err, WEIR_ENOTSUP, "pre_tokenizer: an inverted Split of behavior %s is not supported", name);
    }
    return weir_fail(err, WEIR_ENOTSUP, "pre_tokenizer: behavior \"%.60s\" is not supported", name);
}

static weir_status add_pattern(weir__bpe *b, const char *s, bool literal, weir__split how, weir_err *err) {
    return weir__pretok_add(b->pretok, s, strlen(s), literal, how, err);
}

static weir_status split(weir__bpe *b, const json_t *o, weir_err *err) {
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

/* The cut into words happens before bytes are spelled, as far as ids can tell: GPT-2's expression sees the text. */
static weir_status byte_level(weir__bpe *b, const json_t *o, bool alone, weir_err *err) {
    bool space = true, regex = true, ignore;
    WEIR_TRY(weir__hf_bool(o, "add_prefix_space", &space, err));
    WEIR_TRY(weir__hf_bool(o, "use_regex", &regex, err));
    if (space && !alone)
        return weir_fail(err, WEIR_ENOTSUP, "pre_tokenizer: ByteLevel with add_prefix_space after other steps is not supported");
    if (space) WEIR_TRY(weir__bpe_add_step(b->prep, &b->n_prep, WEIR__STEP_PREPEND_UNLESS, "", " ", err));
    b->byte_level = true;
    return regex ? weir__pretok_add_named(b->pretok, "gpt-2", strlen("gpt-2"), &ignore, err) : WEIR_OK;
}

/* Replaces spaces, puts one before the text, cuts before each. Files before prepend_scheme have add_prefix_space. */
static weir_status metaspace(weir__bpe *b, const json_t *o, weir_err *err) {
    const char *mark = "\xe2\x96\x81", *scheme = NULL;
    bool space = true, cuts = true;
    WEIR_TRY(weir__hf_string(o, "replacement", &mark, err));
    WEIR_TRY(weir__hf_bool(o, "add_prefix_space", &space, err));
    WEIR_TRY(weir__hf_bool(o, "split", &cuts, err));
    WEIR_TRY(weir__hf_string(o, "prepend_scheme", &scheme, err));
    if (!scheme) scheme = space ? "always" : "never";
    const bool always = strcmp(scheme, "always") == 0, first = strcmp(scheme, "first") == 0;
    if (!always && !first && strcmp(scheme, "never") != 0)
        return weir_fail(err, WEIR_ENOTSUP, "pre_tokenizer: prepend_scheme \"%.60s\" is not supported", scheme);
    WEIR_TRY(weir__bpe_add_step(b->prep, &b->n_prep, WEIR__STEP_REPLACE, " ", mark, err));
    if (always || first)
        WEIR_TRY(weir__bpe_add_step(b->prep, &b->n_prep, first ? WEIR__STEP_PREPEND_FIRST : WEIR__STEP_PREPEND_UNLESS, "",
                                    mark, err));
    return cuts ? add_pattern(b, mark, true, WEIR__SPLIT_WITH_NEXT, err) : WEIR_OK;
}

static weir_status pre_tokenizer(weir__bpe *b, const json_t *o, weir_err *err) {
    const bool alone = weir__pretok_is_empty(b->pretok) && b->n_prep == 0;
    weir__split how = WEIR__SPLIT_ISOLATED;
    bool single = false;
    if (b->byte_level) return weir_fail(err, WEIR_ENOTSUP, "pre_tokenizer: %.60s after ByteLevel is not supported", weir__hf_type(o));
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
    if (!is(o, "Metaspace")) return refuse("pre_tokenizer", o, err);
    if (!alone) return weir_fail(err, WEIR_ENOTSUP, "pre_tokenizer: Metaspace after other steps is not supported");
    return metaspace(b, o, err);
}

weir_status weir__hf_pre_tokenizer(weir__bpe *b, const json_t *o, weir_err *err) {
    WEIR_TRY(weir__pretok_open(&b->pretok, err));
    WEIR_TRY(weir__hf_each(b, o, "pretokenizers", 0, pre_tokenizer, err));
    if (weir__pretok_is_empty(b->pretok)) { /* a text is one word */
        weir__pretok_free(b->pretok);
        b->pretok = NULL;
    }
    return WEIR_OK;
}

/* ---- decoder --------------------------------------------------------------------------------------------------------- */

static weir_status strip(weir__bpe *b, const json_t *o, weir_err *err) {
    const char *content = "";
    json_int_t start = 0, stop = 0;
    WEIR_TRY(weir__hf_string(o, "content", &content, err));
    WEIR_TRY(weir__hf_int(o, "start", &start, err));
    WEIR_TRY(weir__hf_int(o, "stop", &stop, err));
    if (strcmp(content, " ") != 0 || start < 0 || start > 1 || stop != 0)
        return weir_fail(err, WEIR_ENOTSUP, "decoder: a Strip of other than one space at the beginning is not supported");
    b->strip_left = start == 1;
    return WEIR_OK;
}

/* Bytes, spaces and "<0x41>" are read the same way whatever the order of the steps that do it; what else a decoder may
 * have is one space less at the beginning. */
static weir_status decoder(weir__bpe *b, const json_t *o, weir_err *err) {
    const char *scheme = "always", *from = "", *to = "";
    if (is(o, "ByteLevel") || is(o, "ByteFallback") || is(o, "Fuse")) return WEIR_OK;
    if (is(o, "Strip")) return strip(b, o, err);
    if (is(o, "Replace")) {
        WEIR_TRY(need_string(json_object_get(o, "pattern"), "String", &from, err));
        WEIR_TRY(need_string(o, "content", &to, err));
        if (strcmp(from, "\xe2\x96\x81") == 0 && strcmp(to, " ") == 0) return WEIR_OK;
        return weir_fail(err, WEIR_ENOTSUP, "decoder: a Replace of other than \xe2\x96\x81 by a space is not supported");
    }
    if (!is(o, "Metaspace")) return refuse("decoder", o, err);
    WEIR_TRY(weir__hf_string(o, "prepend_scheme", &scheme, err));
    b->strip_left = strcmp(scheme, "never") != 0;
    return WEIR_OK;
}

weir_status weir__hf_decoder(weir__bpe *b, const json_t *o, weir_err *err) {
    return weir__hf_each(b, o, "decoders", 0, decoder, err);
}

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/formats/gguf/gguf.h"
#include "host/tokenizers/steps/pretok.h"
#include "host/tokenizers/tokenizer.h"
#include "kernels/base/mem.h"
#include "tests/support/alloc.h"
#include "tests/support/files.h"
#include "tests/support/gguf_write.h"

#define GOLDEN WEIR_SOURCE_DIR "/tests/golden/tokenizer/"

/* ---- tokenizer.json ------------------------------------------------------------------------------------ */

static weir_status open_json(const void *json, size_t n, weir_err *err) {
    weir_tokenizer *t = NULL;
    uint8_t *exact = files_exact(json, n);
    err->text[0] = '\0';
    const weir_status s = weir__tokenizer_open_json_bytes(&t, exact, n, "t.json", err);
    free(exact);
    weir__tokenizer_free(t);
    cr_assert((s == WEIR_OK) == (t != NULL));
    return s;
}

Test(bpe_files, every_prefix_of_a_json_is_refused) {
    static const char *const names[] = {GOLDEN "tiny_qwen2.json", GOLDEN "tiny_llama2.json"};
    for (size_t k = 0; k < 2; k++) {
        size_t n;
        weir_err err;
        uint8_t *json = files_read(names[k], &n);
        cr_assert(json);
        cr_assert_eq(open_json(json, n, &err), WEIR_OK, "%s", err.text);
        for (size_t i = 0; i + 1 < n; i++) {
            cr_assert_eq(open_json(json, i, &err), WEIR_EFORMAT, "prefix %zu", i);
            cr_assert(err_is_line(&err, "t.json"), "prefix %zu: %s", i, err.text);
        }
        free(json);
    }
}

#define BPE(more) \
    "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}" more "}"
#define SPLIT(pattern, behavior)                                                   \
    BPE(",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" pattern \
        "\"},\"behavior\":\"" behavior "\"}")

Test(bpe_files, what_is_not_known_is_refused_by_name) {
    static const struct {
        const char *json;
        weir_status status;
        const char *part;
    } cases[] = {
        {BPE(""), WEIR_OK, ""},
        {"{}", WEIR_EFORMAT, "model: expected an object"},
        {"{\"model\":{\"type\":\"WordPiece\"}}", WEIR_ENOTSUP,
         "\"WordPiece\" is not supported, expected BPE or Unigram"},
        {"{\"model\":{\"vocab\":{\"a\":0}}}", WEIR_ENOTSUP, "\"\" is not supported"},
        {"{\"model\":{\"type\":\"Unigram\"}}", WEIR_EFORMAT, "vocab: expected an array of tokens"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0],[\"b\"]]}}", WEIR_EFORMAT,
         "element 1: expected a token and its score"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0]],\"unk_id\":1}}", WEIR_EFORMAT,
         "unk_id = 1, expected 0 to 0"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":[],\"merges\":[]}}", WEIR_EFORMAT,
         "vocab: expected an object"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]}}", WEIR_EFORMAT, "no tokens"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]}}", WEIR_EFORMAT, "id -1 of \"a\""},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":4194304},\"merges\":[]}}", WEIR_EFORMAT,
         "id 4194304"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":1.5},\"merges\":[]}}", WEIR_EFORMAT,
         "id of \"a\" is not an integer"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":7,\"b\":7},\"merges\":[]}}", WEIR_EFORMAT,
         "id 7 is both \"a\" and \"b\""},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":7},\"merges\":[]}}", WEIR_OK, ""},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"ab\"]}}", WEIR_EFORMAT,
         "merge 0 is \"ab\""},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]}}", WEIR_EFORMAT,
         "pairs of strings"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[[\"\",\"a\"]]}}", WEIR_EFORMAT,
         "0 and 1 bytes"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}}}", WEIR_EFORMAT, "merges: expected an array"},
        {"{\"model\":{\"type\":\"BPE\",\"dropout\":0.1,\"vocab\":{\"a\":0},\"merges\":[]}}", WEIR_ENOTSUP,
         "dropout"},
        {"{\"model\":{\"type\":\"BPE\",\"end_of_word_suffix\":\"</w>\",\"vocab\":{\"a\":0},\"merges\":[]}}",
         WEIR_ENOTSUP, "end_of_word_suffix"},
        {"{\"model\":{\"type\":\"BPE\",\"byte_fallback\":1,\"vocab\":{\"a\":0},\"merges\":[]}}", WEIR_EFORMAT,
         "byte_fallback: expected true or false"},
        {BPE(",\"added_tokens\":{}"), WEIR_EFORMAT, "added_tokens: expected an array"},
        {BPE(",\"added_tokens\":[{\"id\":3}]"), WEIR_EFORMAT, "element 0 has no id or no content"},
        /* it gets the next id, as in tokenizers */
        {BPE(",\"added_tokens\":[{\"id\":1,\"content\":\"c\"}]"), WEIR_OK, ""},
        {BPE(",\"added_tokens\":[{\"id\":3,\"content\":\"a\"}]"), WEIR_OK, ""},
        {BPE(",\"normalizer\":{\"type\":\"BertNormalizer\"}"), WEIR_ENOTSUP,
         "normalizer of type \"BertNormalizer\""},
        {BPE(",\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\w\"},\"content\":\"\"}"),
         WEIR_ENOTSUP, "\\w is not supported"},
        {BPE(",\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"!\"}"), WEIR_EFORMAT,
         "bad base64"},
        {BPE(",\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"/////wAAAAA=\"}"),
         WEIR_EFORMAT, "bytes of units"},
        {BPE(",\"normalizer\":{\"type\":\"Prepend\",\"prepend\":\"0123456789abcdef0123456789abcdef0\"}"),
         WEIR_ENOTSUP, "more than 32 bytes"},
        {BPE(",\"pre_tokenizer\":{\"type\":\"Whitespace\"}"), WEIR_ENOTSUP,
         "pre_tokenizer of type \"Whitespace\""},
        {BPE(",\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\"},"
             "{\"type\":\"Digits\"}]}"),
         WEIR_ENOTSUP, "Digits after ByteLevel"},
        {BPE(",\"decoder\":{\"type\":\"WordPiece\"}"), WEIR_ENOTSUP, "decoder of type \"WordPiece\""},
        {BPE(",\"decoder\":{\"type\":\"BPEDecoder\"}"), WEIR_ENOTSUP, "decoder of type \"BPEDecoder\""},
        {BPE(",\"decoder\":{\"type\":\"CTC\"}"), WEIR_ENOTSUP, "decoder of type \"CTC\""},
        {BPE(",\"decoder\":{\"type\":\"Strip\",\"content\":\"  \",\"start\":2,\"stop\":0}"), WEIR_EFORMAT,
         "Strip of other than one character"},
        {BPE(",\"decoder\":{\"type\":\"Strip\",\"content\":\" \",\"start\":2,\"stop\":0}"), WEIR_OK, ""},
        {BPE(",\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},"
             "{\"type\":\"ByteFallback\"}]}"),
         WEIR_ENOTSUP, "ByteFallback after Fuse"},
        {SPLIT("a", "Isolated"), WEIR_OK, ""},
        {SPLIT("a", "Sideways"), WEIR_ENOTSUP, "behavior \"Sideways\""},
        {SPLIT("\\\\w+", "Isolated"), WEIR_ENOTSUP, "pattern: \\w is not supported"},
        {SPLIT("[a[b]]", "Isolated"), WEIR_ENOTSUP, "a class inside a class"},
        {SPLIT("[a&&b]", "Isolated"), WEIR_ENOTSUP, "&& inside a class"},
        {SPLIT("(?<n>a)", "Isolated"), WEIR_ENOTSUP, "(?<n is not supported"},
        {SPLIT("(*NO_JIT)a", "Isolated"), WEIR_ENOTSUP, "(*NO is not supported"},
        {SPLIT("(a", "Isolated"), WEIR_ENOTSUP, "missing closing parenthesis"},
        {SPLIT("a{2}+", "Isolated"), WEIR_ENOTSUP, "this use of {}"},
        {SPLIT("\\\\p{Nonsense}", "Isolated"), WEIR_ENOTSUP, "pattern: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weir_err err;
        cr_expect_eq(open_json(cases[i].json, strlen(cases[i].json), &err), cases[i].status, "%s: %s",
                     cases[i].json, err.text);
        if (cases[i].status != WEIR_OK)
            cr_expect(err_is_line(&err, cases[i].part) && strstr(err.text, "t.json"), "%s: %s", cases[i].json,
                      err.text);
    }
}

/* A pattern made to explode ends with one line, not with a hang. */
Test(bpe_files, an_exploding_pattern_gives_up) {
    static const char json[] = SPLIT("(a|a)*(a|a)*(a|a)*cd", "Isolated");
    weir_tokenizer *t = NULL;
    weir_err err = {""};
    char text[3000];
    int32_t *ids = NULL;
    size_t n;
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = 'd'; /* else the matcher sees at once that there is none */
    cr_assert_eq(weir__tokenizer_open_json_bytes(&t, json, sizeof json - 1, "t.json", &err), WEIR_OK, "%s",
                 err.text);
    cr_assert_eq(weir__tokenizer_encode(t, text, sizeof text, &ids, &n, &err), WEIR_EINVAL);
    cr_assert(err_is_line(&err, "step 0 of its pre-tokenizer gives up"), "%s", err.text);
    weir__tokenizer_free(t);
}

/* ---- splitting ----------------------------------------------------------------------------------------- */

Test(bpe_files, behaviors_of_a_split) {
    static const struct {
        weir__split how;
        const char *words;
    } cases[] = {
        {WEIR__SPLIT_ISOLATED, "a|-|-|b|-|c|-"}, {WEIR__SPLIT_REMOVED, "a|b|c"},
        {WEIR__SPLIT_KEPT, "-|-|-|-"},           {WEIR__SPLIT_WITH_PREVIOUS, "a-|-|b-|c-"},
        {WEIR__SPLIT_WITH_NEXT, "a|-|-b|-c|-"},  {WEIR__SPLIT_CONTIGUOUS, "a|--|b|-|c|-"},
    };
    static const char text[] = "a--b-c-";
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weir__pretok *p;
        weir__words w = {0};
        char got[64] = "";
        cr_assert_eq(weir__pretok_open(&p, NULL), WEIR_OK);
        cr_assert_eq(weir__pretok_add(p, "-", 1, true, cases[i].how, NULL), WEIR_OK);
        cr_assert_eq(weir__pretok_split(p, text, sizeof text - 1, &w, NULL), WEIR_OK);
        for (size_t k = 0; k < w.n; k++) {
            if (k) strncat(got, "|", 2);
            strncat(got, text + w.list[k].begin, w.list[k].end - w.list[k].begin);
        }
        cr_assert_str_eq(got, cases[i].words, "case %zu", i);
        weir__words_free(&w);
        weir__pretok_free(p);
    }
}

/* Half characters at the end, in the middle and before others: words cover the bytes, in order, and no more
 * than these. */
Test(bpe_files, words_of_bytes_that_are_no_text) {
    static const char *const ends[] = {"\xf0",           "\xf0\x9f\x98", "\xe2\x82",     "\xc3",
                                       "\xff",           "\xed\xa0",     "\xed\xa0\x80", "\xc0\x80",
                                       "\xf0\x9f \xe2z", "\xed\xa0z z"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        char text[80];
        memset(text, 'a', 62);
        const size_t n = 62 + (size_t)snprintf(text + 62, sizeof text - 62, "%s", ends[i]);
        char *exact = (char *)files_exact(text, n);
        weir__pretok *p;
        weir__words w = {0};
        bool ignore;
        uint32_t at = 0;
        cr_assert_eq(weir__pretok_open(&p, NULL), WEIR_OK);
        cr_assert_eq(weir__pretok_add_named(p, "gpt-2", 5, &ignore, NULL), WEIR_OK);
        cr_assert_eq(weir__pretok_split(p, exact, n, &w, NULL), WEIR_OK);
        for (size_t k = 0; k < w.n; at = w.list[k++].end)
            cr_assert(w.list[k].begin == at && w.list[k].end > at, "case %zu: word %zu", i, k);
        cr_assert_eq(at, n, "case %zu: words end at %u of %zu", i, at, n);
        cr_assert_eq(w.list[0].end, 62, "case %zu: broken bytes are letters", i);
        weir__words_free(&w);
        weir__pretok_free(p);
        free(exact);
    }
}

/* ---- GGUF ---------------------------------------------------------------------------------------------- */

static weir_status open_blob(gguf_blob *b, weir_err *err) {
    weir_gguf *g = NULL;
    weir_tokenizer *t = NULL;
    gguf_finish(b);
    cr_assert_eq(weir__gguf_open_bytes(&g, b->p, b->n, "t.gguf", err), WEIR_OK, "%s", err->text);
    const weir_status s = weir__tokenizer_open_gguf(&t, g, err);
    weir__gguf_close(g);
    gguf_free(b);
    weir__tokenizer_free(t);
    return s;
}

typedef struct made {
    const char *model, *pre;
    const char *tokens[3];
    uint64_t n_type;
    const char *merge;
    uint32_t score; /* bits; 1: none */
    uint64_t type;  /* of tokens[2]; 0: control */
} made;

static gguf_blob make(const made *m) {
    gguf_blob b = gguf_begin(3);
    const uint64_t types[] = {1, 1, m->type ? m->type : 3};
    const uint64_t scores[] = {m->score, m->score, m->score};
    if (m->model) gguf_text(&b, "tokenizer.ggml.model", m->model);
    if (m->pre) gguf_text(&b, "tokenizer.ggml.pre", m->pre);
    if (m->tokens[0]) gguf_texts(&b, "tokenizer.ggml.tokens", m->tokens, 3);
    if (m->n_type) gguf_ints(&b, "tokenizer.ggml.token_type", KV_I32, types, m->n_type);
    if (m->merge) gguf_texts(&b, "tokenizer.ggml.merges", &m->merge, 1);
    if (m->score != 1) gguf_ints(&b, "tokenizer.ggml.scores", KV_F32, scores, 3);
    return b;
}

Test(bpe_files, gguf_metadata_is_checked) {
    static const struct {
        made m;
        weir_status status;
        const char *part;
    } cases[] = {
        {{"gpt2", "qwen2", {"a", "b", "ab"}, 3, "a b", 1, 0}, WEIR_OK, ""},
        {{"gpt2", NULL, {"a", "b", "ab"}, 0, "a b", 1, 0}, WEIR_OK, ""},
        {{"llama", NULL, {"a", "b", "ab"}, 3, NULL, 0, 0}, WEIR_OK, ""},
        {{NULL, NULL, {"a", "b", "ab"}, 3, "a b", 1, 0}, WEIR_EFORMAT, "no tokenizer.ggml.model"},
        {{"bert", NULL, {"a", "b", "ab"}, 3, "a b", 1, 0}, WEIR_ENOTSUP, "\"bert\" is not supported"},
        {{"gpt2", "nobody", {"a", "b", "ab"}, 3, "a b", 1, 0}, WEIR_ENOTSUP, "pre-tokenizer \"nobody\""},
        {{"gpt2", "", {"a", "b", "ab"}, 3, "a b", 1, 0}, WEIR_ENOTSUP, "pre-tokenizer \"\""},
        {{"gpt2", "qwen2", {NULL}, 3, "a b", 1, 0}, WEIR_EFORMAT, "tokens: expected"},
        {{"gpt2", "qwen2", {"a", "b", "a"}, 3, "a b", 1, 0}, WEIR_EFORMAT, "tokens 0 and 2 are both \"a\""},
        {{"gpt2", "qwen2", {"a", "b", "ab"}, 2, "a b", 1, 0},
         WEIR_EFORMAT,
         "token_type: 2 values, expected 3"},
        {{"gpt2", "qwen2", {"a", "b", "ab"}, 3, NULL, 1, 0}, WEIR_EFORMAT, "no tokenizer.ggml.merges"},
        {{"gpt2", "qwen2", {"a", "b", "ab"}, 3, "ab", 1, 0}, WEIR_EFORMAT, "merge 0 is \"ab\""},
        {{"llama", NULL, {"a", "b", "ab"}, 3, NULL, 1, 0}, WEIR_EFORMAT, "no tokenizer.ggml.scores"},
        {{"llama", NULL, {"a", "b", "ab"}, 3, NULL, 0x7fc00000, 0},
         WEIR_EFORMAT,
         "scores: value 0 is not a finite number"},
        {{"llama", NULL, {"a", "b", "ab"}, 3, NULL, 0xff800000, 0},
         WEIR_EFORMAT,
         "scores: value 0 is not a finite number"},
        {{"gpt2", "qwen2", {"a", "b", "\x9f\x98\x80"}, 3, "a b", 1, 4},
         WEIR_EFORMAT,
         "token 2 is found in texts (type 4)"},
        {{"gpt2", "qwen2", {"a", "b", "\xed\xa0\x80"}, 3, "a b", 1, 3},
         WEIR_EFORMAT,
         "token 2 is found in texts (type 3)"},
        {{"gpt2", "qwen2", {"a", "b", "\x9f\x98\x80"}, 3, "a b", 1, 1}, WEIR_OK, ""},
        {{"gpt2", "qwen2", {"a", "b", "\xf0\x9f\x98\x80"}, 3, "a b", 1, 4}, WEIR_OK, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weir_err err = {""};
        gguf_blob b = make(&cases[i].m);
        cr_expect_eq(open_blob(&b, &err), cases[i].status, "case %zu: %s", i, err.text);
        if (cases[i].status != WEIR_OK)
            cr_expect(err_is_line(&err, cases[i].part), "case %zu: %s", i, err.text);
    }
}

/* A vocabulary of at most 8 tokens of these types and of equal scores; "gpt2" without merges that lead
 * anywhere. */
static weir_tokenizer *tokenizer_of(const char *model, const char *const *tokens, const uint64_t *types,
                                    size_t n, int eos) {
    static const char *const merge[] = {"a b"};
    static const uint64_t scores[8] = {0};
    weir_tokenizer *t = NULL;
    weir_gguf *g = NULL;
    weir_err err = {""};
    gguf_blob b = gguf_begin(3);
    gguf_text(&b, "tokenizer.ggml.model", model);
    gguf_texts(&b, "tokenizer.ggml.tokens", tokens, n);
    gguf_ints(&b, "tokenizer.ggml.token_type", KV_I32, types, n);
    gguf_ints(&b, "tokenizer.ggml.scores", KV_F32, scores, n);
    gguf_texts(&b, "tokenizer.ggml.merges", merge, 1);
    if (eos >= 0) gguf_u32(&b, "tokenizer.ggml.eos_token_id", (uint32_t)eos);
    gguf_finish(&b);
    cr_assert_eq(weir__gguf_open_bytes(&g, b.p, b.n, "t.gguf", &err), WEIR_OK, "%s", err.text);
    cr_assert_eq(weir__tokenizer_open_gguf(&t, g, &err), WEIR_OK, "%s", err.text);
    weir__gguf_close(g);
    gguf_free(&b);
    return t;
}

static void expect_ids(const weir_tokenizer *t, const char *text, bool special, const int32_t *want,
                       size_t n_want) {
    int32_t *ids = NULL;
    size_t n = 0;
    const size_t bytes = strlen(text);
    char *exact = (char *)files_exact(text, bytes);
    cr_assert_eq(
        (special ? weir__tokenizer_encode_special : weir__tokenizer_encode)(t, exact, bytes, &ids, &n, NULL),
        WEIR_OK);
    cr_expect_eq(n, n_want, "\"%s\": %zu ids, want %zu", text, n, n_want);
    for (size_t i = 0; i < n && i < n_want; i++)
        cr_expect_eq(ids[i], want[i], "\"%s\": id %zu is %d, want %d", text, i, ids[i], want[i]);
    weir_free(ids);
    free(exact);
}

/* Types as some converters write them: the end of a turn as a user's token, the end of a text as a plain
 * one. */
Test(bpe_files, ends_are_control_tokens_whatever_the_file_says) {
    static const char *const tokens[] = {"<", "a", "b", "<end_of_turn>", "<x>", "<start>", ">", "x"};
    static const uint64_t types[] = {1, 1, 1, 4, 4, 4, 1, 1};
    static const char *const models[] = {"gpt2", "llama"};
    for (int m = 0; m < 2; m++) {
        weir_tokenizer *t = tokenizer_of(models[m], tokens, types, 8, 4);
        const int32_t want[] = {3, 4, 5};
        for (int32_t id = 0; id < 8; id++)
            cr_expect_eq(weir__tokenizer_is_control(t, id), id == 3 || id == 4, "%s: %d", models[m], id);
        expect_ids(t, "<end_of_turn><x><start>", true, want, 3);
        int32_t *ids;
        size_t n;
        cr_assert_eq(weir__tokenizer_encode(t, "<end_of_turn><x><start>", 23, &ids, &n, NULL), WEIR_OK);
        cr_expect(n > 3 && ids[n - 1] == 5);
        for (size_t i = 0; i < n; i++)
            cr_expect(ids[i] != 3 && ids[i] != 4, "%s: id %zu is %d", models[m], i, ids[i]);
        weir_free(ids);
        weir__tokenizer_free(t);
    }
}

/* What llama.cpp takes for one character of "\xe2" and a space, which became "\xe2\xe2\x96\x81": three bytes
 * by the first. The unknown piece stands for the fourth, and shows as nothing. */
Test(bpe_files, a_part_ends_where_a_character_does) {
    static const char *const tokens[] = {"<unk>", "\xe2\x96\x81", "\xe2\xe2\x96", "x", "y"};
    static const uint64_t types[] = {2, 1, 1, 1, 1};
    weir_tokenizer *t = tokenizer_of("llama", tokens, types, 5, -1);
    static const int32_t broken[] = {1, 2, 0, 3}, whole[] = {1, 3, 1, 4, 1, 1}, unknown[] = {1, 3, 0, 4};
    char *text = NULL;
    size_t n = 0;
    expect_ids(t, "\xe2 x", false, broken, 4);
    expect_ids(t, "x y  ", false, whole, 6);
    expect_ids(t, "xQy", false, unknown, 4);
    cr_assert(weir__tokenizer_is_control(t, 0) && !weir__tokenizer_is_control(t, 1));
    cr_assert_eq(weir__tokenizer_decode(t, unknown, 4, &text, &n, NULL), WEIR_OK);
    cr_expect_str_eq(text, "xy");
    weir_free(text);
    weir__tokenizer_free(t);
}

/* The character before an added token, where one of several bytes stands before that. */
Test(bpe_files, added_tokens_look_back_one_character) {
    static const char json[] =
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"\xc3\xa9\":1,\" \":2,\"-\":3,\"U\":4,"
        "\"\xe3\x80\x80\":5},\"merges\":[]},"
        "\"added_tokens\":[{\"id\":6,\"content\":\"<mask>\",\"lstrip\":true},{\"id\":7,\"content\":\"T\","
        "\"single_word\":true}]}";
    static const struct {
        const char *text;
        int32_t ids[4];
        size_t n;
    } cases[] = {
        {"\xc3\xa9 <mask>", {1, 6}, 2},
        {"a  <mask>", {0, 6}, 2},
        {"\xc3\xa9\xe3\x80\x80 <mask>", {1, 6}, 2},
        {"\xc3\xa9<mask>", {1, 6}, 2},
        {"\xc3\xa9-T", {1, 3, 7}, 3},
        {"\xe3\x80\x80-T", {5, 3, 7}, 3},
        {"\xe3\x80\x80T", {5, 7}, 2},
    };
    weir_tokenizer *t = NULL;
    weir_err err = {""};
    cr_assert_eq(weir__tokenizer_open_json_bytes(&t, json, sizeof json - 1, "t.json", &err), WEIR_OK, "%s",
                 err.text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_ids(t, cases[i].text, true, cases[i].ids, cases[i].n);
    weir__tokenizer_free(t);
}

/* ---- memory -------------------------------------------------------------------------------------------- */

/* Opens, encodes, decodes with allocation number `fail` and later ones refused; how far it came. */
static weir_status use(const uint8_t *json, size_t n, long fail) {
    static const char text[] = "The weather <|begin|>is \xc3\xbc\xf0\x9f\x98\x80\xff e\xcc\x81 1234";
    weir_tokenizer *t = NULL;
    int32_t *ids = NULL;
    char *back = NULL;
    size_t n_ids, bytes;
    weir_err err = {""};
    alloc_install(fail);
    weir_status s = weir__tokenizer_open_json_bytes(&t, json, n, "t.json", &err);
    if (s == WEIR_OK) s = weir__tokenizer_encode_special(t, text, sizeof text - 1, &ids, &n_ids, &err);
    if (s == WEIR_OK) s = weir__tokenizer_decode(t, ids, n_ids, &back, &bytes, &err);
    if (s != WEIR_OK)
        cr_assert(s == WEIR_ENOMEM && err_is_line(&err, "no memory"), "allocation %ld: %s", fail, err.text);
    weir_free(back);
    weir_free(ids);
    weir__tokenizer_free(t);
    cr_assert_eq(alloc_live(), 0, "allocation %ld leaves %ld", fail, alloc_live());
    alloc_uninstall();
    return s;
}

Test(bpe_files, every_failing_allocation_is_reported_and_nothing_leaks) {
    static const char *const names[] = {GOLDEN "tiny_qwen2.json", GOLDEN "tiny_llama2.json"};
    for (size_t k = 0; k < 2; k++) {
        size_t n;
        long fail = 1;
        uint8_t *json = files_read(names[k], &n);
        cr_assert(json);
        while (use(json, n, fail) != WEIR_OK) fail++;
        cr_assert_gt(fail, 30, "%ld", fail);
        free(json);
    }
}

Test(bpe_files, missing_files_are_named) {
    weir_tokenizer *t = NULL;
    weir_err err = {""};
    cr_assert_eq(weir__tokenizer_open_json(&t, "/nonexistent/tokenizer.json", &err), WEIR_EIO);
    cr_assert(err_is_line(&err, "/nonexistent/tokenizer.json"), "%s", err.text);
    cr_assert_eq(weir__tokenizer_open_gpt2(&t, GOLDEN "tiny_gpt2.json", "/nonexistent/merges.txt", &err),
                 WEIR_EIO);
    cr_assert(err_is_line(&err, "/nonexistent/merges.txt"), "%s", err.text);
    cr_assert_null(t);
}

/* What the build says of the page, against OpenSSL's hashes of the file in the tree. */
#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/serve/page/page.h"

#define PAGE WEIR_SOURCE_DIR "/host/serve/page/index.html"

/* Zero-terminated, of *n bytes; the caller frees it. */
static char *read_page(size_t *n) {
    FILE *f = fopen(PAGE, "rb");
    cr_assert(f, "cannot read %s", PAGE);
    char *bytes = malloc(1 << 20);
    cr_assert(bytes);
    *n = fread(bytes, 1, (1 << 20) - 1, f);
    fclose(f);
    bytes[*n] = '\0';
    return bytes;
}

static void sha256(const char *bytes, size_t n, unsigned char out[32]) {
    unsigned length = 0;
    cr_assert(EVP_Digest(bytes, n, out, &length, EVP_sha256(), NULL));
    cr_assert_eq(length, 32);
}

/* "'sha256-…'" of what is between <tag> and </tag>. */
static void source_of(const char *page, const char *tag, char out[64]) {
    char open[16], end[16];
    snprintf(open, sizeof open, "<%s>", tag);
    snprintf(end, sizeof end, "</%s>", tag);
    const char *from = strstr(page, open);
    cr_assert(from);
    from += strlen(open);
    const char *to = strstr(from, end);
    cr_assert(to);
    unsigned char digest[32], text[48];
    sha256(from, (size_t)(to - from), digest);
    EVP_EncodeBlock(text, digest, sizeof digest);
    snprintf(out, 64, "'sha256-%s'", (const char *)text);
}

Test(serve_page, is_the_file_in_the_tree) {
    size_t n = 0;
    char *file = read_page(&n);
    const serve_page *page = serve_page_get();
    cr_assert_eq(page->length, n);
    cr_assert(memcmp(page->bytes, file, n) == 0);
    cr_assert_leq(n, 60 * 1024);
    cr_assert_str_eq(page->type, "text/html; charset=utf-8");
    free(file);
}

Test(serve_page, its_policy_allows_its_own_script_and_style_and_nothing_else) {
    size_t n = 0;
    char *file = read_page(&n), script[64], style[64], expected[512];
    source_of(file, "script", script);
    source_of(file, "style", style);
    snprintf(expected, sizeof expected,
             "default-src 'none'; script-src %s; style-src %s; connect-src 'self'; img-src data:; "
             "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
             script, style);
    cr_assert_str_eq(serve_page_get()->csp, expected);
    free(file);
}

Test(serve_page, its_etag_is_the_hash_of_its_bytes) {
    const serve_page *page = serve_page_get();
    unsigned char digest[32];
    sha256(page->bytes, page->length, digest);
    char expected[40] = "\"";
    for (int i = 0; i < 16; i++) snprintf(expected + 1 + 2 * i, 4, "%02x\"", digest[i]);
    cr_assert_str_eq(page->etag, expected);
}

Test(serve_page, if_none_match_is_a_list_of_tags_or_a_star) {
    const char *own = serve_page_get()->etag;
    const char *with[] = {"%s", "W/%s", " \"a\" , %s", "\"a,b\",W/%s, \"c\"", ",, %s ,", "*", " * "};
    for (size_t i = 0; i < sizeof with / sizeof *with; i++) {
        char text[128];
        const char *at = strstr(with[i], "%s");
        if (at)
            snprintf(text, sizeof text, "%.*s%s%s", (int)(at - with[i]), with[i], own, at + 2);
        else
            snprintf(text, sizeof text, "%s", with[i]);
        cr_assert(serve_page_known(text), "%s", text);
    }
}

Test(serve_page, other_tags_and_broken_lists_do_not_match) {
    cr_assert_not(serve_page_known(NULL));
    const char *own = serve_page_get()->etag;
    char bare[64], prefix[64], broken[64], weak[64];
    snprintf(bare, sizeof bare, "%.*s", (int)strlen(own) - 2, own + 1);
    snprintf(prefix, sizeof prefix, "%.*s", (int)strlen(own) - 1, own);
    snprintf(broken, sizeof broken, "x, %s", own);
    snprintf(weak, sizeof weak, "w/%s", own);
    const char *without[] = {"",   " ",  ",",  "\"\"", "\"a\"", "W/", "W/\"",
                             "**", "*x", bare, prefix, broken,  weak};
    for (size_t i = 0; i < sizeof without / sizeof *without; i++)
        cr_assert_not(serve_page_known(without[i]), "%s", without[i]);
}

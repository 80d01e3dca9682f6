#include "host/serve/http/conn.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

/* Keys are kept as HMACs under a secret of this process. All are of one length, so that a comparison takes
 * the same time wherever two differ; and the number by which a client is known says nothing of its key. */
enum { DIGEST = 32, MAX_KEYS = 10000, MAX_KEY = 512, MAX_FILE = 1 << 20 };

typedef struct digests {
    unsigned char (*all)[DIGEST];
    size_t n;
} digests;

struct http_keys {
    unsigned char secret[DIGEST];
    digests listed, filed;
    char *file; /* NULL: none */
};

static bool digest(const http_keys *k, const char *key, size_t n, unsigned char out[DIGEST]) {
    unsigned size = 0;
    return HMAC(EVP_sha256(), k->secret, DIGEST, (const unsigned char *)key, n, out, &size) && size == DIGEST;
}

static weir_status add_key(const http_keys *k, digests *d, const char *key, size_t n, const char *where,
                           weir_err *err) {
    for (size_t i = 0; i < n; i++)
        if (key[i] < 0x21 || key[i] > 0x7e)
            return weir_fail(err, WEIR_EINVAL, "%s: a key has bytes that are not visible ASCII", where);
    if (n > MAX_KEY) return weir_fail(err, WEIR_EINVAL, "%s: a key is longer than %d bytes", where, MAX_KEY);
    if (d->n == MAX_KEYS) return weir_fail(err, WEIR_EINVAL, "%s: more than %d keys", where, MAX_KEYS);
    unsigned char(*all)[DIGEST] = weir_alloc(d->n + 1, DIGEST);
    if (!all || !digest(k, key, n, all[d->n])) {
        weir_free(all);
        return weir_fail(err, WEIR_ENOMEM, "out of memory");
    }
    if (d->n) memcpy(all, d->all, d->n * DIGEST);
    weir_free(d->all);
    d->all = all;
    d->n++;
    return WEIR_OK;
}

/* Keys between any of `separators`, blanks around them dropped. */
static weir_status add_keys(const http_keys *k, digests *d, const char *text, const char *separators,
                            const char *where, weir_err *err) {
    while (*text) {
        size_t n = strcspn(text, separators);
        const char *key = text, *rest = text + n + (text[n] != '\0');
        while (n > 0 && strchr(" \t\r", *key)) key++, n--;
        while (n > 0 && strchr(" \t\r", key[n - 1])) n--;
        if (n > 0) WEIR_TRY(add_key(k, d, key, n, where, err));
        text = rest;
    }
    return WEIR_OK;
}

static weir_status read_file(const http_keys *k, digests *d, weir_err *err) {
    FILE *f = fopen(k->file, "re");
    if (!f) return weir_fail(err, WEIR_EIO, "%s: %s", k->file, strerror(errno));
    char *text = weir_alloc(MAX_FILE + 1, 1);
    const size_t n = text ? fread(text, 1, MAX_FILE + 1, f) : 0;
    const bool failed = ferror(f) != 0;
    (void)fclose(f);
    weir_status st = WEIR_OK;
    if (!text)
        st = weir_fail(err, WEIR_ENOMEM, "out of memory");
    else if (failed)
        st = weir_fail(err, WEIR_EIO, "%s: cannot be read", k->file);
    else if (n > MAX_FILE)
        st = weir_fail(err, WEIR_EINVAL, "%s: larger than %d bytes", k->file, MAX_FILE);
    else if (memchr(text, '\0', n))
        st = weir_fail(err, WEIR_EINVAL, "%s: has a zero byte", k->file);
    if (st == WEIR_OK) {
        text[n] = '\0';
        st = add_keys(k, d, text, "\n", k->file, err);
    }
    if (text) OPENSSL_cleanse(text, MAX_FILE + 1);
    weir_free(text);
    if (st == WEIR_OK && d->n == 0)
        st = weir_fail(err, WEIR_EINVAL, "%s: no key; one on each line was expected", k->file);
    return st;
}

static weir_status fill(http_keys *k, const char *const *lists, size_t n, const char *file, weir_err *err) {
    if (getrandom(k->secret, DIGEST, 0) != DIGEST) return weir_fail(err, WEIR_EIO, "no random bytes");
    for (size_t i = 0; i < n; i++) {
        const size_t was = k->listed.n;
        WEIR_TRY(add_keys(k, &k->listed, lists[i], ",", "the list of keys", err));
        if (k->listed.n == was) return weir_fail(err, WEIR_EINVAL, "the list of keys is empty");
    }
    if (!file) return WEIR_OK;
    k->file = weir_strdup(file);
    if (!k->file) return weir_fail(err, WEIR_ENOMEM, "out of memory");
    return read_file(k, &k->filed, err);
}

weir_status http_keys_open(http_keys **out, const char *const *lists, size_t n, const char *file,
                           weir_err *err) {
    http_keys *k = weir_calloc(1, sizeof *k);
    weir_status st = k ? fill(k, lists, n, file, err) : weir_fail(err, WEIR_ENOMEM, "out of memory");
    if (st != WEIR_OK) {
        http_keys_close(k);
        k = NULL;
    }
    *out = k;
    return st;
}

weir_status http_keys_reload(http_keys *k, weir_err *err) {
    digests again = {0};
    if (!k->file) return WEIR_OK;
    const weir_status st = read_file(k, &again, err);
    digests *old = st == WEIR_OK ? &k->filed : &again;
    weir_free(old->all);
    if (st == WEIR_OK) k->filed = again;
    return st;
}

void http_keys_close(http_keys *k) {
    if (!k) return;
    weir_free(k->listed.all);
    weir_free(k->filed.all);
    weir_free(k->file);
    OPENSSL_cleanse(k, sizeof *k);
    weir_free(k);
}

bool http_keys_any(const http_keys *k) { return k->listed.n + k->filed.n > 0; }

/* Looks at all keys, so that the time tells not which one it was. */
static unsigned fits(const digests *d, const unsigned char asked[DIGEST]) {
    unsigned found = 0;
    for (size_t i = 0; i < d->n; i++) found |= CRYPTO_memcmp(d->all[i], asked, DIGEST) == 0;
    return found;
}

static bool key_fits(const http_keys *k, const char *key, uint64_t *client) {
    unsigned char asked[DIGEST];
    if (!digest(k, key, strlen(key), asked)) return false;
    if (!(fits(&k->listed, asked) | fits(&k->filed, asked))) return false;
    memcpy(client, asked, sizeof *client);
    if (*client == 0) *client = 1;
    return true;
}

bool http_keys_fit(const http_keys *k, const char *authorization, const char *x_api_key, uint64_t *client) {
    if (authorization && strncasecmp(authorization, "Bearer ", 7) == 0) {
        const char *key = authorization + 7;
        if (key_fits(k, key + strspn(key, " "), client)) return true;
    }
    return x_api_key && key_fits(k, x_api_key, client);
}

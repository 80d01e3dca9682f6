#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/formats/gguf_made.h"

/* Files that lie. Names in capitals are the cases of llama.cpp's tests/test-gguf.cpp. */

/* Frees the blob. */
static void expect_blob(gguf_blob *b, weir_status want, const char *part) {
    expect_bytes(b->p, b->n, want, part);
    gguf_free(b);
}

static void expect_fine(gguf_blob *b) {
    weir__gguf_close(open_good(b));
    gguf_free(b);
}

/* ---- attacks on the header ----------------------------------------------------------------------------- */

Test(gguf_attacks, headers) {
    static const struct {
        size_t at;
        uint64_t value;
        int n_byte;
        weir_status want;
        const char *part;
    } bad[] = {
        {0, 0x47475546, 4, WEIR_EFORMAT, "begins with 46 55 47 47"}, /* HEADER_BAD_MAGIC */
        {0, 0, 1, WEIR_EFORMAT, "not with GGUF"},
        {4, 0, 4, WEIR_EFORMAT, "version 0"},                  /* HEADER_BAD_VERSION_0 */
        {4, 1, 4, WEIR_ENOTSUP, "version 1 is not supported"}, /* HEADER_BAD_VERSION_1 */
        {4, 4, 4, WEIR_ENOTSUP, "version 4 is not supported"}, /* HEADER_BAD_VERSION_FUTURE */
        {4, UINT32_MAX, 4, WEIR_ENOTSUP, "version 4294967295"},
        {4, 0x03000000, 4, WEIR_ENOTSUP, "big-endian"},
        {4, 0x02000000, 4, WEIR_ENOTSUP, "big-endian"},
        {8, UINT64_MAX, 8, WEIR_EFORMAT, "tensors cannot be in"}, /* HEADER_BAD_N_TENSORS */
        {8, 1ull << 63, 8, WEIR_EFORMAT, "tensors cannot be in"},
        {8, 4, 8, WEIR_EFORMAT, ""},
        {8, 1 << 20, 8, WEIR_EFORMAT, "1048576 tensors cannot be in a file of"},
        {16, UINT64_MAX, 8, WEIR_EFORMAT, "keys cannot be in"}, /* HEADER_BAD_N_KV */
        {16, 1ull << 60, 8, WEIR_EFORMAT, "keys cannot be in"},
        {16, 7, 8, WEIR_EFORMAT, ""},
        {16, 5, 8, WEIR_EFORMAT, ""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        gguf_blob b = good_file();
        gguf_poke(&b, bad[i].at, bad[i].value, bad[i].n_byte);
        expect_blob(&b, bad[i].want, bad[i].part);
    }
}

Test(gguf_attacks, more_than_any_model_has) {
    for (int tensors = 0; tensors < 2; tensors++) {
        gguf_blob b = gguf_begin(3);
        for (int i = 0; i < 40; i++) gguf_raw(&b, (uint8_t[1 << 20]){0}, 1 << 20);
        gguf_poke(&b, tensors ? 8 : 16, (1 << 20) + 1, 8);
        expect_blob(&b, WEIR_EFORMAT,
                    tensors ? "1048577 tensors, expected at most 1048576" : "1048577 keys, expected at most");
    }
}

/* ---- attacks on pairs ---------------------------------------------------------------------------------- */

static void raw_pair(gguf_blob *b, uint64_t key_bytes, const char *key, uint32_t kind) {
    gguf_raw_int(b, key_bytes, 8);
    gguf_raw(b, key, strlen(key));
    gguf_raw_int(b, kind, 4);
    b->n_pair++;
}

static void expect_key_refused(uint64_t bytes, const char *key, weir_status want, const char *part) {
    gguf_blob b = gguf_begin(3);
    raw_pair(&b, bytes, key, KV_U32);
    gguf_raw_int(&b, 1, 8);
    gguf_finish(&b);
    expect_blob(&b, want, part);
}

Test(gguf_attacks, keys) {
    expect_key_refused(UINT64_MAX, "key", WEIR_EFORMAT,
                       "key 1 of 1 has 18446744073709551615 bytes");   /* KV_BAD_KEY_SIZE */
    expect_key_refused(0, "", WEIR_EFORMAT, "key 1 of 1 has 0 bytes"); /* KV_EMPTY_KEY */
    expect_key_refused(65536, "key", WEIR_EFORMAT, "expected 1 to 65535");
    expect_key_refused(65535, "key", WEIR_EFORMAT, "truncated: key 1 of 1 needs 65535 bytes");
    gguf_blob b = gguf_begin(3);
    gguf_raw_int(&b, 3, 8);
    gguf_raw(&b, "a\0b", 3);
    gguf_raw_int(&b, KV_U64, 4);
    gguf_raw_int(&b, 0, 8);
    b.n_pair++;
    gguf_finish(&b);
    expect_blob(&b, WEIR_EFORMAT, "a zero byte in its name");
}

Test(gguf_attacks, keys_that_are_there_twice) {
    gguf_blob b = gguf_begin(3); /* KV_DUPLICATE_KEY */
    gguf_u32(&b, "a.b", 1);
    gguf_u32(&b, "a", 1);
    gguf_text(&b, "a.b", "other");
    gguf_finish(&b);
    expect_blob(&b, WEIR_EFORMAT, "key a.b: is there twice");
    b = gguf_begin(3);
    gguf_u32(&b, "general.alignment", 32);
    gguf_u32(&b, "general.alignment", 64);
    gguf_finish(&b);
    expect_blob(&b, WEIR_EFORMAT, "key general.alignment: is there twice");
}

Test(gguf_attacks, values) {
    static const struct {
        uint32_t kind, element; /* element: of an array */
        uint64_t count;         /* of an array; or a string's length */
        weir_status want;
        const char *part;
    } bad[] = {
        {13, 0, 0, WEIR_EFORMAT, "key k: value of unknown type 13"}, /* KV_BAD_TYPE */
        {UINT32_MAX, 0, 0, WEIR_EFORMAT, "unknown type 4294967295"},
        {KV_ARRAY, 13, 0, WEIR_EFORMAT, "elements of unknown type 13"},
        {KV_ARRAY, KV_ARRAY, 0, WEIR_ENOTSUP, "an array of arrays is not supported"},
        {KV_ARRAY, KV_U8, 17, WEIR_EFORMAT,
         "17 elements of 1 bytes in the 16 that are left"}, /* KV_BAD_VALUE_SIZE */
        {KV_ARRAY, KV_U8, UINT64_MAX, WEIR_EFORMAT, "truncated"},
        {KV_ARRAY, KV_F64, 1ull << 61, WEIR_EFORMAT, "truncated"}, /* x 8 bytes = 0 mod 2^64 */
        {KV_ARRAY, KV_U32, (1ull << 62) + 1, WEIR_EFORMAT, "truncated"},
        {KV_ARRAY, KV_STRING, 3, WEIR_EFORMAT, "3 strings in the 16 bytes that are left"},
        {KV_ARRAY, KV_STRING, UINT64_MAX, WEIR_EFORMAT, "truncated"},
        {KV_ARRAY, KV_STRING, 1ull << 61, WEIR_EFORMAT, "truncated"},
        {KV_ARRAY, KV_STRING, 1, WEIR_EFORMAT,
         "truncated: key 1 of 1 needs"}, /* its length is the tail's bytes */
        {KV_ARRAY, KV_BOOL, 2, WEIR_EFORMAT, "key k: a bool of value 171"},
        {KV_STRING, 0, 17, WEIR_EFORMAT, "truncated: key 1 of 1 needs 17 bytes"},
        {KV_STRING, 0, UINT64_MAX, WEIR_EFORMAT, "truncated"},
        {KV_STRING, 0, 1ull << 63, WEIR_EFORMAT, "truncated"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        gguf_blob b = gguf_begin(3);
        gguf_key(&b, "k", bad[i].kind);
        if (bad[i].kind == KV_ARRAY) gguf_raw_int(&b, bad[i].element, 4);
        gguf_raw_int(&b, bad[i].count, 8);
        for (int k = 0; k < 16; k++) gguf_raw_int(&b, 0xab, 1);
        gguf_finish(&b);
        expect_blob(&b, bad[i].want, bad[i].part);
    }
    gguf_blob b = gguf_begin(3);
    gguf_int(&b, "k", KV_BOOL, 2);
    gguf_finish(&b);
    expect_blob(&b, WEIR_EFORMAT, "key k: a bool of value 2");
    b = gguf_begin(3);
    gguf_key(&b, "k", KV_ARRAY);
    gguf_raw_int(&b, KV_BOOL, 4);
    gguf_raw_int(&b, 3, 8);
    for (int k = 0; k < 3; k++) gguf_raw_int(&b, (uint64_t)k, 1);
    gguf_finish(&b);
    expect_blob(&b, WEIR_EFORMAT, "key k: a bool of value 2");
}

/* ---- attacks on tensors -------------------------------------------------------------------------------- */

Test(gguf_attacks, names_of_tensors) {
    static const int64_t one[] = {1};
    char name[130];
    for (size_t n = 63; n <= 129; n += n < 65 ? 1 : 64) {
        memset(name, 'n', n);
        name[n] = '\0';
        gguf_blob b = gguf_begin(3);
        gguf_tensor(&b, name, GGML_F32, 1, one, NULL, 4);
        gguf_finish(&b);
        if (n <= 64)
            expect_fine(&b);
        else
            expect_blob(&b, WEIR_EFORMAT, "bytes, expected 1 to 64"); /* TENSORS_BAD_NAME_SIZE */
    }
    gguf_blob b = gguf_begin(3);
    gguf_tensor(&b, "", GGML_F32, 1, one, NULL, 4);
    gguf_finish(&b);
    expect_blob(&b, WEIR_EFORMAT, "tensor 1 of 1 has a name of 0 bytes");
    b = gguf_begin(3);
    gguf_tensor(&b, "axb", GGML_F32, 1, one, NULL, 4);
    gguf_finish(&b);
    gguf_poke(&b, 24 + 8 + 1, 0, 1);
    expect_blob(&b, WEIR_EFORMAT, "tensor a: a zero byte in its name");
    b = gguf_begin(3); /* TENSORS_DUPLICATE_NAME */
    for (int i = 0; i < 3; i++) gguf_tensor(&b, i == 1 ? "other" : "same", GGML_F32, 1, one, NULL, 4);
    gguf_finish(&b);
    expect_blob(&b, WEIR_EFORMAT, "tensor same: is there twice");
}

Test(gguf_attacks, shapes_and_types) {
    static const struct {
        uint32_t type;
        int n_dim;
        int64_t shape[5];
        const char *part;
    } bad[] = {
        {GGML_F32, 0, {0}, "tensor t: 0 dimensions, expected 1 to 4"},
        {GGML_F32, 5, {1, 1, 1, 1, 1}, "5 dimensions"},           /* TENSORS_BAD_N_DIMS */
        {GGML_F32, 1, {-1}, "shape[0] = -1, expected 1 or more"}, /* TENSORS_BAD_SHAPE */
        {GGML_F32, 2, {4, INT64_MIN}, "shape[1] ="},
        {GGML_F32,
         2,
         {4, 0},
         "shape[1] = 0, expected 1 or more"}, /* TENSORS_ZERO_DIM, which llama.cpp accepts */
        {GGML_F32, 1, {0}, "shape[0] = 0"},
        {GGML_F32,
         2,
         {4ll * INT32_MAX, 4ll * INT32_MAX},
         "shape overflows 63 bits at dimension 1"}, /* TENSORS_NE_TOO_BIG */
        {GGML_F32, 3, {INT64_MAX, 1, 2}, "shape overflows 63 bits at dimension 2"},
        {GGML_F32, 4, {1 << 16, 1 << 16, 1 << 16, 1 << 16}, "shape overflows 63 bits at dimension 3"},
        {27, 2, {1534000000, 1534000000}, "size in bytes overflows 63 bits"}, /* TENSORS_NBYTES_TOO_BIG */
        {GGML_F32, 1, {INT64_MAX}, "size in bytes overflows 63 bits"},
        {GGML_F32, 1, {(1ll << 62) + 1}, "size in bytes overflows 63 bits"}, /* x 4 bytes = 4 mod 2^64 */
        {24, 1, {INT64_MAX}, "truncated: 9223372036854775807 bytes of data at 0"},
        {GGML_Q8_0, 1, {31}, "rows of 31 elements are not whole blocks of 32, as Q8_0 has them"},
        {GGML_Q8_0, 2, {16, 2}, "rows of 16 elements"},
        {GGML_Q4_K, 1, {128}, "rows of 128 elements are not whole blocks of 256"},
        {42, 1, {32}, "tensor t: unknown type 42"}, /* TENSORS_BAD_TYPE */
        {4, 1, {32}, "unknown type 4"},             /* removed from the format, as are the next */
        {5, 1, {32}, "unknown type 5"},
        {31, 1, {32}, "unknown type 31"},
        {38, 1, {32}, "unknown type 38"},
        {UINT32_MAX, 1, {32}, "unknown type -1"},
        {1u << 31, 1, {32}, "unknown type -2147483648"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        gguf_blob b = gguf_begin(3);
        gguf_tensor(&b, "t", bad[i].type, bad[i].n_dim, bad[i].shape, NULL, 256);
        gguf_finish(&b);
        expect_blob(&b, WEIR_EFORMAT, bad[i].part);
    }
}

/* ---- attacks on the data ------------------------------------------------------------------------------- */

/* Two byte tensors of 32 and 4 elements at the given places, and n_data bytes. */
static gguf_blob placed(uint64_t alignment, uint64_t a, uint64_t b_at, size_t n_data) {
    gguf_blob b = gguf_begin(3);
    if (alignment != 32) gguf_u32(&b, "general.alignment", (uint32_t)alignment);
    gguf_tensor_at(&b, "a", 24, 1, (int64_t[]){32}, a);
    gguf_tensor_at(&b, "b", 24, 1, (int64_t[]){4}, b_at);
    b.alignment = alignment;
    gguf_finish(&b);
    for (size_t i = 0; i < n_data; i++) gguf_raw_int(&b, i, 1);
    return b;
}

Test(gguf_attacks, places_that_are_fine) {
    static const struct {
        uint64_t alignment, a, b;
        size_t n_data;
    } good[] = {
        {32, 0, 32, 36}, {32, 32, 0, 64},
        {32, 64, 0, 96}, {32, 0, 32, 1000},
        {1, 0, 32, 36},  {1, 4, 0, 36},
        {64, 0, 64, 68}, {1 << 20, 0, 1 << 20, (1 << 20) + 4}, /* TENSORS_CUSTOM_ALIGN */
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        gguf_blob b = placed(good[i].alignment, good[i].a, good[i].b, good[i].n_data);
        weir_gguf *g = open_good(&b);
        weir_entry e;
        cr_assert(weir__gguf_find(g, "b", &e) && e.bytes == 4);
        cr_assert_eq(((const uint8_t *)e.data)[0], (uint8_t)good[i].b);
        weir__gguf_close(g);
        gguf_free(&b);
    }
}

Test(gguf_attacks, places_that_are_not) {
    static const struct {
        uint64_t alignment, a, b;
        size_t n_data;
        const char *part;
    } bad[] = {
        {32, 0, 32, 35,
         "tensor b: truncated: 4 bytes of data at 32, the file has 35"}, /* DATA_NOT_ENOUGH_DATA */
        {32, 0, 32, 0, "truncated"},
        {32, 0, 64, 64, "tensor b: truncated"},
        {32, 0, UINT64_MAX, 64,
         "tensor b: data at 18446744073709551615, expected a multiple of 32"}, /* TENSORS_BAD_OFFSET */
        {32, 0, UINT64_MAX - 31, 64, "tensor b: truncated"},
        {32, 0, 1ull << 63, 64, "tensor b: truncated"},
        {32, 0, 36, 64,
         "tensor b: data at 36, expected a multiple of 32"}, /* TENSORS_INCONSISTENT_ALIGN, DATA_… */
        {64, 0, 32, 64, "tensor b: data at 32, expected a multiple of 64"},
        {32, 0, 0, 64, "tensor b: data at 0 overlaps the tensor before it, which ends at 32"},
        {1, 0, 31, 64, "tensor b: data at 31 overlaps"},
        {1, 3, 0, 64, "tensor a: data at 3 overlaps the tensor before it, which ends at 4"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        gguf_blob b = placed(bad[i].alignment, bad[i].a, bad[i].b, bad[i].n_data);
        expect_blob(&b, WEIR_EFORMAT, bad[i].part);
    }
    gguf_blob b = gguf_begin(3); /* DATA_MEM_SIZE_OVERFLOW */
    gguf_tensor_at(&b, "x", 24, 1, (int64_t[]){0x7fffffffffffffc0}, 0);
    gguf_tensor_at(&b, "y", 24, 1, (int64_t[]){0x7fffffffffffffc0}, 0x7fffffffffffffc0);
    gguf_finish(&b);
    for (int i = 0; i < 32; i++) gguf_raw_int(&b, 0, 1);
    expect_blob(&b, WEIR_EFORMAT, "truncated: 9223372036854775744 bytes");
}

Test(gguf_attacks, alignments) {
    static const struct {
        uint32_t kind;
        uint64_t value;
        const char *part;
    } bad[] = {
        {KV_U32, 13, "general.alignment = 13, expected a power of two"}, /* KV_, TENSORS_, DATA_BAD_ALIGN */
        {KV_U32, 0, "general.alignment = 0"},
        {KV_U32, 1 << 21, "general.alignment = 2097152, expected a power of two up to 1048576"},
        {KV_U32, 1u << 31, "general.alignment = 2147483648"},
        {KV_U32, UINT32_MAX, "general.alignment = 4294967295"},
        {KV_I32, 32, "general.alignment is not an unsigned number of 32 bits"}, /* KV_WRONG_TYPE_ALIGN */
        {KV_U64, 32, "not an unsigned number of 32 bits"},
        {KV_F32, 0x42000000, "not an unsigned number of 32 bits"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        gguf_blob b = gguf_begin(3);
        gguf_int(&b, "general.alignment", bad[i].kind, bad[i].value);
        gguf_finish(&b);
        expect_blob(&b, WEIR_EFORMAT, bad[i].part);
    }
    gguf_blob b = gguf_begin(3);
    gguf_ints(&b, "general.alignment", KV_U32, (uint64_t[]){32}, 1);
    gguf_finish(&b);
    expect_blob(&b, WEIR_EFORMAT, "not an unsigned number of 32 bits");
}

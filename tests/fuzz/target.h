#ifndef WEIR_TESTS_FUZZ_TARGET_H
#define WEIR_TESTS_FUZZ_TARGET_H

#include <stddef.h>
#include <stdint.h>

/* One parser, any bytes. The same function is libFuzzer's entry point in a build with WEIR_FUZZ and one of
 * the targets that tests/fuzz/test_mutations.c runs in every other build. It must not crash, leak or hang,
 * and checks what the parser promises: on success its invariants, on failure one line of error. */
#ifdef WEIR_FUZZ
#define FUZZ_TARGET(name)                                \
    int LLVMFuzzerTestOneInput(const uint8_t *, size_t); \
    int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
#else
#define FUZZ_TARGET(name) int fuzz_##name(const uint8_t *data, size_t n)
int fuzz_safetensors(const uint8_t *data, size_t n);
int fuzz_stacks(const uint8_t *data, size_t n);
int fuzz_index(const uint8_t *data, size_t n);
int fuzz_config(const uint8_t *data, size_t n);
int fuzz_gguf(const uint8_t *data, size_t n);
int fuzz_gguf_parts(const uint8_t *data, size_t n);
int fuzz_spm(const uint8_t *data, size_t n);
int fuzz_tokenizer_json(const uint8_t *data, size_t n);
int fuzz_tokenizer_gguf(const uint8_t *data, size_t n);
int fuzz_text(const uint8_t *data, size_t n);
int fuzz_chat(const uint8_t *data, size_t n);
int fuzz_jinja(const uint8_t *data, size_t n);
int fuzz_request(const uint8_t *data, size_t n);
int fuzz_ask(const uint8_t *data, size_t n);
int fuzz_gate(const uint8_t *data, size_t n);
int fuzz_connection(const uint8_t *data, size_t n);
#endif

/* A promise that was broken: stops the program, which is what a fuzzer notices. */
#define FUZZ_CHECK(x)                                                               \
    do {                                                                            \
        if (!(x)) {                                                                 \
            fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__, #x); \
            abort();                                                                \
        }                                                                           \
    } while (0)

#endif

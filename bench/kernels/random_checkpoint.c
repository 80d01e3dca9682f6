/* weir-random-t5: writes a T5 v1.1 checkpoint of random bf16 weights, for timings of shapes that no shipped pair has, on a
 * machine that has neither checkpoints nor NumPy. Sibling of bench/random_t5.py, same layout.
 *
 * Weights are uniform in (-a, a) with a = sqrt(3 / inputs), so that products of unit rows have about unit size at any width
 * and logits stay sane in 24 layers; norms are 1. */
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "kernels/base/types.h"

typedef struct shape {
    const char *name;
    long dim, ff, heads, layers;
} shape;

static const shape shapes[] = {
    {"small", 512, 1024, 6, 8}, {"large", 1024, 2816, 16, 24}, {"xl", 2048, 5120, 32, 24}, {"tiny", 64, 128, 2, 2}};

enum { HEAD_DIM = 64, VOCAB = 32128, TINY_VOCAB = 512, BUCKETS = 32, BLOCK = 1 << 16 };

/* One walk names every tensor: first to write the header, then the values. */
typedef struct writer {
    FILE *f;
    bool header;
    uint64_t end, rng;
    long n;
    bool failed;
} writer;

static uint64_t next(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void write_values(writer *w, uint64_t n, double limit) {
    static uint16_t block[BLOCK];
    for (uint64_t done = 0; done < n && !w->failed;) {
        const uint64_t m = n - done < BLOCK ? n - done : BLOCK;
        for (uint64_t i = 0; i < m; i += 2) {
            const uint64_t r = next(&w->rng);
            for (uint64_t j = i; j < i + 2 && j < m; j++) {
                const double u = (double)(r >> (j - i) * 32 & 0xffffffffu) * 0x1p-31 - 1.0;
                block[j] = weir_bf16_from_f32(limit > 0 ? (float)(u * limit) : 1.0f);
            }
        }
        w->failed = fwrite(block, sizeof *block, m, w->f) != m;
        done += m;
    }
}

/* limit: of the uniform values; 0: ones. */
static void tensor(writer *w, long rows, long cols, double limit, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
static void tensor(writer *w, long rows, long cols, double limit, const char *format, ...) {
    const uint64_t n = (uint64_t)cols * (uint64_t)(rows ? rows : 1);
    if (!w->header) {
        write_values(w, n, limit);
        return;
    }
    char name[128];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(name, sizeof name, format, args);
    va_end(args);
    fprintf(w->f, "%s\"%s\": {\"dtype\": \"BF16\", \"shape\": [", w->n++ ? ", " : "{", name);
    if (rows) fprintf(w->f, "%ld, ", rows);
    fprintf(w->f, "%ld], \"data_offsets\": [%llu, %llu]}", cols, (unsigned long long)w->end,
            (unsigned long long)(w->end + 2 * n));
    w->end += 2 * n;
}

static double even(long inputs) { return sqrt(3.0 / (double)inputs); }

static void attention(writer *w, const shape *s, const char *stack, long layer, int sub, const char *part) {
    const long inner = s->heads * HEAD_DIM;
    for (const char *name = "qkv"; *name; name++) {
        /* T5 does not scale scores: its queries are small instead */
        const double limit = even(s->dim) * (*name == 'q' ? 0.125 : 1.0);
        tensor(w, inner, s->dim, limit, "%s.block.%ld.layer.%d.%s.%c.weight", stack, layer, sub, part, *name);
    }
    tensor(w, s->dim, inner, even(inner), "%s.block.%ld.layer.%d.%s.o.weight", stack, layer, sub, part);
    if (layer == 0 && sub == 0)
        tensor(w, BUCKETS, s->heads, 1.0, "%s.block.0.layer.0.SelfAttention.relative_attention_bias.weight", stack);
    tensor(w, 0, s->dim, 0, "%s.block.%ld.layer.%d.layer_norm.weight", stack, layer, sub);
}

static void feed_forward(writer *w, const shape *s, const char *stack, long layer, int sub) {
    tensor(w, s->ff, s->dim, even(s->dim), "%s.block.%ld.layer.%d.DenseReluDense.wi_0.weight", stack, layer, sub);
    tensor(w, s->ff, s->dim, even(s->dim), "%s.block.%ld.layer.%d.DenseReluDense.wi_1.weight", stack, layer, sub);
    tensor(w, s->dim, s->ff, even(s->ff), "%s.block.%ld.layer.%d.DenseReluDense.wo.weight", stack, layer, sub);
    tensor(w, 0, s->dim, 0, "%s.block.%ld.layer.%d.layer_norm.weight", stack, layer, sub);
}

static void walk(writer *w, const shape *s, long vocab) {
    tensor(w, vocab, s->dim, 1.0, "shared.weight");
    tensor(w, vocab, s->dim, 3.0 * even(s->dim), "lm_head.weight"); /* logits of a standard deviation of 3 */
    for (long i = 0; i < s->layers; i++) {
        attention(w, s, "encoder", i, 0, "SelfAttention");
        feed_forward(w, s, "encoder", i, 1);
    }
    tensor(w, 0, s->dim, 0, "encoder.final_layer_norm.weight");
    for (long i = 0; i < s->layers; i++) {
        attention(w, s, "decoder", i, 0, "SelfAttention");
        attention(w, s, "decoder", i, 1, "EncDecAttention");
        feed_forward(w, s, "decoder", i, 2);
    }
    tensor(w, 0, s->dim, 0, "decoder.final_layer_norm.weight");
}

static FILE *open_in(const char *dir, const char *name) {
    char path[1024];
    const int n = snprintf(path, sizeof path, "%s/%s", dir, name);
    return n > 0 && (size_t)n < sizeof path ? fopen(path, "wb") : NULL;
}

static bool write_config(const char *dir, const shape *s, long vocab) {
    FILE *f = open_in(dir, "config.json");
    if (!f) return false;
    fprintf(f,
            "{\"architectures\": [\"T5ForConditionalGeneration\"], \"model_type\": \"t5\", \"is_encoder_decoder\": true,\n"
            " \"d_model\": %ld, \"d_kv\": %d, \"d_ff\": %ld, \"num_heads\": %ld, \"num_layers\": %ld,\n"
            " \"num_decoder_layers\": %ld, \"vocab_size\": %ld, \"feed_forward_proj\": \"gated-gelu\",\n"
            " \"tie_word_embeddings\": false, \"decoder_start_token_id\": 0, \"pad_token_id\": 0, \"eos_token_id\": 1}\n",
            s->dim, HEAD_DIM, s->ff, s->heads, s->layers, s->layers, vocab);
    return fclose(f) == 0;
}

/* The header's length comes first: it is written behind 8 bytes that are filled in afterwards, padded with blanks. */
static bool write_tensors(const char *dir, const shape *s, long vocab, uint64_t seed) {
    writer w = {.f = open_in(dir, "model.safetensors"), .header = true, .rng = seed};
    if (!w.f) return false;
    unsigned char length[8] = {0};
    w.failed = fwrite(length, 1, sizeof length, w.f) != sizeof length;
    walk(&w, s, vocab);
    fputc('}', w.f);
    long at = ftell(w.f);
    for (; at % 8 != 0; at++) fputc(' ', w.f);
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)((uint64_t)(at - 8) >> 8 * i);
    w.failed |= fseek(w.f, 0, SEEK_SET) != 0 || fwrite(length, 1, sizeof length, w.f) != sizeof length ||
                fseek(w.f, 0, SEEK_END) != 0;
    w.header = false;
    walk(&w, s, vocab);
    if (fclose(w.f) != 0 || w.failed) return false;
    printf("%s: T5 v1.1 %s shape, %.0f MiB\n", dir, s->name, (double)w.end / 0x1p20);
    return true;
}

int main(int argc, char **argv) {
    const shape *s = NULL;
    for (size_t i = 0; argc >= 3 && i < sizeof shapes / sizeof *shapes; i++)
        if (strcmp(argv[2], shapes[i].name) == 0) s = &shapes[i];
    if (!s) {
        fprintf(stderr, "usage: weir-random-t5 DIR small|large|xl|tiny [SEED]\n");
        return 2;
    }
    const uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    const long vocab = strcmp(s->name, "tiny") == 0 ? TINY_VOCAB : VOCAB;
    (void)mkdir(argv[1], 0777); /* may be there already; if not, the files say so */
    if (write_config(argv[1], s, vocab) && write_tensors(argv[1], s, vocab, seed)) return 0;
    fprintf(stderr, "weir-random-t5: cannot write %s\n", argv[1]);
    return 1;
}

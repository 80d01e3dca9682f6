/* weir-random-model: checkpoints of random weights in the shapes of published models, for timings of pairs
 * that are not available, on a machine without checkpoints or NumPy. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/kernels/random_checkpoint.h"

enum { MAX_SHAPE = 64, MAX_THREAD = 256 };

typedef struct options {
    const char *dir, *shape;
    uint64_t seed;
    int n_thread;
    bool list;
} options;

static const char usage[] =
    "usage: weir-random-model DIR SHAPE [SEED] [--threads N]\n"
    "       weir-random-model --list\n"
    "\n"
    "Writes DIR/config.json and DIR/model.safetensors: random bf16 weights, the same for a seed (default 1) "
    "with any number of\n"
    "threads (default: all cores). --list prints the shapes and the MiB of each.\n"
    "Exit status: 0, 1 where the files cannot be written, 2 for wrong usage.\n";

static int all_shapes(random_shape *out) {
    int (*const of[])(const random_shape **) = {random_t5_shapes, random_decoder_shapes};
    int n = 0;
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        const random_shape *s;
        for (int k = 0, m = of[i](&s); k < m && n < MAX_SHAPE; k++) out[n++] = s[k];
    }
    return n;
}

static int print_list(const random_shape *shape, int n) {
    for (int i = 0; i < n; i++) {
        random_list l = {.n = 0};
        shape[i].list(shape[i].sizes, &l);
        printf("%s %.0f\n", shape[i].name, ceil((double)l.n_value / 0x1p19));
        random_list_free(&l);
    }
    return 0;
}

static bool parse_number(const char *text, uint64_t hi, uint64_t *out) {
    char *end;
    errno = 0;
    const unsigned long long v = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || v > hi) return false;
    *out = v;
    return true;
}

static bool complain(const char *what, const char *value) {
    fprintf(stderr, "weir-random-model: %s: %s\n", what, value);
    return false;
}

static bool parse(int argc, char **argv, options *o) {
    int n = 0;
    uint64_t threads;
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        if (strcmp(a, "--list") == 0) {
            o->list = true;
        } else if (strcmp(a, "--threads") == 0) {
            const char *v = i + 1 < argc ? argv[++i] : "";
            if (!parse_number(v, MAX_THREAD, &threads) || threads < 1)
                return complain("--threads: expected 1 to 256", v);
            o->n_thread = (int)threads;
        } else if (a[0] == '-') {
            return complain("unknown option", a);
        } else if (n == 2) {
            if (!parse_number(a, UINT64_MAX, &o->seed))
                return complain("seed: expected a number from 0 on", a);
            n++;
        } else if (n < 2) {
            *(n++ ? &o->shape : &o->dir) = a;
        } else {
            return complain("one argument too many", a);
        }
    }
    if (o->list ? n == 0 : n >= 2) return true;
    fputs(usage, stderr);
    return false;
}

int main(int argc, char **argv) {
    random_shape shape[MAX_SHAPE];
    const int n = all_shapes(shape);
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    options o = {.seed = 1, .n_thread = cores < 1 ? 1 : cores > MAX_THREAD ? MAX_THREAD : (int)cores};
    if (!parse(argc, argv, &o)) return 2;
    if (o.list) return print_list(shape, n);
    for (int i = 0; i < n; i++)
        if (strcmp(shape[i].name, o.shape) == 0)
            return !random_checkpoint_write(o.dir, &shape[i], o.seed, o.n_thread);
    fprintf(stderr, "weir-random-model: shape %s is unknown; there are:", o.shape);
    for (int i = 0; i < n; i++) fprintf(stderr, " %s", shape[i].name);
    fprintf(stderr, "\n");
    return 2;
}

/* Writes a checkpoint of random weights: header, then values by several threads, each piece at its place in
 * the file.
 *
 * Value i of a tensor is the half of a draw of SplitMix64, whose state is a sum of equal steps: any piece can
 * be made on its own, and the bytes depend on the seed alone. */
#include "bench/kernels/random_checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 1 << 14, MAX_THREAD = 256, PATH = 1024 }; /* PIECE: values, an even number; they stay in L1 */

/* ---- the list of tensors ------------------------------------------------------------------------------- */

random_fill random_even(int64_t inputs, double scale) {
    return (random_fill){.limit = scale * sqrt(3.0 / (double)inputs)};
}

static uint64_t values_of(const random_tensor *t) {
    return (uint64_t)t->cols * (uint64_t)(t->rows ? t->rows : 1);
}

void random_add(random_list *l, int64_t rows, int64_t cols, random_fill fill, const char *format, ...) {
    if (l->n == l->cap) {
        const int cap = l->cap ? 2 * l->cap : 64;
        random_tensor *more = realloc(l->tensor, (size_t)cap * sizeof *more);
        l->failed |= !more;
        if (!more) return;
        l->tensor = more;
        l->cap = cap;
    }
    random_tensor *t = &l->tensor[l->n++];
    *t = (random_tensor){.rows = rows, .cols = cols, .fill = fill, .at = l->n_value, .draw = l->n_draw};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(t->name, sizeof t->name, format, args);
    va_end(args);
    l->n_value += values_of(t);
    l->n_draw += (values_of(t) + 1) / 2; /* constants have draws too, so that fills do not move what
                                            follows */
}

void random_list_free(random_list *l) {
    free(l->tensor);
    *l = (random_list){.n = 0};
}

/* ---- values -------------------------------------------------------------------------------------------- */

static uint64_t draw(uint64_t seed, uint64_t i) {
    uint64_t z = seed + (i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Like weir_bf16_from_f32, for finite numbers only, and inline: a 27B model needs 27 billion. */
static uint16_t bf16(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

static uint16_t uniform(uint32_t r, double limit) {
    return bf16((float)(((double)r * 0x1p-31 - 1.0) * limit));
}

/* Values [first, first + n) of t; first is even. */
static void make_values(const random_tensor *t, uint64_t seed, uint64_t first, uint64_t n, uint16_t *out) {
    if (t->fill.limit <= 0) {
        const uint16_t value = bf16(t->fill.constant);
        for (uint64_t i = 0; i < n; i++) out[i] = value;
        return;
    }
    for (uint64_t i = 0; i < n; i += 2) {
        const uint64_t r = draw(seed, t->draw + (first + i) / 2);
        out[i] = uniform((uint32_t)r, t->fill.limit);
        if (i + 1 < n) out[i + 1] = uniform((uint32_t)(r >> 32), t->fill.limit);
    }
}

/* ---- threads ------------------------------------------------------------------------------------------- */

typedef struct job {
    const random_list *list;
    uint64_t seed, data; /* data: offset of the first value in the file */
    int fd;
    atomic_uint_fast64_t next; /* piece to take; a tensor begins a piece */
    atomic_int error;          /* errno of the first failure */
} job;

static uint64_t pieces_of(const random_tensor *t) { return (values_of(t) + PIECE - 1) / PIECE; }

static int write_all(int fd, const void *bytes, size_t n, uint64_t at) {
    for (const char *p = bytes; n > 0;) {
        const ssize_t done = pwrite(fd, p, n, (off_t)at);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return done < 0 ? errno : EIO;
        p += done;
        at += (uint64_t)done;
        n -= (size_t)done;
    }
    return 0;
}

static void *write_pieces(void *arg) {
    job *j = arg;
    uint16_t block[PIECE];
    int error = 0;
    uint64_t piece = atomic_fetch_add(&j->next, 1), before = 0;
    for (int i = 0; i < j->list->n && !error && !atomic_load(&j->error);) {
        const random_tensor *t = &j->list->tensor[i];
        if (piece >= before + pieces_of(t)) {
            before += pieces_of(t);
            i++;
            continue;
        }
        const uint64_t first = (piece - before) * PIECE, rest = values_of(t) - first,
                       n = rest < PIECE ? rest : PIECE;
        make_values(t, j->seed, first, n, block);
        error = write_all(j->fd, block, n * sizeof *block, j->data + (t->at + first) * sizeof *block);
        piece = atomic_fetch_add(&j->next, 1);
    }
    int none = 0;
    if (error) atomic_compare_exchange_strong(&j->error, &none, error);
    return NULL;
}

/* The calling thread is one of them; fewer than requested are enough. */
static int write_values(job *j, int n_thread) {
    pthread_t thread[MAX_THREAD];
    int n = 0;
    while (n < n_thread - 1 && n < MAX_THREAD && pthread_create(&thread[n], NULL, write_pieces, j) == 0) n++;
    write_pieces(j);
    for (int i = 0; i < n; i++) pthread_join(thread[i], NULL);
    return atomic_load(&j->error);
}

/* ---- files --------------------------------------------------------------------------------------------- */

/* The header's length comes first: the header is written after 8 bytes that are filled in later, and padded
 * with blanks. Its bytes are the caller's; NULL: out of memory. */
static char *make_header(const random_list *l, size_t *bytes) {
    char *text = NULL;
    FILE *f = open_memstream(&text, bytes);
    if (!f) return NULL;
    for (int i = 0; i < 8; i++) fputc(0, f);
    for (int i = 0; i < l->n; i++) {
        const random_tensor *t = &l->tensor[i];
        fprintf(f, "%s\"%s\": {\"dtype\": \"BF16\", \"shape\": [", i ? ", " : "{", t->name);
        if (t->rows) fprintf(f, "%" PRId64 ", ", t->rows);
        fprintf(f, "%" PRId64 "], \"data_offsets\": [%" PRIu64 ", %" PRIu64 "]}", t->cols, 2 * t->at,
                2 * (t->at + values_of(t)));
    }
    fputc('}', f);
    for (long at = ftell(f); at % 8 != 0; at++) fputc(' ', f);
    if (fclose(f) != 0) {
        free(text);
        return NULL;
    }
    for (int i = 0; i < 8; i++) text[i] = (char)((uint64_t)(*bytes - 8) >> 8 * i & 0xff);
    return text;
}

/* Reserves all space first, so that a full disk is detected before minutes have passed. If the file system
 * cannot tell, the writes fail later. */
static int reserve(int fd, uint64_t bytes) {
    if (fallocate(fd, 0, 0, (off_t)bytes) == 0) return 0;
    return errno == EOPNOTSUPP || errno == ENOSYS ? 0 : errno;
}

static int write_tensors(const char *path, const random_list *l, uint64_t seed, int n_thread) {
    size_t bytes = 0;
    char *header = make_header(l, &bytes);
    if (!header) return ENOMEM;
    job j = {.list = l,
             .seed = seed,
             .data = bytes,
             .fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)};
    int error = j.fd < 0 ? errno : reserve(j.fd, bytes + 2 * l->n_value);
    if (!error) error = write_all(j.fd, header, bytes, 0);
    if (!error) error = write_values(&j, n_thread);
    if (j.fd >= 0 && close(j.fd) != 0 && !error) error = errno;
    free(header);
    return error;
}

static int write_config(const char *path, const random_shape *shape) {
    FILE *f = fopen(path, "w");
    if (!f) return errno;
    shape->config(shape->sizes, f);
    const bool failed = ferror(f) != 0;
    return fclose(f) != 0 ? errno : failed ? EIO : 0;
}

bool random_checkpoint_write(const char *dir, const random_shape *shape, uint64_t seed, int n_thread) {
    char config[PATH], tensors[PATH];
    const int a = snprintf(config, sizeof config, "%s/config.json", dir);
    const int b = snprintf(tensors, sizeof tensors, "%s/model.safetensors", dir);
    int error = a < 0 || b < 0 || a >= PATH || b >= PATH ? ENAMETOOLONG : 0;
    random_list l = {.n = 0};
    shape->list(shape->sizes, &l);
    if (!error && l.failed) error = ENOMEM;
    const bool named = !error;
    if (named) (void)mkdir(dir, 0777); /* may exist already; otherwise opening the files fails */
    if (!error) error = write_config(config, shape);
    if (!error) error = write_tensors(tensors, &l, seed, n_thread);
    if (error) {
        fprintf(stderr, "weir-random-model: %s: %s shape, %.1f MiB: %s\n", dir, shape->name,
                (double)l.n_value / 0x1p19, strerror(error));
        if (named) (void)unlink(tensors);
        if (named) (void)unlink(config);
    } else {
        printf("%s: %s %s shape, %.1f MiB\n", dir, shape->family, shape->name, (double)l.n_value / 0x1p19);
    }
    random_list_free(&l);
    return !error;
}

/* weir-kernel-bench: times single ops of a backend and compares their results with the CPU truth. */
#include <stdlib.h>
#include <string.h>

#include "bench/kernels/bench.h"

static const char usage[] =
    "usage: weir-kernel-bench [--device cpu[:ISA]|cuda[:N]] [--only GROUP] [--rows LIST]\n"
    "                         [--samples N] [--csv FILE] [--tiny]\n"
    "\n"
    "Times single ops and checks their results against the portable CPU ops.\n"
    "  --device D   cuda (default) or cpu; of cpu, the instruction set (weir --isa), else the best\n"
    "  --only G     copy, latency, loop, accept, attention, small, linear or quant, or several with commas;\n"
    "               the copy is measured in any case\n"
    "  --rows LIST  of products: those of their row counts that are listed, with commas\n"
    "  --samples N  timed samples of each case, 1 to 1000 (default 100)\n"
    "  --csv FILE   rows for programs\n"
    "  --tiny       small shapes and few samples: shows that it runs, not how fast\n"
    "Exit status: 0, 1 for a wrong or failed row, 2 for wrong usage, 3 without the device.\n";

enum { EXIT_WRONG = 1, EXIT_USAGE = 2, EXIT_DEVICE = 3, MAX_INPUTS = 36864 }; /* of any product here */

typedef struct group {
    const char *name;
    void (*run)(kb *k);
} group;

/* In the order in which they run: what is asked for first, and the long ones last. */
static const group groups[] = {{"latency", kb_latencies},   {"loop", kb_loop},   {"accept", kb_accept},
                               {"attention", kb_attention}, {"small", kb_small}, {"linear", kb_linear},
                               {"quant", kb_quant}};
enum { N_GROUP = sizeof groups / sizeof groups[0] };

typedef struct options {
    const char *device, *only, *rows, *csv;
    int samples;
    bool tiny;
} options;

static int complain(const char *what, const char *value) {
    fprintf(stderr, "weir-kernel-bench: %s: %s\n%s", what, value, usage);
    return EXIT_USAGE;
}

/* Whether every name of a list is one of a group. */
static bool known_groups(const char *list) {
    size_t known = kb_lists(list, "copy") ? 1 : 0, n = 1;
    for (int i = 0; i < N_GROUP; i++) known += kb_lists(list, groups[i].name);
    for (const char *at = list; (at = strchr(at, ',')); at++) n++;
    return known == n;
}

static int parse(int argc, char **argv, options *o) {
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        if (strcmp(a, "--tiny") == 0) {
            o->tiny = true;
            continue;
        }
        if (strchr(a, ',') || !kb_lists("--device,--only,--rows,--csv,--samples", a))
            return complain("unknown option", a);
        if (++i == argc) return complain("value missing", a);
        if (strcmp(a, "--device") == 0) o->device = argv[i];
        if (strcmp(a, "--only") == 0) o->only = argv[i];
        if (strcmp(a, "--rows") == 0) o->rows = argv[i];
        if (strcmp(a, "--csv") == 0) o->csv = argv[i];
        if (strcmp(a, "--samples") == 0) {
            char *end;
            const long n = strtol(argv[i], &end, 10);
            if (*end || n < 1 || n > KB_SAMPLES) return complain("samples outside [1, 1000]", argv[i]);
            o->samples = (int)n;
        }
    }
    if (o->only && !known_groups(o->only)) return complain("unknown group, or one twice", o->only);
    if (o->rows && (!*o->rows || o->rows[strspn(o->rows, "0123456789,")]))
        return complain("--rows: expected numbers with commas", o->rows);
    return 0;
}

static weir_status open_device(const char *device, weir_backend **out, weir_err *err) {
    if (strcmp(device, "cpu") == 0) return weir__backend_cpu_open(out, 2, weir__isa_best(), err);
    if (strncmp(device, "cpu:", 4) == 0) {
        const int isa = weir__isa_parse(device + 4);
        if (isa < 0) return weir_fail(err, WEIR_EINVAL, "unknown instruction set %s", device + 4);
        return weir__backend_cpu_open(out, 2, (weir_isa)isa, err);
    }
    char *end = NULL;
    long index = 0;
    if (strncmp(device, "cuda:", 5) == 0)
        index = strtol(device + 5, &end, 10);
    else if (strcmp(device, "cuda") != 0)
        return weir_fail(err, WEIR_EINVAL, "unknown device %s", device);
    if (end && (end == device + 5 || *end || index < 0 || index > 1024))
        return weir_fail(err, WEIR_EINVAL, "unknown device %s", device);
    return weir__backend_cuda_open(out, (int)index, err);
}

/* For any op here; before recordings, which keep the address of the scratch. */
static size_t scratch_floats(const kb *k) {
    return k->be->device ? (size_t)16 << 20 : weir__linear_scratch_floats(MAX_INPUTS);
}

static void run(kb *k, const options *o) {
    printf("device %s (%s), median of %d samples\n", k->be->name, k->be->about, k->samples);
    kb_print_header(k);
    if (kb_measure_copy(k) != WEIR_OK) return;
    for (int i = 0; i < N_GROUP; i++)
        if (!o->only || kb_lists(o->only, groups[i].name)) groups[i].run(k);
    printf("%d rows, %d wrong, %d failed\n", k->n_row, k->n_wrong, k->n_failed);
}

int main(int argc, char **argv) {
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(usage, stdout);
        return 0;
    }
    options o = {.device = "cuda"};
    const int rc = parse(argc, argv, &o);
    if (rc) return rc;
    kb k = {.tiny = o.tiny,
            .rows = o.rows,
            .samples = o.samples ? o.samples
                       : o.tiny  ? 3
                                 : 100,
            .rng = 1,
            .rotate = o.tiny ? (size_t)1 << 14 : (size_t)256 << 20};
    weir_err err = {{0}};
    weir_status s = weir__backend_cpu_open(&k.truth, 1, WEIR_ISA_PORTABLE, &err);
    if (s == WEIR_OK) s = weir__backend_reserve(k.truth, weir__linear_scratch_floats(MAX_INPUTS));
    if (s == WEIR_OK) s = open_device(o.device, &k.be, &err);
    if (s == WEIR_OK) s = weir__backend_reserve(k.be, scratch_floats(&k));
    if (s != WEIR_OK) {
        fprintf(stderr, "weir-kernel-bench: %s\n", err.text[0] ? err.text : weir_status_str(s));
        weir__backend_close(k.be);
        weir__backend_close(k.truth);
        return s == WEIR_EINVAL ? EXIT_USAGE : EXIT_DEVICE;
    }
    if (o.csv && !(k.csv = fopen(o.csv, "w"))) {
        complain("cannot write", o.csv);
    } else {
        run(&k, &o);
    }
    const bool wrong = (o.csv && !k.csv) || k.n_wrong > 0 || k.n_failed > 0;
    if (k.csv && fclose(k.csv) != 0) fprintf(stderr, "weir-kernel-bench: cannot write %s\n", o.csv);
    weir__backend_close(k.be);
    weir__backend_close(k.truth);
    return wrong ? EXIT_WRONG : 0;
}

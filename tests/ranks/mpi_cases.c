/* The cases of comm_cases.h over MPI: mpirun -np N mpi_cases. Exit status 1 and a line on each rank that
 * found something wrong. Or mpi_cases text: a pair for the program, see mpi.sh. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/comm/module.h"
#include "tests/host/pairs/text_model.h"
#include "tests/ranks/comm_cases.h"

/* Exchanges of a backend that is `opened`. */
static int exchanges(weir_comm *c, weir_backend *be, weir_status opened, const char *what) {
    static found f;
    weir_err err = {""};
    f = (found){0};
    if (opened == WEIR_OK) opened = be->exchange->join(be, c, EXCHANGE_FLOATS, &err);
    if (opened != WEIR_OK) {
        fprintf(stderr, "rank %d, %s: %s\n", c->rank, what, err.text);
        return 1;
    }
    for (int i = 0; i < EXCHANGE_CASES; i++) exchange_cases[i].fn(&f, be);
    if (f.wrong) fprintf(stderr, "rank %d, %s: %d wrong\n", c->rank, what, f.wrong);
    be->exchange->leave(be);
    weir__backend_close(be);
    return f.wrong;
}

/* Devices of the runner, whose processes open each other's memory. */
static int both_backends(weir_comm *c) {
    weir_backend *be = NULL;
    weir_status s = weir__backend_cpu_open(&be, 1, WEIR_ISA_PORTABLE, NULL);
    const int wrong = exchanges(c, be, s, "cpu");
    s = weir__backend_cuda_open(&be, c->rank, NULL);
    return wrong + exchanges(c, be, s, "device");
}

/* A pair of two vocabularies, for the program; its directories on a line. */
static int write_text_pair(void) {
    static const text_side side[2] = {{"tiny_qwen2", false, 0.3f, 0, 0},
                                      {"tiny_smollm", false, 0.3f, 24, 1500}};
    for (int i = 0; i < 2; i++) {
        char *dir = text_model_write(&side[i]);
        printf(i ? " %s\n" : "%s", dir);
        free(dir);
    }
    return 0;
}

int main(int argc, char **argv) {
    weir_comm *c = NULL;
    weir_err err = {""};
    if (argc > 1 && strcmp(argv[1], "text") == 0) return write_text_pair();
    if (weir__comm_mpi_open(&c, 60.0, &err) != WEIR_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    int wrong = 0;
    const int rank = c->rank;
    for (int i = 0; i < COMM_CASES; i++) {
        static found f;
        f = (found){0};
        c->gathered = c->bytes = 0; /* cases count their own */
        comm_cases[i].fn(&f, c);
        if (f.wrong) fprintf(stderr, "rank %d: %s: %d wrong\n", rank, comm_cases[i].name, f.wrong);
        wrong += f.wrong;
    }
    wrong += both_backends(c);
    weir__comm_close(c);
    return wrong > 0;
}

#include "host/wire/nearest.h"

#include <string.h>

#include "host/weir.h"

/* Edit distance of two short names; longer ones are cut, which only makes them look nearer. */
static int distance(const char *a, const char *b) {
    enum { CAP = 40 };
    int row[CAP + 1];
    int la = (int)strnlen(a, CAP), lb = (int)strnlen(b, CAP);
    for (int j = 0; j <= lb; j++) row[j] = j;
    for (int i = 1; i <= la; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= lb; j++) {
            int change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            int best = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            row[j] = change < best ? change : best;
        }
    }
    return row[lb];
}

void wire_nearest_try(wire_nearest *n, const char *name) {
    if (!name) return;
    const int d = distance(n->word, name);
    if (n->best && d >= n->distance) return;
    n->best = name;
    n->distance = d;
}

const char *wire_nearest_rule(const char *word) {
    wire_nearest n = {.word = word};
    for (int i = 0; i < WEIR_RULE_COUNT; i++) wire_nearest_try(&n, weir_rule_facts((weir_rule)i)->name);
    return n.best;
}

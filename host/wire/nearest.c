#include "host/wire/nearest.h"

#include <stdio.h>
#include <string.h>

#include "host/weir.h"

enum { CAP = 40 };

/* Edit distance of two short names; longer ones are cut, which only makes them look nearer. */
static int distance(const char *a, const char *b) {
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

void wire_nearest_rule(wire_nearest *n) {
    for (int i = 0; i < WEIR_RULE_COUNT; i++) wire_nearest_try(n, weir_rule_facts((weir_rule)i)->name);
}

const char *wire_nearest_hint(wire_nearest *n) {
    const int half = (int)strnlen(n->word, CAP) / 2;
    if (!n->best || n->distance > (half > 1 ? half : 1)) return "";
    snprintf(n->hint, sizeof n->hint, "; the nearest is %s%s", n->dashes ? n->dashes : "", n->best);
    return n->hint;
}

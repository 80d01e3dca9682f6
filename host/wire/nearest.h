#ifndef WEIR_HOST_WIRE_NEAREST_H
#define WEIR_HOST_WIRE_NEAREST_H

/* The name nearest to a word that was mistyped. */
typedef struct wire_nearest {
    const char *word, *best; /* best: NULL until a name was tried; both borrowed */
    int distance;            /* edits from word to best */
} wire_nearest;

void wire_nearest_try(wire_nearest *n, const char *name); /* NULL is passed over */
const char *wire_nearest_rule(const char *word);

#endif /* WEIR_HOST_WIRE_NEAREST_H */

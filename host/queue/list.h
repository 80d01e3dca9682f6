#ifndef WEIR_HOST_QUEUE_LIST_H
#define WEIR_HOST_QUEUE_LIST_H

#include <stdbool.h>
#include <stddef.h>

/* Rings of nodes inside of what they link; a node that is in none is its own. */
typedef struct weir_node {
    struct weir_node *prev, *next;
} weir_node;

/* The `type` whose `field` the node is. */
#define WEIR_NODE_OF(node, type, field) ((type *)(void *)((char *)(node)-offsetof(type, field)))

static inline void weir__node_init(weir_node *n) { n->prev = n->next = n; }

static inline bool weir__node_alone(const weir_node *n) { return n->next == n; }

static inline void weir__node_insert(weir_node *n, weir_node *before) {
    n->prev = before->prev;
    n->next = before;
    n->prev->next = before->prev = n;
}

static inline void weir__node_remove(weir_node *n) {
    n->prev->next = n->next;
    n->next->prev = n->prev;
    weir__node_init(n);
}

#endif /* WEIR_HOST_QUEUE_LIST_H */

#ifndef WEIR_HOST_SERVE_PAGE_PAGE_H
#define WEIR_HOST_SERVE_PAGE_PAGE_H

#include <stdbool.h>
#include <stddef.h>

/* The web page: one file, in the program since it was built, with what a server says about it. */
typedef struct serve_page {
    const char *bytes; /* UTF-8; not zero-terminated */
    size_t length;
    const char *type; /* of Content-Type */
    const char *etag; /* with its quotes */
    const char *csp;  /* of Content-Security-Policy: the page's own script and style, and nothing else */
} serve_page;

const serve_page *serve_page_get(void);

/* Whether If-None-Match (NULL: none was sent) names this page: then the answer is 304 without a body. */
bool serve_page_known(const char *if_none_match);

#endif /* WEIR_HOST_SERVE_PAGE_PAGE_H */

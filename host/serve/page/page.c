#include "host/serve/page/page.h"

#include <string.h>

#define BLANKS " \t"

/* The next entity tag of a list, without a W/ before it: If-None-Match compares weakly. NULL: there is none,
 * or the rest is no list. */
static const char *next_tag(const char **list, size_t *n) {
    const char *p = *list + strspn(*list, BLANKS ",");
    if (strncmp(p, "W/", 2) == 0) p += 2;
    if (*p != '"') return NULL;
    const char *end = strchr(p + 1, '"');
    if (!end) return NULL;
    *list = end + 1;
    *n = (size_t)(end + 1 - p);
    return p;
}

bool serve_page_known(const char *if_none_match) {
    if (!if_none_match) return false;
    const char *list = if_none_match + strspn(if_none_match, BLANKS);
    if (*list == '*') return list[1 + strspn(list + 1, BLANKS)] == '\0';
    const char *own = serve_page_get()->etag, *tag;
    size_t n = 0;
    while ((tag = next_tag(&list, &n)) != NULL)
        if (strlen(own) == n && memcmp(own, tag, n) == 0) return true;
    return false;
}

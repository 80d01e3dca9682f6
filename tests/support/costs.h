#ifndef WEIR_TESTS_SUPPORT_COSTS_H
#define WEIR_TESTS_SUPPORT_COSTS_H

/* What gamma auto goes by where engines are compared: a measured table would be another one in each. Programs
 * that tests start have it from WEIR_COSTS (root.c). */
#define TEST_COSTS "0.125:1.125,1.25,1.375"

#endif /* WEIR_TESTS_SUPPORT_COSTS_H */

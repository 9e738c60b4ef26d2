// The kernel of lanes.cpp with AVX2 alone: what a CPU without VNNI runs, for tests on one that has it.

#if defined(__x86_64__)
#pragma GCC target("no-avx512f")
#endif
#define WITHOUT_VNNI
#define run_lanes run_lanes_avx2
#define lanes lanes_avx2
#define vnni vnni_avx2

#include "lanes.cpp"

// The kernel of lanes.cpp without VNNI: what a CPU without it runs, for tests on one that has it.

#define WITHOUT_VNNI
#define run_lanes run_lanes_avx2
#define lanes lanes_avx2
#define vnni vnni_avx2

#include "lanes.cpp"

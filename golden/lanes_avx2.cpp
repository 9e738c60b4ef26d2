// The kernel of lanes.cpp as a CPU with AVX2 and no more has it, for tests on one that has more. It is compiled
// without AVX-512 (golden/native.py).

#define WITHOUT_VNNI
#define run_lanes run_lanes_avx2
#define lanes lanes_avx2
#define vnni vnni_avx2

#include "lanes.cpp"

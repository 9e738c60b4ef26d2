// As fatal.cpp, for a testbench: the verdict, and the end of the process.

#include <cstdio>
#include <cstdlib>

void vl_fatal(const char* file, int line, const char*, const char* message) {
    std::fflush(stdout);
    std::fprintf(stderr, "FAILED: %s:%d: %s\n", file ? file : "", line, message);
    std::exit(1);
}

// What Verilator calls when a simulation cannot go on, for example because its logic does not
// settle. Verilator's own function ends the process; this one throws. Built with VL_USER_FATAL.

#include <stdexcept>
#include <string>

void vl_fatal(const char* file, int line, const char*, const char* message) {
    std::string where;
    if (file && *file) where = std::string(file) + ":" + std::to_string(line) + ": ";
    throw std::runtime_error(where + message);
}

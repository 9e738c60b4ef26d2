/* The driver with callbacks for bus access: a bench makes each access a transaction. */
#include <stdint.h>

static uint32_t (*bus_read)(uintptr_t);
static void (*bus_write)(uintptr_t, uint32_t);

void wordline_bus(uint32_t (*read)(uintptr_t), void (*write)(uintptr_t, uint32_t)) {
    bus_read = read;
    bus_write = write;
}

#define WORDLINE_READ(address) bus_read(address)
#define WORDLINE_WRITE(address, value) bus_write(address, value)

#include "wordline.c"

/* Bare-metal driver of a Wordline accelerator: C99, no library, no memory of its own.
 *
 * Registers and load window are at `base`, as wordline_regs.h says, which is made with the design.
 * x goes in, and results come out, over AXI4-Stream: that is a DMA's task, and not this driver's.
 */
#ifndef WORDLINE_H
#define WORDLINE_H

#include <stddef.h>
#include <stdint.h>

#include "wordline_regs.h"

/* How a word of the bus is read and written. Define both to do it otherwise. */
#ifndef WORDLINE_READ
#define WORDLINE_READ(address) (*(volatile uint32_t *)(address))
#define WORDLINE_WRITE(address, value) (*(volatile uint32_t *)(address) = (value))
#endif

enum wordline_result {
    WORDLINE_OKAY = 0,
    WORDLINE_NOTHING_THERE, /* no accelerator at this address */
    WORDLINE_OTHER_VERSION, /* its register map is not the driver's */
    WORDLINE_OTHER_DESIGN,  /* it is not the design that wordline_regs.h was made with */
    WORDLINE_STILL_BUSY,    /* sequences were under way all the time; nothing was loaded */
    WORDLINE_OUT_OF_RANGE,  /* an address that the load map does not have; nothing was loaded */
    WORDLINE_NOT_LOADED,    /* the load was cut off, by a reset or by another's access */
    WORDLINE_CHECK_FAILED   /* words are missing, changed or in another order: load it again */
};

/* One word of an image: image.bin is an array of these, little-endian. */
struct wordline_word {
    uint32_t address; /* in the load map */
    uint32_t data;
};

/* All counters, in the order of the registers. Each wraps at 2^32. */
struct wordline_counters {
    uint32_t cycles, busy_cycles, steps, sequences, input_stalls, input_waits, output_stalls;
};

/* Is the accelerator of wordline_regs.h at `base`? */
enum wordline_result wordline_check(uintptr_t base);

/* Load a program; of no words, nothing. The last word of an image is its checksum, which the
 * accelerator compares with the words that came; words without one are loaded unchecked. It waits until no sequence is under way, for `patience` reads
 * of the status at the most; no sequence begins before it is done, so each is computed with the
 * numbers of one load. After WORDLINE_STILL_BUSY the request still has its turn: no sequence begins
 * until it has come and gone, with nothing loaded. */
enum wordline_result wordline_load(uintptr_t base, const struct wordline_word *image, size_t count,
                                   uint32_t patience);

/* Has a program been loaded since the last reset, whole? One from before it is still there, but a
 * reset may have cut its load off. */
int wordline_loaded(uintptr_t base);

/* Is a sequence under way? */
int wordline_busy(uintptr_t base);

/* Which events raise the interrupt: an OR of WORDLINE_IRQ_ENABLE_... */
void wordline_enable(uintptr_t base, uint32_t events);

/* What has happened since it was last asked: an OR of WORDLINE_IRQ_STATUS_...; it is cleared. */
uint32_t wordline_take_events(uintptr_t base);

void wordline_read_counters(uintptr_t base, struct wordline_counters *counters);
void wordline_clear_counters(uintptr_t base);

#endif

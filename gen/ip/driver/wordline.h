/* SPDX-License-Identifier: Apache-2.0
 *
 * Bare-metal driver of a Wordline accelerator: C99, no library, no memory of its own.
 *
 * Registers and load window start at `base`; wordline_regs.h, generated with the design, has the
 * offsets. x and results use AXI4-Stream: a DMA moves them, not this driver.
 */
#ifndef WORDLINE_H
#define WORDLINE_H

#include <stddef.h>
#include <stdint.h>

#include "wordline_regs.h"

/* Several accelerators in one program: compile wordline.c once with the header of each, and a prefix,
 * such as -DWORDLINE_PREFIX=vowels_; so are the files that use it. */
#ifdef WORDLINE_PREFIX
#define WORDLINE_JOIN_(prefix, name) prefix##name
#define WORDLINE_JOIN(prefix, name) WORDLINE_JOIN_(prefix, name)
#define wordline_check WORDLINE_JOIN(WORDLINE_PREFIX, wordline_check)
#define wordline_load WORDLINE_JOIN(WORDLINE_PREFIX, wordline_load)
#define wordline_verify WORDLINE_JOIN(WORDLINE_PREFIX, wordline_verify)
#define wordline_loaded WORDLINE_JOIN(WORDLINE_PREFIX, wordline_loaded)
#define wordline_busy WORDLINE_JOIN(WORDLINE_PREFIX, wordline_busy)
#define wordline_enable WORDLINE_JOIN(WORDLINE_PREFIX, wordline_enable)
#define wordline_take_events WORDLINE_JOIN(WORDLINE_PREFIX, wordline_take_events)
#define wordline_read_counters WORDLINE_JOIN(WORDLINE_PREFIX, wordline_read_counters)
#define wordline_clear_counters WORDLINE_JOIN(WORDLINE_PREFIX, wordline_clear_counters)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Bus access of one word. Define both macros to replace it. */
#ifndef WORDLINE_READ
#define WORDLINE_READ(address) (*(volatile uint32_t *)(address))
#define WORDLINE_WRITE(address, value) (*(volatile uint32_t *)(address) = (value))
#endif

enum wordline_result {
    WORDLINE_OKAY = 0,
    WORDLINE_NOTHING_THERE, /* no accelerator at this address */
    WORDLINE_OTHER_VERSION, /* the register map differs from the driver's */
    WORDLINE_OTHER_DESIGN,  /* wordline_regs.h belongs to another design */
    WORDLINE_STILL_BUSY,    /* a sequence was in flight at every poll; nothing was loaded */
    WORDLINE_OUT_OF_RANGE,  /* an address outside the load map; nothing was loaded */
    WORDLINE_NOT_LOADED,    /* a reset or another master interrupted the load */
    WORDLINE_CHECK_FAILED,  /* words are missing, changed or in another order: load it again */
    WORDLINE_OTHER_IMAGE,   /* the last load was not that of this image */
    WORDLINE_STILL_LOADING  /* the window was open at every poll after the last word */
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

/* Load a program of `count` words; 0 words load nothing. The last word of an image is its checksum,
 * which the accelerator compares with the words received. Words without a checksum are not checked.
 * Waits until no sequence is in flight, and in the end for the last word, each for at most `patience`
 * polls of the status. No sequence
 * begins before the load ends, so each sequence uses the numbers of one load. After
 * WORDLINE_STILL_BUSY the request stays pending: the window opens and closes once with nothing
 * loaded before the next sequence begins. */
enum wordline_result wordline_load(uintptr_t base, const struct wordline_word *image, size_t count,
                                   uint32_t patience);

/* Whether the last load was that of this image, word for word: compares the accelerator's signature of
 * the words it received with that of `image`, which is computed here. Takes one or two bus reads.
 * WORDLINE_NOT_LOADED: no load since the reset, or none that passed its check; WORDLINE_CHECK_FAILED:
 * the checksum at the end of `image` is not that of its words, so the copy in memory is damaged;
 * WORDLINE_OTHER_IMAGE: the accelerator received other words, or some were loaded later, or a load
 * window opened and closed without a word. The memories
 * themselves are not read: to restore bits that flipped in them, load the image again. */
enum wordline_result wordline_verify(uintptr_t base, const struct wordline_word *image,
                                     size_t count);

/* Whether a whole program was loaded since the last reset. An earlier program is kept over a reset,
 * but the reset may have interrupted its load. */
int wordline_loaded(uintptr_t base);

/* Whether a sequence is in flight. */
int wordline_busy(uintptr_t base);

/* Which events raise the interrupt: an OR of WORDLINE_IRQ_ENABLE_... */
void wordline_enable(uintptr_t base, uint32_t events);

/* What has happened since it was last asked: an OR of WORDLINE_IRQ_STATUS_...; it is cleared. */
uint32_t wordline_take_events(uintptr_t base);

void wordline_read_counters(uintptr_t base, struct wordline_counters *counters);
void wordline_clear_counters(uintptr_t base);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "wordline.h"

static uint32_t get(uintptr_t base, uint32_t offset) { return WORDLINE_READ(base + offset); }

static void put(uintptr_t base, uint32_t offset, uint32_t value) {
    WORDLINE_WRITE(base + offset, value);
}

enum wordline_result wordline_check(uintptr_t base) {
    if (get(base, WORDLINE_ID) != WORDLINE_ID_IS) return WORDLINE_NOTHING_THERE;
    if (get(base, WORDLINE_VERSION) != WORDLINE_VERSION_IS) return WORDLINE_OTHER_VERSION;
    if (get(base, WORDLINE_DESIGN) != WORDLINE_DESIGN_IS) return WORDLINE_OTHER_DESIGN;
    return WORDLINE_OKAY;
}

enum wordline_result wordline_load(uintptr_t base, const struct wordline_word *image, size_t count,
                                   uint32_t patience) {
    const uint32_t words = WORDLINE_LOAD_END - WORDLINE_LOAD_FIRST;
    uint32_t polls = patience;
    size_t n;
    for (n = 0; n < count; n++) /* unsigned: an address below the first one is far above */
        if (image[n].address - WORDLINE_LOAD_FIRST >= words) return WORDLINE_OUT_OF_RANGE;
    if (count == 0) return WORDLINE_OKAY;
    put(base, WORDLINE_CONTROL, WORDLINE_CONTROL_LOAD);
    do {
        if (polls-- == 0) {
            put(base, WORDLINE_CONTROL, 0);
            return WORDLINE_STILL_BUSY;
        }
    } while (!(get(base, WORDLINE_STATUS) & WORDLINE_STATUS_LOAD_OPEN));
    for (n = 0; n < count; n++) put(base, WORDLINE_WINDOW + 4u * image[n].address, image[n].data);
    put(base, WORDLINE_CONTROL, 0);
    /* The window closes as soon as the crossbars have taken the last word. */
    polls = patience;
    do {
        if (polls-- == 0) return WORDLINE_STILL_LOADING;
    } while (get(base, WORDLINE_STATUS) & WORDLINE_STATUS_LOAD_OPEN);
    if (get(base, WORDLINE_STATUS) & WORDLINE_STATUS_CHECK_FAILED) return WORDLINE_CHECK_FAILED;
    return wordline_loaded(base) ? WORDLINE_OKAY : WORDLINE_NOT_LOADED;
}

enum wordline_result wordline_verify(uintptr_t base, const struct wordline_word *image,
                                     size_t count) {
    uint32_t signature = 0xffffffffu;
    size_t n;
    if (!wordline_loaded(base)) return WORDLINE_NOT_LOADED;
    for (n = 0; n < count; n++) {
        uint32_t address = image[n].address, data = image[n].data;
        uint32_t fed_back = signature >> 31 ? 0x04c11db7u : 0u;
        if (address == WORDLINE_LOAD_CHECK) {
            if (data != signature) return WORDLINE_CHECK_FAILED;
        } else {
            signature = (signature << 1) ^ fed_back ^ data ^ (address << 16 | address >> 16);
        }
    }
    return get(base, WORDLINE_SIGNATURE) == signature ? WORDLINE_OKAY : WORDLINE_OTHER_IMAGE;
}

int wordline_loaded(uintptr_t base) {
    return (get(base, WORDLINE_STATUS) & WORDLINE_STATUS_LOADED) != 0;
}

int wordline_busy(uintptr_t base) {
    return (get(base, WORDLINE_STATUS) & WORDLINE_STATUS_BUSY) != 0;
}

void wordline_enable(uintptr_t base, uint32_t events) { put(base, WORDLINE_IRQ_ENABLE, events); }

uint32_t wordline_take_events(uintptr_t base) {
    uint32_t events = get(base, WORDLINE_IRQ_STATUS);
    put(base, WORDLINE_IRQ_STATUS, events);
    (void)get(base, WORDLINE_IRQ_STATUS); /* the write has arrived: the interrupt is low */
    return events;
}

void wordline_read_counters(uintptr_t base, struct wordline_counters *counters) {
    counters->cycles = get(base, WORDLINE_CYCLES);
    counters->busy_cycles = get(base, WORDLINE_BUSY_CYCLES);
    counters->steps = get(base, WORDLINE_STEPS);
    counters->sequences = get(base, WORDLINE_SEQUENCES);
    counters->input_stalls = get(base, WORDLINE_INPUT_STALLS);
    counters->input_waits = get(base, WORDLINE_INPUT_WAITS);
    counters->output_stalls = get(base, WORDLINE_OUTPUT_STALLS);
}

void wordline_clear_counters(uintptr_t base) {
    put(base, WORDLINE_COUNTERS, WORDLINE_COUNTERS_CLEAR);
}

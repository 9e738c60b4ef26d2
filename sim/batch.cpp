// The batch runner's inner loop: streams sequences through a Verilated chip, and records its outputs
// and probes. sim/batch.py calls it and interprets the numbers.
//
// sim/batch_header.py writes chip.h for each chip from its sidecar: the layouts of the streams'
// payloads, CLOCK_BEFORE (where the model keeps the previous value of its clock), and PROBES(X),
// which calls X(number, fields, valid, trace) for each probe.

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <stdexcept>

#include "Vtop.h"
#include "Vtop___024root.h"
#include "verilated.h"
#if VM_COVERAGE
#include "verilated_cov.h"
#endif

struct Field {  // of a payload: (gates, places) elements of `width` bits, from bit `low` on
    unsigned low, width;
    bool is_signed;
    unsigned gates, places;
};

#include "chip.h"

namespace {

enum Status : int32_t { DONE, HUNG, STOPPED, TOO_MANY, TOO_FEW, NOT_BUSY, STILL_BUSY, ENDED, FAILED };

struct Probe {      // where its records are stored
    int64_t units;  // units of a record, which has `places` units per beat
    int64_t steps;  // the record of a step is at pass * steps + step
    int32_t whole;  // 1: one record per pass; 0: one per step
    int64_t* cycles;     // (passes, steps, beats): cycle of each beat, from the end of loading
    int64_t beats;       // beats per record
    int32_t* fields[8];  // each (passes, steps, gates, units)
};

struct Job {
    int64_t reset;  // 0: go on from the state that the last job left
    // Words of the load bus, loaded first.
    const uint64_t* addresses;
    const uint64_t* data;
    int64_t words;
    // Sequences: x is (sequences, steps, inputs); lengths (sequences,).
    const int32_t* x;
    const int32_t* lengths;
    int64_t sequences, steps, inputs, votes;
    // Probability of a stall at a transfer, the longest one, its seed, limits in cycles, cycles
    // after the last output.
    double stall, accept;  // the latter at the output
    int64_t pause;
    uint64_t seed;
    int64_t load_limit, limit, linger;
    const volatile int32_t* stop;
    // Results.
    int32_t* output;  // `outputs` transfers of O_VALUE.places values
    int64_t outputs;
    int64_t every;  // 1: outputs of every step; 0: of the last step
    Probe* probes;
    volatile int64_t* given;  // output transfers so far
    int64_t* cycles;          // from the end of loading to the last output transfer
    int64_t* culprit;         // TOO_MANY, TOO_FEW: the probe, or -1 for the output
    char* message;            // FAILED: why
    int64_t message_size;
};

constexpr unsigned WORDS = (MOST_BITS + 31) / 32 + 1;  // + 1: elements are read as 64 bits
using Bits = std::array<uint32_t, WORDS>;

template <class T> void put(T& port, const Bits& bits) {
    if constexpr (sizeof(T) > 4) {
        port = bits[0] | static_cast<uint64_t>(bits[1]) << 32;
    } else {
        port = static_cast<T>(bits[0]);
    }
}

template <std::size_t N> void put(VlWide<N>& port, const Bits& bits) {
    std::memcpy(port.data(), bits.data(), N * sizeof(uint32_t));
}

template <class T> void get(const T& port, Bits& bits) {
    const uint64_t value = port;
    std::memcpy(bits.data(), &value, sizeof value);
}

template <std::size_t N> void get(const VlWide<N>& port, Bits& bits) {
    std::memcpy(bits.data(), port.data(), N * sizeof(uint32_t));
}

void insert(Bits& bits, const Field& field, unsigned index, uint64_t value) {
    // Speed does not matter: a beat is packed once in many cycles.
    for (unsigned n = 0; n < field.width; ++n) {
        const unsigned bit = field.low + index * field.width + n;
        bits[bit / 32] |= static_cast<uint32_t>(value >> n & 1) << bit % 32;
    }
}

int32_t element(const Bits& bits, const Field& field, unsigned index) {
    const unsigned bit = field.low + index * field.width;
    uint64_t pair;
    std::memcpy(&pair, bits.data() + bit / 32, sizeof pair);
    const unsigned above = 64 - field.width;
    pair = pair >> bit % 32 << above;
    return static_cast<int32_t>(field.is_signed ? static_cast<int64_t>(pair) >> above
                                                : static_cast<int64_t>(pair >> above));
}

class Pauses {  // stalls of 1 to job.pause cycles, uniformly distributed
  public:
    Pauses(const Job& job, double chance, uint32_t stream) : chance(chance), longest(job.pause) {
        std::seed_seq seeds{static_cast<uint32_t>(job.seed), static_cast<uint32_t>(job.seed >> 32),
                            stream};
        random.seed(seeds);
    }
    int draw() {
        if (chance == 0 || (random() >> 11) * 0x1p-53 >= chance) return 0;
        return 1 + static_cast<int>(random() % longest);
    }
    uint64_t bits() { return random(); }

  private:
    double chance;
    uint64_t longest;
    std::mt19937_64 random;
};

// Drives a stream with stalls. next(bits) gives the next payload, or returns false at the end.
template <class Port, class Next> class Source {
  public:
    Source(Port& payload, CData& valid, const CData& ready, Pauses& pauses, Next next)
        : payload(payload), valid(valid), ready(ready), pauses(pauses), next(next) {
        valid = 0;
        advance();
    }
    bool over() const { return !more; }
    bool before() {  // before the edge: drive the ports; returns whether one has changed
        const bool changed = valid != offers;
        offers = valid;
        if (valid || !more) return changed;
        if (pause > 0) {
            --pause;
            return changed;
        }
        put(payload, bits);
        offers = valid = 1;
        return true;
    }
    bool moves() const { return valid && ready; }
    void after(bool moved) {
        if (!moved) return;
        valid = 0;
        advance();
    }

  private:
    void advance() {
        bits = {};
        more = next(bits);
        if (more) pause = pauses.draw();
    }
    Port& payload;
    CData& valid;
    const CData& ready;
    Pauses& pauses;
    Next next;
    Bits bits;
    bool more;
    CData offers = 1;  // `valid` at the last evaluation; at first, not known
    int pause = 0;
};

// Clear the model's memory that its clock was high. If no input has changed, the next rising edge
// then needs no evaluation with the clock low, which saves half of the evaluations. Returns false if
// this Verilator's models do not have that variable.
template <class Root>
auto forget_clock(Root& root, int)
    -> decltype(static_cast<void>(root.CLOCK_BEFORE), bool()) {
    root.CLOCK_BEFORE = 0;
    return true;
}

template <class Root> bool forget_clock(Root&, long) { return false; }

struct Place {  // where a probe's next beat belongs
    int64_t pass = 0, step = 0, unit = 0;
};

class Chip {
  public:
    Chip() : context(new VerilatedContext) {
        context->threads(1);
        context->fatalOnError(false);  // $stop and $fatal would end this process
        top.reset(new Vtop(context.get()));
    }
    ~Chip() {
        // Verilator looks up the context by thread; this thread may have run another chip last.
        Verilated::threadContextp(context.get());
        try {
            top->final();
        } catch (const std::runtime_error&) {  // of sim/fatal.cpp: nothing is left to compare
        }
        top.reset();
        Verilated::threadContextp(nullptr);
    }

    void write_coverage(const char* path) {
#if VM_COVERAGE
        context->coveragep()->write(path);
#else
        static_cast<void>(path);
#endif
    }

    int32_t run(const Job& job) {
        Verilated::threadContextp(context.get());
        stop = job.stop;
        if (job.reset) reset();
        top->o___05Fready = 0;
        const int32_t loading = load(job), status = loading ? loading : stream(job);
        return context->gotFinish() ? ENDED : status;
    }

  private:
    void low(bool changed = true) {
        if (!changed && forget_clock(*top->rootp, 0)) return;
        top->clk = 0;
        top->eval();
    }
    void high() {
        top->clk = 1;
        top->eval();
        ++cycle;
    }
    bool stopped() const { return cycle % 1024 == 0 && (*stop || context->gotFinish()); }

    void reset() {
        top->i___05Fvalid = top->load___05Fvalid = top->o___05Fready = 0;
        for (const int level : {1, 0}) {
            top->rst = level;
            low();
            high();
        }
    }

    int32_t load(const Job& job) {
        int64_t n = 0;
        Pauses pauses(job, job.stall, 1);
        auto next = [&](Bits& bits) {
            if (n == job.words) return false;
            insert(bits, LOAD_ADDRESS, 0, job.addresses[n]);
            insert(bits, LOAD_DATA, 0, job.data[n]);
            insert(bits, LOAD_LAST, 0, ++n == job.words);
            return true;
        };
        Source source(top->load___05Fpayload, top->load___05Fvalid, top->load___05Fready, pauses,
                      next);
        for (const int64_t begun = cycle; !source.over();) {
            if (stopped()) return STOPPED;
            if (cycle - begun > job.load_limit) return HUNG;
            low(source.before());
            const bool moved = source.moves();
            high();
            source.after(moved);
        }
        return DONE;
    }

    int32_t stream(const Job& job) {
        Pauses pauses(job, job.stall, 0), accepting(job, job.accept, 2);
        int64_t sequence = 0, step = 0, input = 0;
        auto next = [&](Bits& bits) {
            if (sequence == job.sequences) return false;
            const int32_t* vector = job.x + (sequence * job.steps + step) * job.inputs;
            const bool last = step == job.lengths[sequence] - 1;
            insert(bits, I_LAST, 0, last);
            for (unsigned place = 0; place < I_CODES.places; ++place, ++input) {
                // Padding of the last beat is random.
                insert(bits, I_CODES, place,
                       input < job.inputs ? vector[input] : static_cast<int64_t>(pauses.bits()));
            }
            if (input >= job.inputs) {
                input = 0;
                ++step;
                if (last) ++sequence, step = 0;
            }
            return true;
        };
        Source source(top->i___05Fpayload, top->i___05Fvalid, top->i___05Fready, pauses, next);
        std::array<Place, PROBE_COUNT> places{};
        const Vtop___024root& root = *top->rootp;
        Bits bits{};
        int64_t given = 0, pause = accepting.draw();
        const int64_t begun = cycle;
        // Sequences that have begun to come in and that have gone out, and the transfers that are
        // left of the one on its way.
        int64_t in = 0, in_left = 0, out = 0, out_left = 0, total = 0;
        for (int64_t n = 0; n < job.sequences; ++n) total += job.lengths[n];
        const int64_t beats = (job.inputs + I_CODES.places - 1) / I_CODES.places;
        const int64_t outputs = job.outputs / (job.every ? total : job.sequences);
        // Go on for a while after the last output: nothing may follow.
        for (int64_t left = job.linger; left > 0;) {
            if (stopped()) return STOPPED;
            if (cycle - begun > job.limit) return HUNG;
            const CData accepts = pause == 0;
            const bool changed = source.before() || accepts != top->o___05Fready;
            top->o___05Fready = accepts;
            low(changed);
#define RECORD(number, fields, valid, trace)                                               \
    if (root.valid &&                                                                      \
        !record(job, number, fields, root.trace, places[number], bits, cycle - begun)) {   \
        *job.culprit = number;                                                             \
        return TOO_MANY;                                                                   \
    }
            PROBES(RECORD)
#undef RECORD
            if (in > out && !top->busy) return NOT_BUSY;
            const bool moved = source.moves();
            if (moved && in_left-- == 0) in_left = job.lengths[in++] * beats - 1;
            if (pause > 0) {
                --pause;
            } else if (top->o___05Fvalid) {
                if (given == job.outputs) {
                    *job.culprit = -1;
                    return TOO_MANY;
                }
                get(top->o___05Fpayload, bits);
                int32_t* to = job.output + given++ * O_VALUE.places;
                for (unsigned p = 0; p < O_VALUE.places; ++p) to[p] = element(bits, O_VALUE, p);
                *job.given = given;
                if (out_left == 0) out_left = outputs * (job.every ? job.lengths[out] : 1);
                if (--out_left == 0) ++out;
                pause = accepting.draw();
                *job.cycles = cycle + 1 - begun;
            }
            high();
            source.after(moved);
            left -= given == job.outputs;
        }
        if (top->busy) return STILL_BUSY;
        for (unsigned n = 0; n < PROBE_COUNT; ++n) {
            if (places[n].pass < job.sequences * job.votes) {
                *job.culprit = n;
                return TOO_FEW;
            }
        }
        return DONE;
    }

    template <class T, std::size_t N>
    static bool record(const Job& job, unsigned number, const std::array<Field, N>& fields,
                       const T& trace, Place& place, Bits& bits, int64_t cycle) {
        const Probe& probe = job.probes[number];
        if (place.pass == job.sequences * job.votes) return false;
        get(trace, bits);
        const int64_t row = place.pass * probe.steps + place.step, units = probe.units;
        const unsigned width = fields[0].places;
        probe.cycles[row * probe.beats + place.unit / width] = cycle;
        for (std::size_t n = 0; n < N; ++n) {
            const Field& field = fields[n];
            int32_t* to = probe.fields[n] + row * field.gates * units + place.unit;
            for (unsigned gate = 0; gate < field.gates; ++gate, to += units) {
                for (unsigned p = 0; p < width && place.unit + p < units; ++p) {
                    to[p] = element(bits, field, gate * width + p);
                }
            }
        }
        place.unit += width;
        if (place.unit < units) return true;
        place.unit = 0;
        const int64_t steps = probe.whole ? 1 : job.lengths[place.pass / job.votes];
        if (++place.step == steps) ++place.pass, place.step = 0;
        return true;
    }

    std::unique_ptr<VerilatedContext> context;
    std::unique_ptr<Vtop> top;
    const volatile int32_t* stop = nullptr;
    int64_t cycle = 0;
};

}  // namespace

#define EXPORTED extern "C" __attribute__((visibility("default")))
EXPORTED void* chip_new() {
    try {
        return new Chip;
    } catch (const std::runtime_error&) {
        return nullptr;
    }
}
EXPORTED void chip_delete(void* chip) { delete static_cast<Chip*>(chip); }
EXPORTED int32_t chip_coverage(void* chip, const char* path) {
    try {
        static_cast<Chip*>(chip)->write_coverage(path);
        return 1;
    } catch (const std::runtime_error&) {
        return 0;
    }
}
EXPORTED int32_t chip_run(void* chip, const Job* job) {
    try {
        return static_cast<Chip*>(chip)->run(*job);
    } catch (const std::runtime_error& error) {  // of sim/fatal.cpp
        std::snprintf(job->message, job->message_size, "%s", error.what());
        return FAILED;
    }
}

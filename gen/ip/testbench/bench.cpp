// Loads image.hex over AXI4-Lite, sends tb/stimulus.hex and compares the results with
// tb/expected.hex. Run it in the folder of the package:
//
//   verilator --cc --exe --build --prefix Vtop --top-module @TOP@ @NAME@.vlt -f @LIST@ tb/@NAME@_tb.cpp
//   obj_dir/Vtop
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>

#include "Vtop.h"

static Vtop top;
static std::ifstream expected;
static int results = 0, wrong = 0, idle = 0;

[[noreturn]] static void fail(const std::string& why) {
    std::cerr << "FAILED: " << why << std::endl;
    std::exit(1);
}

// Ports of more than 64 bits are arrays of words.
template <class Port> void put(Port& port, const std::string& hex) { port = std::stoull(hex, nullptr, 16); }
template <std::size_t N> void put(VlWide<N>& port, const std::string& hex) {
    for (std::size_t n = 0; n < N; n++) {
        const std::size_t high = hex.size() - 8 * n, low = high > 8 ? high - 8 : 0;
        port[n] = high && high <= hex.size() ? std::stoul(hex.substr(low, high - low), nullptr, 16) : 0;
    }
}
template <class Port> bool equal(const Port& a, const Port& b, const Port& mask) { return !((a ^ b) & mask); }
template <std::size_t N> bool equal(const VlWide<N>& a, const VlWide<N>& b, const VlWide<N>& mask) {
    for (std::size_t n = 0; n < N; n++)
        if ((a[n] ^ b[n]) & mask[n]) return false;
    return true;
}

// One clock cycle. A result that is transferred in it is compared.
static void tick() {
    if (++idle > @LIMIT@) fail("the design hangs; " + std::to_string(results) + " of @RESULTS@ results came");
    if (top.aresetn && top.m_axis_tvalid) {
        std::string last, mask_text, wanted_text;
        if (!(expected >> last >> mask_text >> wanted_text)) fail("more than @RESULTS@ results came");
        auto mask = top.m_axis_tdata, wanted = top.m_axis_tdata;
        put(mask, mask_text), put(wanted, wanted_text);
        const bool right = equal(top.m_axis_tdata, wanted, mask) && top.m_axis_tlast == (last == "1");
        if (!right && ++wrong) std::cerr << "result " << results << " differs, expected 0x" << wanted_text << "\n";
        results++;
    }
    top.aclk = 1, top.eval();
    top.aclk = 0, top.eval();
}

static void write(unsigned address, unsigned data) {
    idle = 0;
    top.s_axil_awaddr = address, top.s_axil_wdata = data;
    top.s_axil_awvalid = top.s_axil_wvalid = 1;
    while (top.s_axil_awvalid || top.s_axil_wvalid) {
        const bool aw = top.s_axil_awready, w = top.s_axil_wready;
        tick();
        if (aw) top.s_axil_awvalid = 0;
        if (w) top.s_axil_wvalid = 0;
        top.eval();
    }
    while (!top.s_axil_bvalid) tick();
    if (top.s_axil_bresp) fail("a write was answered with an error");
    tick();
}

static unsigned status() {
    top.s_axil_araddr = @STATUS@, top.s_axil_arvalid = 1, top.eval();
    while (!top.s_axil_arready) tick();
    tick();
    top.s_axil_arvalid = 0, top.eval();
    while (!top.s_axil_rvalid) tick();
    const unsigned found = top.s_axil_rdata;
    tick();
    return found;
}

int main() {
    std::ifstream image("image.hex"), stimulus("tb/stimulus.hex");
    expected.open("tb/expected.hex");
    if (!image || !stimulus || !expected) fail("run this in the package's folder");
    top.s_axil_wstrb = 15, top.s_axil_bready = top.s_axil_rready = top.m_axis_tready = 1;
    for (int n = 0; n < 4; n++) tick();
    top.aresetn = 1, tick();
    write(@CONTROL@, 1);
    while (!(status() >> @LOAD_OPEN@ & 1)) {}
    unsigned address, data;
    for (std::string line; std::getline(image, line);)
        if (std::sscanf(line.c_str(), "@%x %x", &address, &data) == 2) write(@WINDOW@u + 4 * address, data);
    write(@CONTROL@, 0);
    while (status() >> @LOAD_OPEN@ & 1) {}
    if (!(status() >> @LOADED@ & 1)) fail("the image's checksum is wrong");
    for (std::string last, x; stimulus >> last >> x; idle = 0, tick()) {
        put(top.s_axis_tdata, x), top.s_axis_tlast = last == "1", top.s_axis_tvalid = 1, top.eval();
        while (!top.s_axis_tready) tick();
    }
    top.s_axis_tvalid = 0, top.eval();
    while (results < @RESULTS@) tick();
    for (int n = 0; n < @LINGER@; n++) tick();
    if (wrong) fail(std::to_string(wrong) + " of @RESULTS@ results differ");
    std::cout << "PASSED: @RESULTS@ results equal" << std::endl;
}

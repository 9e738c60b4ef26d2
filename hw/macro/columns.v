// Columns of one lane of the crossbar model: cells in memory, charge of the sampled column.
//
// Ports and function are those of `Columns` in hw/macro/columns.py. Cells are 0 after power-up;
// there is no reset.
//
// Latency: CYCLES + 1 cycles from a sample to its charge.
// Throughput: one column every CYCLES cycles.
//
// Written by hand, because a simulator evaluates generated expressions in every cycle. Here it
// sees loops that run only for a sample, over arrays with one element per row, which a C++ compiler
// turns into vector instructions. It can do so only if loop variables are unsigned, and if array
// sizes are powers of two, so that no index needs a check.

`ifndef CROSSBAR_COLUMNS
`define CROSSBAR_COLUMNS

module crossbar_columns #(
    parameter ROWS = 2,
    parameter CODE_BITS = 2,         // bits of the value on a row, in two's complement
    parameter CYCLES = 1,            // cycles per sample in which the rows are driven
    parameter CONDUCTANCE_BITS = 1,  // bits of a device's conductance code
    parameter CHARGE_BITS = 8,
    parameter SELECT_BITS = 1,
    parameter ROW_BITS = 1
) (
    input clk,
    input sample,                               // strobe: read column `select`
    input [SELECT_BITS-1:0] select,
    input [ROWS*CODE_BITS-1:0] rows,            // valid for CYCLES cycles after `sample`
    input write,                                // strobe: write `write_cell`
    input [SELECT_BITS-1:0] write_select,       // its column, which must exist
    input [ROW_BITS-1:0] write_row,             // its row, which must exist
    input [2*CONDUCTANCE_BITS-1:0] write_cell,  // conductance codes, the positive device low
    output reg signed [CHARGE_BITS-1:0] charge
);

  localparam SELECTS = 1 << SELECT_BITS;
  localparam PLACES = 1 << ROW_BITS;
  localparam SIXTEENS = (ROWS + 15) / 16 * 16;
  localparam SUMMED = SIXTEENS < PLACES ? SIXTEENS : PLACES;  // missing rows have code 0
  localparam TOTAL_BITS = CHARGE_BITS > 32 ? CHARGE_BITS : 32;  // 32 is a simulator's native width

  // positive - negative of each cell
  reg signed [CONDUCTANCE_BITS:0] cells [0:SELECTS-1][0:PLACES-1];
  reg signed [CONDUCTANCE_BITS:0] column [0:PLACES-1];  // the sampled column
  reg [ROWS*CODE_BITS-1:0] seen;                        // `rows` of the last sum
  reg signed [31:0] codes [0:PLACES-1];                 // `seen`, row by row
  reg [$clog2(CYCLES+1)-1:0] left;                      // cycles left to accumulate

  function automatic signed [CHARGE_BITS-1:0] sum(input signed [CHARGE_BITS-1:0] start);
    reg [31:0] row;
    reg signed [TOTAL_BITS-1:0] total;
    begin
      total = 0;
      /*verilator unroll_disable*/
      for (row = 0; row < SUMMED; row = row + 1)
        total = total + codes[row[ROW_BITS-1:0]] * column[row[ROW_BITS-1:0]];
      sum = start + total[CHARGE_BITS-1:0];
    end
  endfunction

  task automatic unpack;
    reg [31:0] row;
    begin
      seen = rows;
      for (row = 0; row < ROWS; row = row + 1)
        codes[row[ROW_BITS-1:0]] = $signed(rows[row*CODE_BITS +: CODE_BITS]);
    end
  endtask

  task automatic read(input [SELECT_BITS-1:0] own);
    reg [31:0] row;
    begin
      /*verilator unroll_disable*/
      for (row = 0; row < SUMMED; row = row + 1)
        column[row[ROW_BITS-1:0]] = cells[own][row[ROW_BITS-1:0]];
    end
  endtask

  integer n, m;
  initial begin
    left = 0;
    charge = 0;
    seen = 0;
    for (m = 0; m < PLACES; m = m + 1) begin
      codes[m] = 0;
      column[m] = 0;
      for (n = 0; n < SELECTS; n = n + 1) cells[n][m] = 0;
    end
  end

  // Only this block uses `seen`, `codes` and `column`. The order matters: the sum is that of the last
  // sample, so it comes before the next column is read.
  always @(posedge clk) begin
    if (left != 0) begin
      if (rows != seen) unpack;
      charge <= sum(left == CYCLES ? 0 : charge);
    end
    left <= sample ? CYCLES : left == 0 ? 0 : left - 1;
    if (sample) read(select);
    if (write)
      cells[write_select][write_row] <= $signed({1'b0, write_cell[CONDUCTANCE_BITS-1:0]})
          - $signed({1'b0, write_cell[2*CONDUCTANCE_BITS-1:CONDUCTANCE_BITS]});
  end

endmodule

`endif

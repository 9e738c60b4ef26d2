// Columns of one lane of the crossbar model: cells in memory, charge of the sampled column.
//
// Ports and function are those of `Columns` in hw/macro/columns.py. Cells are 0 after power-up;
// there is no reset.
//
// Latency: CYCLES + 1 cycles from a sample to its charge.
// Throughput: one column every CYCLES cycles.
//
// Written by hand, because a simulator evaluates generated expressions in every cycle. Here it
// sees the sum as a loop that runs only for a sample.

`ifndef CROSSBAR_COLUMNS
`define CROSSBAR_COLUMNS

module crossbar_columns #(
    parameter ROWS = 2,
    parameter SELECTS = 2,
    parameter CODE_BITS = 2,         // bits of the value on a row, in two's complement
    parameter CYCLES = 1,            // cycles per sample in which the rows are driven
    parameter CONDUCTANCE_BITS = 1,  // bits of a device's conductance code
    parameter CHARGE_BITS = 8,
    parameter SELECT_BITS = 1,
    parameter ROW_BITS = 1,
    parameter GROUP = 2              // rows that a simulator unrolls at a time
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

  localparam CELL = 2 * CONDUCTANCE_BITS;  // the positive device in the lower half
  localparam GROUPS = (ROWS + GROUP - 1) / GROUP;
  localparam COLUMN = GROUPS * GROUP * CELL;
  localparam CODES = GROUPS * GROUP * CODE_BITS;
  localparam TOTAL_BITS = CHARGE_BITS > 32 ? CHARGE_BITS : 32;  // 32 is a simulator's native width

  reg [COLUMN-1:0] cells [0:SELECTS-1];
  reg [COLUMN-1:0] column;
  reg [$clog2(CYCLES+1)-1:0] left;  // cycles left to accumulate

  function automatic signed [CHARGE_BITS-1:0] sum(input [COLUMN-1:0] all, input [CODES-1:0] codes);
    integer group, row, code, positive, negative;
    reg signed [TOTAL_BITS-1:0] total;
    reg [GROUP*CELL-1:0] some;
    reg [GROUP*CODE_BITS-1:0] on_rows;
    begin
      total = 0;
      /*verilator unroll_disable*/
      for (group = 0; group < GROUPS; group = group + 1) begin
        some = all[group*GROUP*CELL +: GROUP*CELL];
        on_rows = codes[group*GROUP*CODE_BITS +: GROUP*CODE_BITS];
        /*verilator unroll_full*/
        for (row = 0; row < GROUP; row = row + 1) begin
          code = $signed(on_rows[row*CODE_BITS +: CODE_BITS]);
          positive = some[row*CELL +: CONDUCTANCE_BITS];
          negative = some[row*CELL + CONDUCTANCE_BITS +: CONDUCTANCE_BITS];
          total = total + code * (positive - negative);
        end
      end
      sum = total[CHARGE_BITS-1:0];
    end
  endfunction

  integer n;
  initial begin
    left = 0;
    charge = 0;
    column = 0;
    for (n = 0; n < SELECTS; n = n + 1) cells[n] = 0;
  end

  always @(posedge clk) begin
    left <= sample ? CYCLES : left == 0 ? 0 : left - 1;
    if (write) cells[write_select][write_row*CELL +: CELL] <= write_cell;
    if (sample) column <= cells[select];
    if (left != 0) charge <= (left == CYCLES ? 0 : charge) + sum(column, rows);
  end

endmodule

`endif

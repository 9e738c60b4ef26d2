// Loads image.hex over AXI4-Lite, sends tb/stimulus.hex and compares the results with
// tb/expected.hex. Run it in the folder of the package:
//
//   iverilog -g2012 -o tb/out -s @MODULE@_tb -f @LIST@ tb/@NAME@_tb.v && vvp -n tb/out
`timescale 1ns / 1ps
module @MODULE@_tb;
  localparam RESULTS = @RESULTS@, LIMIT = @LIMIT@, LINGER = @LINGER@;
  reg aclk = 0, aresetn = 0, awvalid = 0, wvalid = 0, arvalid = 0, x_valid = 0, x_last = 0;
  reg [@ADDRESS@-1:0] address = 0;
  reg [31:0] data = 0, status = 0;
  reg [@X_BITS@-1:0] x = 0;
  reg [@Y_BITS@-1:0] wanted, mask;
  reg [@X_BITS@-1:0] x_in;
  reg [31:0] data_in;
  reg [8*256:1] line;  // a comment of the image has the design's name
  reg aw, w, last, y_end;
  wire awready, wready, bvalid, arready, rvalid, x_ready, y_valid, y_last;
  wire [1:0] bresp;
  wire [31:0] rdata;
  wire [@Y_BITS@-1:0] y;
  integer image, stimulus, expected, read, at, results = 0, wrong = 0, idle = 0;

  @TOP@ dut (
    .aclk(aclk), .aresetn(aresetn), .irq(),
    .s_axil_awaddr(address), .s_axil_awprot(3'b0), .s_axil_awvalid(awvalid),
    .s_axil_awready(awready), .s_axil_wdata(data), .s_axil_wstrb(4'hf), .s_axil_wvalid(wvalid),
    .s_axil_wready(wready), .s_axil_bresp(bresp), .s_axil_bvalid(bvalid), .s_axil_bready(1'b1),
    .s_axil_araddr(address), .s_axil_arprot(3'b0), .s_axil_arvalid(arvalid),
    .s_axil_arready(arready), .s_axil_rdata(rdata), .s_axil_rresp(), .s_axil_rvalid(rvalid),
    .s_axil_rready(1'b1), .s_axis_tdata(x), .s_axis_tvalid(x_valid), .s_axis_tready(x_ready),
    .s_axis_tlast(x_last), .m_axis_tdata(y), .m_axis_tvalid(y_valid), .m_axis_tready(1'b1),
    .m_axis_tlast(y_last)
  );
  always #5 aclk = !aclk;

  task write_word(input integer where, input [31:0] value);
    begin
      idle = 0;
      address <= where[@ADDRESS@-1:0]; data <= value; awvalid <= 1; wvalid <= 1; aw = 0; w = 0;
      while (!aw || !w) begin
        @(posedge aclk);
        if (awready && !aw) begin aw = 1; awvalid <= 0; end
        if (wready && !w) begin w = 1; wvalid <= 0; end
      end
      while (!bvalid) @(posedge aclk);
      if (bresp != 0) $fatal(1, "FAILED: a write to 0x%0h was answered with %b", where, bresp);
    end
  endtask

  task read_status;
    begin
      address <= @STATUS@; arvalid <= 1;
      @(posedge aclk); while (!arready) @(posedge aclk);
      arvalid <= 0;
      while (!rvalid) @(posedge aclk);
      status = rdata;
    end
  endtask

  initial begin
    image = $fopen("image.hex", "r"); stimulus = $fopen("tb/stimulus.hex", "r");
    expected = $fopen("tb/expected.hex", "r");
    if (!image || !stimulus || !expected) $fatal(1, "FAILED: run this in the package's folder");
    repeat (4) @(posedge aclk);
    aresetn <= 1;
    @(posedge aclk);
    write_word(@CONTROL@, 1);
    read_status; while (!status[@LOAD_OPEN@]) read_status;
    read = $fgets(line, image);  // skip the comment line
    while ($fscanf(image, "@%h %h\n", at, data_in) == 2) write_word(@WINDOW@ + 4 * at, data_in);
    write_word(@CONTROL@, 0);
    read_status; while (status[@LOAD_OPEN@]) read_status;
    if (!status[@LOADED@]) $fatal(1, "FAILED: the image's checksum is wrong");
    while ($fscanf(stimulus, "%b %h\n", last, x_in) == 2) begin
      x <= x_in; x_last <= last; x_valid <= 1;
      @(posedge aclk); while (!x_ready) @(posedge aclk);
      idle = 0;
    end
    x_valid <= 0;
    while (results < RESULTS) @(posedge aclk);
    repeat (LINGER) @(posedge aclk);
    if (wrong != 0) $fatal(1, "FAILED: %0d of %0d results differ", wrong, RESULTS);
    $display("PASSED: %0d results equal", RESULTS);
    $finish;
  end

  always @(posedge aclk) begin
    idle = idle + 1;
    if (idle > LIMIT)
      $fatal(1, "FAILED: the design hangs; %0d of %0d results came", results, RESULTS);
  end

  always @(posedge aclk) if (aresetn && y_valid !== 0) begin
    read = $fscanf(expected, "%b %h %h\n", y_end, mask, wanted);
    if (read != 3) $fatal(1, "FAILED: more than %0d results came", RESULTS);
    if (((y ^ wanted) & mask) !== 0 || y_last !== y_end) begin
      wrong = wrong + 1;
      $display("result %0d: 0x%0h (last %b), expected 0x%0h (last %b)", results, y, y_last, wanted, y_end);
    end
    results = results + 1;
  end
endmodule

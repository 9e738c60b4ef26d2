"""Activity out of a VCD file: only what is counted, bit by bit."""

from gen import activity

VCD = """\
$timescale 1ps $end
 $scope module other $end
  $var wire 1 ! clk $end
  $var wire 1 " busy $end
 $upscope $end
 $scope module top $end
  $var wire 1 ! clk $end
  $var wire 1 " busy $end
  $scope module block $end
   $var wire 4 # x [3:0] $end
   $var wire 3 $ memory[1] [2:0] $end
   $var wire 4 # same [3:0] $end
  $upscope $end
 $upscope $end
$enddefinitions $end
#0
0!
0"
b1111 #
bxx1 $
#5
1!
b0000 #
#10
0!
1"
b0001 #
#15
1!
b0011 #
#20
0!
#25
1!
b0010 #
#30
0!
#35
1!
b101 $
#40
0!
0"
b1111 #
#45
1!
b0000 #
"""


def test_changes_are_counted_while_the_signal_is_1(tmp_path):
    path = tmp_path / "dump.vcd"
    path.write_text(VCD)
    found = activity.read(path, "top", "clk", "busy")
    assert found.cycles == 3
    # x is 0001 when it begins to count, then 0011, 0010, 0010 and, no longer counted, 1111.
    assert found.changes["block.x"] == [2, 1, 0, 0]
    assert found.high["block.x"] == [1, 2, 0, 0]
    assert found.changes["block.same"] == found.changes["block.x"]
    # What was unknown was 0.
    assert found.changes["block.memory[1]"] == [0, 0, 1]
    assert found.of("block.x", 0) == (2 / 3, 1 / 3)
    assert found.of("block.x", 4) is None and found.of("block.y", 0) is None
    assert not any("other" in name for name in found.changes)

"""What is not reached is told from what cannot be."""

from tests.reach import __main__ as reach


def test_a_statement_is_found_by_each_of_its_lines(tmp_path):
    path = tmp_path / "some.v"
    path.write_text("wire a;\nassign a = b ?\n  c :\n  d;\nassign e = f;\n")
    found = reach.statements(path)
    assert found[2] == found[3] == found[4] == "assign a = b ? c : d;"
    assert found[1] == "wire a;" and found[5] == "assign e = f;"


def test_a_branch_needs_a_reason():
    assert reach.reason("if (at_start) begin end") == "a branch that does nothing"
    assert reach.reason("if (rst) begin") is None


def test_a_saturation_is_known():
    text = "assign h_0 = (~sum[9] & |sum[8:7]) ? 8'h7f : (sum[9] & ~(&sum[8:7])) ? 8'h80 : sum[7:0]"
    assert reach.NARROWING.search(text)[1] == "h_0"


def test_a_percentage_is_not_rounded_up():
    assert reach.percent(9999, 10000) == 99.9 and reach.percent(5, 5) == 100

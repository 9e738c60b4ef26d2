"""Where what is made once for a user is kept, and folders that one process has for itself."""

import subprocess
import sys
from pathlib import Path

from golden import files


def test_the_cache_is_where_the_xdg_specification_says(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "_given", [])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert files.cache_dir() == tmp_path / "wordline"
    for value in ("", "relative/path"):  # to be ignored
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        monkeypatch.setenv("HOME", "/home/someone")
        assert files.cache_dir() == Path("/home/someone/.cache/wordline")
    files.set_cache_dir(tmp_path / "own")
    assert files.cache_dir() == tmp_path / "own"


def test_a_file_is_written_where_it_leads(tmp_path):
    """Of a path that the user named: a link stays, its target is replaced; a device is written."""
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("before")
    link.symlink_to(target)
    files.write_text(link, "after", follow=True)
    assert link.is_symlink() and target.read_text() == "after"
    files.write_text(Path("/dev/null"), "gone", follow=True)
    assert Path("/dev/null").is_char_device()
    files.check_output(Path("/dev/null"), "a result", [])
    assert sorted(tmp_path.iterdir()) == [link, target]
    files.write_text(link, "its own")  # a file that the user did not name replaces a link
    assert not link.is_symlink() and target.read_text() == "after"


def test_a_folder_is_for_one_process_at_a_time(tmp_path):
    """The second one waits, and is told so; a process may ask for what it holds."""
    code = (
        "import sys; from pathlib import Path; from golden import files\n"
        "with files.locked(Path(sys.argv[1]), 'check'): print('held')"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with files.locked(tmp_path), files.locked(tmp_path):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        other = subprocess.Popen(command, text=True, **pipes)
        assert "another check is under way; waiting for its end." in other.stderr.readline()
        assert other.poll() is None
    assert other.communicate()[0] == "held\n" and other.returncode == 0
    assert not list(tmp_path.iterdir())

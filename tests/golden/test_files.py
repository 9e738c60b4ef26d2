"""Where what is made once for a user is kept."""

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

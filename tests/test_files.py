"""Files are written whole, or what was there stays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simattn.text.files import refuse_unwritable, replacing

WINDOWS = os.name == "nt"


def test_a_file_appears_whole_under_its_name(tmp_path):
    """Until the block ends the old content is there; then the new one, with the old mode, and nothing beside it."""
    path = tmp_path / "x.json"
    path.write_text("old")
    path.chmod(0o640)
    with replacing(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert WINDOWS or path.stat().st_mode & 0o777 == 0o640
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, OSError(28, "No space left on device")])
def test_what_ends_early_leaves_what_was_there(tmp_path, error):
    """Ctrl-C, an error, a full disk: the old content stays, and no temporary file."""
    path = tmp_path / "x.json"
    path.write_text("old")

    def write():
        with replacing(path) as part:
            part.write_text("half")
            raise error

    with pytest.raises(error if isinstance(error, type) else OSError) as raised:
        write()
    if isinstance(error, OSError):
        assert str(raised.value) == f"{path} was not written: No space left on device"
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.skipif(WINDOWS, reason="Windows lets few users make links")
def test_a_link_is_written_through(tmp_path):
    """The file that a link leads to gets the content; the link stays a link."""
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with replacing(tmp_path / "link") as part:
        part.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


@pytest.mark.skipif(WINDOWS, reason="Windows has no such files")
def test_a_device_is_not_replaced(tmp_path):
    """A pipe, as /dev/null would be to one who may write to its folder: it stays what it is."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="pipe was not written: that is a device, not a file"), replacing(tmp_path / "pipe") as part:
        part.write_text("new")
    assert (tmp_path / "pipe").is_fifo()


def test_a_full_disk_loses_nothing(tmp_path):
    """A figure that the system refuses to write whole: one line, exit 2, the old figure as it was, and nothing beside it."""
    resource = pytest.importorskip("resource", reason="Windows has no limit on the size of a file")
    (tmp_path / "x.png").write_text("old")
    script = "from simattn.cli import main; main(['compare', '--n', '32', '--save', 'x.png'])"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "simattn: x.png was not written: File too large\n")
    assert "flash2" in done.stdout  # the table came first
    assert (tmp_path / "x.png").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]


def test_a_path_that_cannot_be_written_is_refused(tmp_path):
    """An empty name, a folder, no folder: each is named with the option."""
    (tmp_path / "folder.png").mkdir()
    for given, why in (
        ("", "give the name of a file"), (tmp_path / "folder.png", "that is a folder"), (tmp_path / "no" / "x.png", "there is no folder"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"^--save .*{why}"):
            refuse_unwritable(given, "--save")
    assert refuse_unwritable(tmp_path / "x.png", "--save") == tmp_path / "x.png"
    assert [p.name for p in tmp_path.iterdir()] == ["folder.png"]


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="Windows has no devices among its files")
def test_a_device_is_refused(tmp_path):
    """A link to a device is no file."""
    (tmp_path / "null.png").symlink_to("/dev/null")
    with pytest.raises(ValueError, match=r"^--save .*a device"):
        refuse_unwritable(tmp_path / "null.png", "--save")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="only Linux has a folder that takes no files even from root")
def test_a_folder_that_takes_no_files_is_refused():
    """The system's own word is in the error."""
    with pytest.raises(ValueError, match=r"^--save .*no file can be written there"):
        refuse_unwritable("/proc/x.png", "--save")


@pytest.mark.skipif(WINDOWS or os.geteuid() == 0, reason="root may write everywhere, and on Windows nobody is asked")
def test_permissions_are_asked_before(tmp_path):
    """A read-only file and a read-only folder are refused."""
    (tmp_path / "x.png").touch(mode=0o400)
    with pytest.raises(ValueError, match="read-only"):
        refuse_unwritable(tmp_path / "x.png", "--save")
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match="Permission denied"):
        refuse_unwritable(tmp_path / "y.png", "--save")

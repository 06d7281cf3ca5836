"""Recordings are found by table or by folder, and split the same way every time."""

from pathlib import Path

import pytest

from vocoder.clips import find_clips
from vocoder.errors import InvalidInput


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sixty files without a table, in two folders."""
    for index in range(60):
        path = tmp_path / "speech" / "ab"[index % 2] / f"{index:02}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "speech"


def test_a_folder_is_searched(folder: Path, tmp_path: Path) -> None:
    """A folder without a table gives all audio below it; an empty or missing one is refused."""
    assert len(find_clips(folder)) == 60
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match=r"holds no audio; .*\.flac"):
        find_clips(tmp_path / "empty")
    with pytest.raises(InvalidInput, match="not a folder"):
        find_clips(tmp_path / "missing")


def test_a_folder_is_split_by_name(folder: Path) -> None:
    """Every file is in exactly one of train and val, the same ones wherever the folder lies."""
    train, val = find_clips(folder, "train"), find_clips(folder, "val")
    assert sorted(train + val) == find_clips(folder)
    assert 1 <= len(val) <= 5
    moved = folder.rename(folder.parent / "moved")
    assert [path.name for path in find_clips(moved, "val")] == [path.name for path in val]
    with pytest.raises(InvalidInput, match=r"split .*no metadata\.tsv"):
        find_clips(moved, "test")


def test_a_data_set_is_filtered(tmp_path: Path) -> None:
    """A table of metadata gives the files of a split, flagged or not, from its folder `flac`."""
    rows = [
        "file\tsplit\tflags\ttext",
        'b.flac\ttest\t-\tHe said "no.',
        "a.flac\ttest\tnoisy\t-",
        "c.flac\ttrain\t-\t-",
    ]
    (tmp_path / "metadata.tsv").write_text("\n".join(rows))
    (tmp_path / "flac").mkdir()
    assert find_clips(tmp_path, "test") == [tmp_path / "flac" / "a.flac", tmp_path / "flac" / "b.flac"]
    assert find_clips(tmp_path, "test", flagged=False) == [tmp_path / "flac" / "b.flac"]
    assert len(find_clips(tmp_path)) == 3
    with pytest.raises(InvalidInput, match="no audio in split 'val'"):
        find_clips(tmp_path, "val")


def test_a_table_without_splits(tmp_path: Path) -> None:
    """A table whose files lie beside it and have no split can be taken whole, and only whole."""
    (tmp_path / "metadata.tsv").write_text("file\ttext\nhe/a.flac\tyes\n")
    assert find_clips(tmp_path) == [tmp_path / "he" / "a.flac"]
    with pytest.raises(InvalidInput, match=r"no column \['split'\]"):
        find_clips(tmp_path, "test")

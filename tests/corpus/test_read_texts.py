"""Texts from files in whatever encoding users have them."""

import pytest

from interp.core import InputError, UnavailableError
from interp.corpus import read_texts

TEXTS = ("Zoë said: “naïve” 🙂", "a second line", "日本語のテキスト")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_unicode_files_read_alike_with_and_without_a_mark(tmp_path, encoding):
    path = tmp_path / "texts.txt"
    path.write_bytes("\n".join(TEXTS).encode(encoding))
    assert read_texts(path) == TEXTS


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
def test_both_byte_orders_of_utf_16(tmp_path, mark):
    path = tmp_path / "texts.txt"
    path.write_bytes(
        mark + "\n".join(TEXTS).encode("utf-16-le" if mark[0] == 0xFF else "utf-16-be")
    )
    assert read_texts(path) == TEXTS


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_of_every_system_and_no_empty_ones(tmp_path, end):
    path = tmp_path / "texts.txt"
    path.write_bytes(end.join(["one", "", "  two  ", " ", "three", ""]).encode())
    assert read_texts(path) == ("one", "two", "three")


def test_a_separator_inside_a_text_does_not_cut_it(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("one\u2028still one\ntwo\x0cstill two\n", encoding="utf-8")
    assert read_texts(path) == ("one\u2028still one", "two\x0cstill two")


def test_one_line_without_an_end_is_one_text(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("only this", encoding="utf-8")
    assert read_texts(str(path)) == ("only this",)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_latin_1_names_the_line_and_the_byte(tmp_path, mark):
    path = tmp_path / "texts.txt"
    path.write_bytes(mark + "plain\nalso plain\ncafé au lait\n".encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8: line 3 holds byte 0xe9") as caught:
        read_texts(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\n \n\t\n", b"\xef\xbb\xbf"])
def test_a_file_without_text_is_refused(tmp_path, content):
    path = tmp_path / "texts.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match="holds no text"):
        read_texts(path)


def test_a_missing_file_or_a_folder_cannot_be_read(tmp_path):
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(UnavailableError, match="cannot read"):
            read_texts(path)

"""Keys out of a file."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from mailtrace.errors import RequestError
from mailtrace.keylist import bare, read_keys


def test_a_spreadsheets_own_file_or_an_archive_is_no_list(tmp_path: Path) -> None:
    path = tmp_path / "keys.xlsx"
    path.write_bytes(b"PK\x03\x04\x14\0\x06\0a\nb\n")
    with pytest.raises(RequestError, match="is no text; save the list as text or CSV"):
        read_keys(str(path))


def keys(folder: Path, data: str | bytes, column: str = "") -> tuple[str, ...]:
    path = folder / "keys"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_keys(str(path), column)


@pytest.mark.parametrize(
    "data",
    [
        "a@x\nb@y\n",
        "a@x\r\nb@y",
        "\n# a list\n  <a@x> \n\nb@y,\na@x\n",
        '"A" <a@x>\nBob Y <b@y>;\n',
        b"\xef\xbb\xbfa@x\nb@y\n",
        "a@x\nb@y\n".encode("utf-16"),
        "name,email\nAnna,a@x\nBob,b@y\n",
        "name;E-Mail\nAnna;a@x\nBob;b@y\n",
        'name\temail\n"Anna, A."\ta@x\nBob\tb@y\nshort\n',
        "a@x, b@y\n",
    ],
)
def test_keys_are_one_a_line_or_the_column_that_is_called_so(data: str | bytes, tmp_path: Path) -> None:
    assert keys(tmp_path, data) == ("a@x", "b@y")


def test_a_column_is_named_in_any_case(tmp_path: Path) -> None:
    assert keys(tmp_path, "email,Manager\na@x,m@x\n", "manager") == ("m@x",)
    assert keys(tmp_path, "who\na@x\n", "who") == ("a@x",)


@pytest.mark.parametrize(
    "data, column, said",
    [
        ("", "", "holds no key"),
        ("# nothing\n\n", "", "holds no key"),
        ("name,dept\nAnna,IT\n", "", "which column.*name, dept"),
        ("email,sender\na@x,b@y\n", "", "which column.*email, sender"),
        ("email,name\na@x,b\n", "emial", 'did you mean "email"'),
        ("email\n\n", "email", "holds no key"),
    ],
)
def test_what_holds_no_keys_is_a_wrong_request(data: str, column: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=said):
        keys(tmp_path, data, column)


def test_a_file_that_cannot_be_read_is_a_wrong_request(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nope", "a\0b"):
        with pytest.raises(RequestError, match="cannot be read"):
            read_keys(str(path))


def test_minus_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"a@x\n")))
    assert read_keys("-") == ("a@x",)


def test_bytes_of_any_encoding_are_keys_or_none(tmp_path: Path) -> None:
    assert keys(tmp_path, b"m\xfcller@x\n") == ("m\xfcller@x",)
    assert keys(tmp_path, b"a\x01b@x\n") == ("a b@x",)


@pytest.mark.parametrize("cell, key", [("<a=b+c@x>", "a=b+c@x"), ("<>", ""), ("4bcXyz1Rqpz9vZ", "4bcXyz1Rqpz9vZ")])
def test_what_stands_around_a_key_is_left_out(cell: str, key: str) -> None:
    assert bare(cell) == key

"""CSV files as people have them: read as what they hold, or refused in a line that says where and why."""

import io

import pandas as pd
import pytest

from tasks.csv_files import TableError, read_table

REVIEWS = pd.DataFrame({"text": ["a", "b"], "label": ["good", "bad"]})


def read(content: str | bytes, *wanted: str):
    content = content.encode() if isinstance(content, str) else content
    return read_table(content, wanted or ("text",), max_rows=1000, max_bytes=2**20)


def column(content: str | bytes, name: str = "text") -> list[str]:
    table = read(content)
    place = table.places({name: True})[name]
    return [cells[place] for _, cells in table.rows]


@pytest.mark.parametrize(
    "content",
    [
        "text\na\nb\n",
        "text\r\na\r\nb",
        "\ufefftext\na\nb\n",
        "TEXT\na\nb\n",
        '"text"\n"a"\n"b"\n',
        "text\n\na\n  \nb\n\n",
        "id;text\n1;a\n2;b\n",
        "id,text\n1,a\n2,b\n",
        "text,,\na,,\nb,,\n",
        "text;note\na\nb\n",
        "id\ttext\n1\ta\n2\tb\n",
        '"id"\t"text"\n"1"\t"a"\n"2"\t"b"\n',
        "sep=;\nid;text\n1;a\n2;b\n",
        "SEP=,\r\nid,text\r\n1,a\r\n2,b\r\n",
        '"sep=\t"\nid\ttext\n1\ta\n2\tb\n',
        "sep=|\nid|text\n1|a\n2|b\n",
        "sep=\t\nid\ttext\n1\ta\n2\tb\n",
        "sep=;;;\r\nid;text;note\r\n1;a;\r\n2;b;\r\n",
        "\n\nsep= ;\nid;text\n1;a\n2;b\n",
        "sep=;\n\ufefftext;id\na;1\nb;2\n",
        "\u200btext,id\na,1\nb,2\n",
        "id|text\n1|a\n2|b\n",
        "id, text\n1, a\n2, b\n",
        "id\ttext\n1\ta\n2\tb\n".encode("utf-16"),
        REVIEWS.to_csv(),
        REVIEWS.to_csv(sep="\t"),
        REVIEWS.to_csv(sep="|"),
        REVIEWS.set_index([REVIEWS.index, REVIEWS.index]).to_csv(),
        REVIEWS.to_csv(sep=";", index=False),
        "note,text,note\n1,a,2\n1,b,2\n",
    ],
)
def test_files_as_programs_write_them(content: str | bytes) -> None:
    assert column(content) == ["a", "b"]


def test_cells_keep_separators_quotes_and_lines() -> None:
    content = 'id,text\n1,"He said ""me"".\nTwice, truly; yes."\n'
    assert column(content) == ['He said "me".\nTwice, truly; yes.']
    assert column('id, text\n1, "He said ""me"", twice"\n') == ['He said "me", twice']
    assert column('id,text\n1, "me"\n') == [' "me"']
    # As programs write tabs that know of no quotes.
    assert column('text\tlabel\n"Great" film\tgood\nand 5" long\tbad\n') == ['"Great" film', 'and 5" long']
    assert column('text\tlabel\n"Great\tfilm"\tgood\n') == ["Great\tfilm"]


def test_an_index_has_a_name_and_the_lines_have_their_numbers() -> None:
    table = read('sep=;\n;text;;\n7;a;;\n\n8;"b\nb";;\n')
    assert table.header == ("index", "text")
    assert table.rows == ((3, ("7", "a")), (6, ("8", "b\nb")))
    assert read(",,text\n0,7,a\n").header == ("index", "index 2", "text")
    assert read("\n\nsep=;\n\ntext\na\n").rows == ((6, ("a",)),)
    assert read("note,text,Note\n1,a,2\n").header == ("note", "text", "Note 2")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"\xef\xbb\xbf \n", "the file is empty"),
        (b"\x0c\n", "the file is empty"),
        ("\u00a0".encode(), "the file is empty"),
        (b"text\n", "a header but no rows"),
        (b"text\n\n \n", "a header but no rows"),
        ("\u200b,\u200b\ntext\n".encode(), "a header but no rows"),
        (b"sep=ab\ntext\n", "column 'text' is missing; the file has sep=ab"),
        (b"sep=;\n", "a header but no rows"),
        (b"words\na\n", "column 'text' is missing; the file has words, needed: text"),
        (b"a\tb\n1\t2\n", "column 'text' is missing; the file has a, b, needed: text"),
        (b"text,text\na,b\n", "two columns are called 'text'"),
        (b"text,Text\na,b\n", "two columns are called 'Text'"),
        (b"text,,x\na,b,c\n", "column 2 has no name"),
        (b"text\na,b\n", "line 2 has 2 cells, but the header has 1; texts with separators"),
        (b"text\ngood\n\xff\xfe bad\n", "line 3 is not UTF-8"),
        ("text\nä\n".encode("latin-1"), "line 2 is not UTF-8"),
        ("text\na\n".encode("utf-16-le"), "line 1 has a NUL character"),
        (b"\xff\xfea", "line 1 is not UTF-8"),
        (b"text\na\0b\n", "line 2 has a NUL character"),
        (b'text\n"never closed\n', "line 2 is no CSV"),
        (b'text\n"a"b\n', "line 2 is no CSV"),
        (b",".join(b"c%d" % number for number in range(600)) + b"\n1\n", "600 columns; valid: at most 500"),
        (b"text\n" + b"a\n" * 1001, "more than 1,000 rows; valid: at most 1,000"),
        (b"text\n" + b"a" * (3 * 2**20), "3 MB; valid: at most 1 MB"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(content: bytes, said: str) -> None:
    with pytest.raises(TableError) as error:
        column(content)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_what_pandas_writes_is_read_as_pandas_reads_it() -> None:
    texts = ['a "b", c;\td', "two\nlines", "  blanks  ", "ünï"]
    for separator in ",;\t":
        written = pd.DataFrame({"text": texts, "n": range(4)}).to_csv(sep=separator)
        assert column(written) == pd.read_csv(io.StringIO(written), sep=separator)["text"].tolist() == texts

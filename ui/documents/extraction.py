"""`python -m ui.documents.extraction pdf|docx`: a document on standard input, its text as JSON on standard output.

A process of its own, with limits that no file can pass: a bomb ends it, and nothing else.
"""

import contextlib
import io
import json
import logging
import sys
import time
import zipfile
from collections.abc import Iterator

MOST_CHARACTERS = 200_000
CPU_S = 20.0  # of the processor, for all pages
HARD_CPU_S = 60  # then the system ends it
MEMORY_BYTES = 2 * 10**9
MOST_UNPACKED_BYTES = 100 * 10**6
MOST_FILES = 5_000
MACROS = "application/vnd.ms-word.document.macroEnabled.main+xml"


class NoTextError(Exception):
    """A document that gives no text. The message is the rest of a sentence about it."""


def main() -> None:
    """Read, extract, write. What is wrong with the document is the field `fault`."""
    limit()
    logging.disable(logging.CRITICAL)  # pypdf names every oddity of a file
    kind, content = sys.argv[1], sys.stdin.buffer.read()
    try:
        text, notes = joined({"pdf": pdf_parts, "docx": docx_parts}[kind](content))
        if not text.strip():
            raise NoTextError("has no text: it is scanned, or made of pictures; valid: with text that can be selected")
        answer = {"text": text, "notes": notes}
    except NoTextError as error:
        answer = {"fault": str(error)}
    except (MemoryError, RecursionError):
        answer = {"fault": "takes too much memory to be read"}
    except Exception as error:
        answer = {"fault": f"is damaged ({type(error).__name__})"}
    sys.stdout.write(json.dumps(answer))


def limit() -> None:
    """Bound what this process may take, where the system can."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (HARD_CPU_S, HARD_CPU_S))


def joined(parts: Iterator[str]) -> tuple[str, list[str]]:
    """The parts of a text, as many as there is room and time for, and what is to be said about that."""
    found: list[str] = []
    length = 0
    for number, part in enumerate(parts, 1):
        found.append(part)
        length += len(part) + 2
        if length > MOST_CHARACTERS:
            return "\n\n".join(found)[:MOST_CHARACTERS], [f"Only its first {MOST_CHARACTERS:,} characters were read."]
        if time.process_time() > CPU_S:
            return "\n\n".join(found), [f"Only its first {number:,} parts were read: the others would take too long."]
    return "\n\n".join(found), []


def pdf_parts(content: bytes) -> Iterator[str]:
    """The texts of the pages. Raises NoTextError."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError

    reader = PdfReader(io.BytesIO(content))
    if reader.is_encrypted:
        try:
            opened = reader.decrypt("")  # some only forbid printing
        except DependencyError:
            opened = 0
        if not opened:
            raise NoTextError("is encrypted; valid: a PDF without a password")
    for page in reader.pages:
        yield page.extract_text().strip()


def docx_parts(content: bytes) -> Iterator[str]:
    """The texts of paragraphs and tables; macros and pictures are left alone. Raises NoTextError."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = archive.infolist()
        if len(files) > MOST_FILES or sum(one.file_size for one in files) > MOST_UNPACKED_BYTES:
            raise NoTextError(f"unpacks to more than {MOST_UNPACKED_BYTES / 1e6:.0f} MB; valid: less")
    from docx.opc.part import PartFactory
    from docx.package import Package
    from docx.parts.document import DocumentPart
    from docx.table import Table

    PartFactory.part_type_for[MACROS] = DocumentPart  # whose text is read, and nothing run
    part = Package.open(io.BytesIO(content)).main_document_part
    if not isinstance(part, DocumentPart):
        raise NoTextError("is not a Word document; valid: TXT, MD, PDF or DOCX")
    for block in part.document.iter_inner_content():
        if isinstance(block, Table):
            for row in block.rows:
                yield " | ".join(cell.text for cell in row.cells)
        elif block.text.strip():
            yield block.text


if __name__ == "__main__":
    main()

"""PDF and Word files made by hand, so that the libraries that read them did not also write them."""

from __future__ import annotations

import zipfile
from pathlib import Path


def pdf(*objects: bytes, trailer: bytes = b"") -> bytes:
    """A PDF file of these objects; the first is its catalogue."""
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer <</Size %d /Root 1 0 R %s>>\n" % (len(objects) + 1, trailer.replace(b"TABLE", b"%d" % table))
    return out + b"startxref\n%d\n%%%%EOF\n" % table


TOLD = b"BT /F1 12 Tf 72 700 Td (The keelage is 45 crowns.) Tj ET"
PAGE = (
    b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
    b"<</Length %d>>\nstream\n%s\nendstream" % (len(TOLD), TOLD),
    b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
)
CATALOGUE = b"<</Type/Catalog/Pages 2 0 R>>"
GOOD_PDF = pdf(CATALOGUE, b"<</Type/Pages/Kids[3 0 R]/Count 1>>", *PAGE)

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
HEADING = '<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>港口法</w:t></w:r></w:p>'
ARTICLE = "<w:p><w:r><w:t>第一条 费用为四十五元。</w:t></w:r></w:p>"


def docx(path: Path, body: str, before: str = "", filler: int = 0) -> None:
    """A Word file; `filler` MiB of empty paragraphs after the body."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        packed.writestr("[Content_Types].xml", f'<Types xmlns="{PACKAGE}/content-types"/>')
        packed.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{PACKAGE}/relationships">'
            f'<Relationship Id="r" Type="{OFFICE}" Target="word/document.xml"/></Relationships>',
        )
        with packed.open("word/document.xml", "w") as file:
            file.write(f'{before}<w:document xmlns:w="{WORD}"><w:body>{body}'.encode())
            for _ in range(filler):
                file.write(b"<w:p/>" * ((1 << 20) // 6))
            file.write(b"</w:body></w:document>")

"""Messages that break mail programs, or try to: made here, none is anybody's.

    for sample in samples(): sample.name, sample.message, sample.shows

`shows` are words that must be on the page that shows it; () when it is enough that a page comes. Each script in them, were it run, would
set the page's title to RUN; each picture and link leads to tracker.test, where nothing may ever be asked.
"""

import base64
import quopri
from dataclasses import dataclass, field

EVIL = "document.title='RUN'"
AWAY = "http://tracker.test/"


@dataclass
class Sample:
    name: str
    message: bytes
    shows: tuple = field(default=())


def head(name, *fields, mime=True):
    lines = ["From: Ann Example <ann@elsewhere.test>", "To: ssow@semail.test", "Date: Wed, 25 Nov 2026 10:00:00 +0100", f"Message-ID: <{name.replace(' ', '.')}@elsewhere.test>"]
    if not any(str(line).lower().startswith("subject:") for line in fields):
        lines.append(f"Subject: {name}")
    if mime:
        lines.append("MIME-Version: 1.0")
    out = b""
    for line in [*lines, *fields]:
        out += (line if isinstance(line, bytes) else line.encode()) + b"\n"
    return out + b"\n"


def html(name, text, *fields, shows=("after",)):
    return Sample(name, head(name, "Content-Type: text/html; charset=utf-8", *fields) + text.encode() + b"\n<p>after</p>\n", shows)


def multipart(kind, boundary, *parts, preamble="", close=True):
    text = f"Content-Type: multipart/{kind}; boundary=\"{boundary}\"\n\n{preamble}".encode()
    for part in parts:
        text += b"--" + boundary.encode() + b"\n" + (part if isinstance(part, bytes) else part.encode()) + b"\n"
    return text + (b"--" + boundary.encode() + b"--\n" if close else b"")


def with_parts(name, body, *fields, shows=()):
    return Sample(name, head(name, *fields)[:-1] + body, shows)


def nested(depth):
    text = "Content-Type: text/plain\n\nthe innermost\n"
    for level in range(depth):
        text = multipart("mixed", f"b{level}", text).decode()
    return text.encode()


def attachment(kind, filename, content, *more):
    lines = [f"Content-Type: {kind}", "Content-Transfer-Encoding: base64", f"Content-Disposition: attachment; filename={filename}", *more, ""]
    return ("\n".join(lines) + "\n").encode() + base64.encodebytes(content)


def tnef():
    """A winmail.dat with an attribute of nonsense length."""
    return b"\x78\x9f\x3e\x22\x01\x00" + b"\x01\x06\x90\x08\x00" + b"\xff\xff\xff\x7f" + b"A" * 200


ICS = ("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:1@elsewhere.test\r\nDTSTART:20261201T090000Z\r\nSUMMARY:Réunion\r\nLOCATION:<script>" + EVIL + "</script>\r\n"
       "ORGANIZER:mailto:ann@elsewhere.test\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n").encode()


def samples():
    plain = "Content-Type: text/plain; charset=utf-8\n\n"
    everything = [
        # -- what is in a text
        Sample("plain ascii", head("plain ascii", mime=False) + b"just text\n", ("just text",)),
        Sample("no header at all", b"this is not a header\n\nand this the body\n"),
        Sample("empty", b"\n"),
        Sample("no body", head("no body"), ("no body",)),
        Sample("utf-8", head("utf-8", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit") + "thé café œuf €\n".encode(), ("thé café œuf €",)),
        Sample("latin-1", head("latin-1", "Content-Type: text/plain; charset=iso-8859-1") + "thé café\n".encode("latin-1"), ("thé café",)),
        Sample("koi8-r", head("koi8-r", "Content-Type: text/plain; charset=koi8-r") + "Привет, мир\n".encode("koi8-r"), ("Привет, мир",)),
        Sample("iso-2022-jp", head("iso-2022-jp", "Content-Type: text/plain; charset=iso-2022-jp") + "こんにちは\n".encode("iso-2022-jp"), ("こんにちは",)),
        Sample("utf-7 script", head("utf-7 script", "Content-Type: text/html; charset=utf-7") + f"+ADw-script+AD4-{EVIL}+ADw-/script+AD4- after\n".encode()),
        Sample("wrong charset", head("wrong charset", "Content-Type: text/plain; charset=us-ascii") + "thé latin \xe9\xe8 after\n".encode("latin-1"), ("after",)),
        Sample("unknown charset", head("unknown charset", "Content-Type: text/plain; charset=x-nobody-knows") + b"text \xff\xfe after\n"),
        Sample("charset says two things", head("charset says two things", "Content-Type: text/plain; charset=utf-8; charset=koi8-r") + b"some text\n", ("some text",)),
        Sample("broken utf-8", head("broken utf-8", "Content-Type: text/plain; charset=utf-8") + b"before \xc3\x28 \xf0\x9f after\n", ("before",)),
        Sample("nul octets", head("nul octets", "Content-Type: text/plain") + b"before\0middle\0\0after\n", ("before",)),
        Sample("control characters", head("control characters", "Content-Type: text/plain") + b"a\x07b\x1b[31mred\x08\x0c after\n", ("after",)),
        Sample("quoted-printable, broken", head("quoted-printable, broken", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: quoted-printable") + b"th=C3=A9 =ZZ =\n= after =3\n", ("thé",)),
        Sample("base64, broken", head("base64, broken", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: base64") + b"!!!" + base64.b64encode("décodé".encode())[:-3] + b"\n@@@@\n"),
        Sample("unknown encoding", head("unknown encoding", "Content-Type: text/plain", "Content-Transfer-Encoding: x-uuencode") + b"begin 644 x\n#0V%T\n`\nend\n"),
        Sample("format flowed", head("format flowed", "Content-Type: text/plain; format=flowed; delsp=yes; charset=utf-8") + b"> a line that goes  \n> on and on\n>> deeper \n\nand an an \nswer\n", ("a line that goes on and on",)),
        Sample("lines of 200000", head("lines of 200000", "Content-Type: text/plain") + b"x" * 200_000 + b" after\n"),
        Sample("100000 lines", head("100000 lines", "Content-Type: text/plain") + b"a line\n" * 100_000, ("a line",)),
        Sample("markup in plain text", head("markup in plain text", "Content-Type: text/plain") + f"<script>{EVIL}</script> <b>not bold</b> &amp; http://tracker.test/\"onmouseover={EVIL} after\n".encode(), ("<b>not bold</b>", "&amp;")),
        # -- what is in the header
        Sample("8-bit subject", head("8-bit subject", b"Subject: r\xc3\xa9union et caf\xe9", b"X-Other: \xff") + b"text\n", ("text",)),
        Sample("encoded word, broken", head("encoded word, broken", "Subject: =?utf-8?q?th=C3=A9_=ZZ?= =?x-none?b?@@@?= =?utf-8?q?unended") + b"text\n", ("text",)),
        Sample("script in names", head("script in names", f"Subject: <script>{EVIL}</script>\"'><img src={AWAY}s onerror={EVIL}>", f"Cc: \"<script>{EVIL}</script>\" <c@elsewhere.test>") + b"text\n", ("text", "<script>")),
        Sample("script in encoded word", head("script in encoded word", "Subject: =?utf-8?b?" + base64.b64encode(f"<img src=x onerror={EVIL}>".encode()).decode() + "?=") + b"text\n", ("text", "<img src=x")),
        Sample("right to left", head("right to left", "Subject: =?utf-8?b?" + base64.b64encode("שלום \u202egpj.exe\u202c مرحبا".encode()).decode() + "?=", "Reply-To: =?utf-8?b?" + base64.b64encode("\u202eelpmaxe@nna\u202c".encode()).decode() + "?= <x@elsewhere.test>") + "שלום עולם\n".encode(), ("שלום",)),
        Sample("a name of 5000", head("a name of 5000", "Cc: \"" + "n" * 5000 + "\" <c@elsewhere.test>", "Subject: " + "s" * 5000) + b"text\n", ("text",)),
        Sample("2000 recipients", head("2000 recipients", "Cc: " + ",\n ".join(f"r{n}@elsewhere.test" for n in range(2000))) + b"text\n", ("text",)),
        Sample("1000 fields", head("1000 fields", *(f"X-Field-{n}: value" for n in range(1000))) + b"text\n", ("text",)),
        Sample("addresses that are none", head("addresses that are none", "Cc: <<>>, ,;: @@, (((((, \"unended <a@b") + b"text\n", ("text",)),
        Sample("dates that are none", head("dates that are none", "Date: Thu, 99 Foo 99999 99:99:99 +9999") + b"text\n", ("text",)),
        # -- HTML
        html("script elements", f"<script>{EVIL}</script><SCRIPT SRC={AWAY}x.js></SCRIPT><scr<script>ipt>{EVIL}</scr</script>ipt>"),
        html("handlers", f"<img src=x onerror=\"{EVIL}\"><body onload={EVIL}><svg/onload={EVIL}><details open ontoggle={EVIL}><input autofocus onfocus={EVIL}>"),
        html("addresses that run", f"<a href=\"javascript:{EVIL}\">a</a> <a href=\"jAvA\tsCrIpT:{EVIL}\">b</a> <a href=\"data:text/html,<script>{EVIL}</script>\">c</a><iframe src=\"javascript:{EVIL}\"></iframe>"),
        html("pictures from elsewhere", f"<img src={AWAY}1.png><img srcset=\"{AWAY}2.png 1x\"><video poster={AWAY}3.png src={AWAY}4.mp4 autoplay></video><audio src={AWAY}5 autoplay></audio><input type=image src={AWAY}6.png><picture><source srcset={AWAY}7.png></picture>"),
        html("styles from elsewhere", f"<link rel=stylesheet href={AWAY}a.css><style>@import url({AWAY}b.css); body{{background:url({AWAY}c.png)}} @font-face{{font-family:x;src:url({AWAY}d)}}</style><div style=\"background:url({AWAY}e.png);font-family:x\">styled</div><table background={AWAY}f.png><tr><td>x</table>"),
        html("frames and objects", f"<iframe src={AWAY}i></iframe><object data={AWAY}o></object><embed src={AWAY}e><frameset><frame src={AWAY}f></frameset><applet code=x></applet><base href={AWAY}>"),
        html("refresh", f"<meta http-equiv=refresh content=\"0;url={AWAY}r\"><meta http-equiv=\"Set-Cookie\" content=x=1>"),
        html("forms that ask for a password", f"<form action={AWAY}p method=post><input name=password type=password><button formaction={AWAY}q>Sign in</button></form>"),
        html("a page over the page", "<div style=\"position:fixed;top:0;left:0;width:100%;height:100%;background:red;z-index:99999\">over</div>"),
        html("svg and mathml", f"<svg><script>{EVIL}</script><foreignObject><body xmlns='http://www.w3.org/1999/xhtml' onload={EVIL}></foreignObject><image href={AWAY}s.png /></svg><math href=\"javascript:{EVIL}\">m</math>"),
        html("unended", "<!-- unended <p> <table><tr><td><b><i><a href='x <script>" + EVIL, shows=()),
        html("10000 tags deep", "<div>" * 10_000 + "deep", shows=()),
        html("comments that end early", f"<!--><script>{EVIL}</script>--><![CDATA[<script>{EVIL}</script>]]><!--[if IE]><script>{EVIL}</script><![endif]-->"),
        # -- parts
        with_parts("alternative", multipart("alternative", "a", plain + "the plain one", f"Content-Type: text/html\n\n<p>the formatted one<script>{EVIL}</script>"), shows=("formatted one",)),
        with_parts("nested 5 deep", nested(5), shows=("the innermost",)),
        with_parts("nested 500 deep", nested(500)),
        with_parts("1000 parts", multipart("mixed", "m", *(plain + f"part {n}" for n in range(1000))), shows=("part 0",)),
        with_parts("boundary that never comes", "Content-Type: multipart/mixed; boundary=\"never\"\n\njust text, no parts\n".encode()),
        with_parts("boundary of nothing", b"Content-Type: multipart/mixed; boundary=\"\"\n\n--\nContent-Type: text/plain\n\nwithin\n----\n"),
        with_parts("unended parts", multipart("mixed", "u", plain + "first part", plain + "second part", close=False), shows=("first part", "second part")),
        with_parts("a boundary within another", multipart("mixed", "x", multipart("mixed", "xx", plain + "inner text"), plain + "outer text"), shows=("inner text", "outer text")),
        with_parts("a message within", multipart("mixed", "d", b"Content-Type: message/rfc822\n\nFrom: inner@elsewhere.test\nSubject: within\n\nthe inner text\n"), shows=("the inner text",)),
        with_parts("related", multipart("related", "r", "Content-Type: text/html\n\n<p>logo <img src=\"cid:logo\"> after", attachment("image/png", "logo.png", base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="), "Content-ID: <logo>")), shows=("after",)),
        with_parts("calendar", multipart("alternative", "c", plain + "an invitation", b"Content-Type: text/calendar; method=REQUEST; charset=utf-8\n\n" + ICS)),
        with_parts("winmail.dat", multipart("mixed", "w", plain + "from Outlook", attachment("application/ms-tnef", "winmail.dat", tnef())), shows=("from Outlook", "winmail.dat")),
        with_parts("names of files", multipart("mixed", "f", plain + "look", attachment("text/plain", "\"../../../etc/passwd\"", b"1"), attachment("text/html", f"\"<script>{EVIL}</script>.html\"", b"2"),
                                               attachment("application/octet-stream", "\"\u202egpj.exe\"", b"3"), attachment("image/svg+xml", "x.svg", f"<svg xmlns='http://www.w3.org/2000/svg' onload=\"{EVIL}\"/>".encode()),
                                               attachment("text/plain", "\"" + "l" * 3000 + ".txt\"", b"4"), attachment("text/plain", "\"a\\\r\n b; x=y.txt\"", b"5"))),
        with_parts("names in other words", multipart("mixed", "n", plain + "look", "Content-Type: application/pdf\nContent-Disposition: attachment; filename*0*=UTF-8''programme%20d%E2%80%99; filename*1*=%C3%A9t%C3%A9.pdf\n\nx",
                                                     "Content-Type: application/pdf; name=\"=?utf-8?q?=C3=A9t=C3=A9.pdf?=\"\n\nx"), shows=("look",)),
        with_parts("delivery report", multipart("report; report-type=delivery-status", "s", plain + "not delivered", "Content-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\nFinal-Recipient: rfc822; <script>" + EVIL + "</script>\nAction: failed\n", "Content-Type: text/rfc822-headers\n\nSubject: x\n"), shows=("not delivered",)),
        with_parts("signed and encrypted", multipart("encrypted; protocol=\"application/pgp-encrypted\"", "e", "Content-Type: application/pgp-encrypted\n\nVersion: 1\n", "Content-Type: application/octet-stream\n\n-----BEGIN PGP MESSAGE-----\nxxx\n-----END PGP MESSAGE-----\n")),
        Sample("quoted-printable html", head("quoted-printable html", "Content-Type: text/html; charset=utf-8", "Content-Transfer-Encoding: quoted-printable") + quopri.encodestring(f"<p>thé</p><img src=\"{AWAY}t.png\"><script>{EVIL}</script><p>after</p>".encode()), ("thé", "after")),
        Sample("html in base64, utf-16", head("html in base64, utf-16", "Content-Type: text/html; charset=utf-16", "Content-Transfer-Encoding: base64") + base64.encodebytes(f"<script>{EVIL}</script><p>after</p>".encode("utf-16"))),
        Sample("type of nonsense", head("type of nonsense", "Content-Type: ;;;/=\"", "Content-Transfer-Encoding: =?x?=") + b"text\n"),
        Sample("an old mailbox file", b"From ann@elsewhere.test Wed Nov 25 10:00:00 2026\n" + head("an old mailbox file", mime=False) + b"text\nFrom here on\n"),
    ]
    assert len(everything) >= 50
    return everything


def large(megabytes=50):
    """An attachment of so many megabytes."""
    content = bytes(range(256)) * (4096 * megabytes)
    return Sample("large", head("large")[:-1] + multipart("mixed", "L", "Content-Type: text/plain\n\nlarge one follows", attachment("application/octet-stream", "large.bin", content)), ("large one follows",))

"""Every transcript of Tests/Dialogues, held against the real smtpd-session."""

import pytest

import dialogue

TRANSCRIPTS = sorted(dialogue.DIALOGUES.glob("*/*.txt"))


@pytest.fixture(scope="module")
def program():
    path = dialogue.default_program()
    assert path.is_file(), f"{path} is not there: build first, or name its directory in SEMAIL_BIN"
    return path


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_dialogue(path, program):
    problem = None
    try:
        dialogue.run_anywhere(path, program)
    except (dialogue.Mismatch, dialogue.TranscriptError) as caught:
        problem = str(caught)
    if problem:
        pytest.fail(problem, pytrace=False)


def test_there_are_enough_transcripts():
    assert len(TRANSCRIPTS) >= 150


def test_every_transcript_is_well_formed_and_says_what_it_shows():
    for path in TRANSCRIPTS:
        transcript = dialogue.read(path)      # raises when no RFC clause is cited
        assert not dialogue.CITATION.match(transcript.comments[0]), f"{path}: first say in words what it shows"
        assert len(transcript.comments) >= 2, path


def test_every_file_there_is_a_transcript():
    others = [path for path in dialogue.DIALOGUES.rglob("*") if path.is_file() and path not in TRANSCRIPTS]
    assert others == [dialogue.DIALOGUES / "README.md"]


def test_no_dialogue_stands_there_twice():
    seen = {}
    for path in TRANSCRIPTS:
        text = "\n".join(line for line in path.read_text(encoding="utf-8").split("\n") if not line.startswith("#"))
        assert text not in seen, f"{path} is {seen[text]} again"
        seen[text] = path


@pytest.mark.parametrize("pattern, line, expected", [
    ("250 2.1.0 ...", "250 2.1.0 sender ok", True),
    ("250 2.1.0 ...", "250 2.1.5 recipient ok", False),
    ("220 mail.semail.test ...", "220 mail.semail.test ESMTP SEMail", True),
    ("220 mail.semail.test ...", "220 mailxsemail.test ESMTP SEMail", False),
    ("500 5.5.2 ...nc -C...", "500 5.5.2 bare LF; use nc -C", True),
    ("354 ...", "250 ...", False),
])
def test_reply_lines(pattern, line, expected):
    assert dialogue.fits(pattern, line) is expected


@pytest.mark.parametrize("patterns, lines, expected", [
    (["250-...", "250 ..."], ["250 mail.semail.test"], True),
    (["250-...", "250 ..."], ["250-mail.semail.test", "250-PIPELINING", "250 HELP"], True),
    (["250-...", "250-PIPELINING", "250-...", "250 ..."], ["250-mail.semail.test", "250-PIPELINING", "250 HELP"], True),
    (["250-...", "250-STARTTLS", "250-...", "250 ..."], ["250-mail.semail.test", "250-PIPELINING", "250 HELP"], False),
    (["250 ..."], ["250-mail.semail.test", "250 HELP"], False),
    (["250 ..."], [], False),
])
def test_replies(patterns, lines, expected):
    assert dialogue.reply_fits(patterns, lines) is expected


@pytest.mark.parametrize("text, expected", [
    (r"QUIT\r\n", b"QUIT\r\n"),
    (r'NOOP "ab"*3\r\n', b"NOOP ababab\r\n"),
    (r'MAIL FROM:<"a b"@example.org>', b'MAIL FROM:<"a b"@example.org>'),
    (r'"\xe9\0"*2', b"\xe9\0\xe9\0"),
    (r"a\\b", b"a\\b"),
    ("ü", "ü".encode()),
])
def test_exact_bytes(text, expected):
    assert dialogue.exact_bytes(text) == expected


def test_an_unknown_escape_is_an_error():
    with pytest.raises(dialogue.TranscriptError):
        dialogue.exact_bytes(r"\q")

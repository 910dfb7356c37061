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
    submission = [path for path in TRANSCRIPTS if path.parent.name.startswith("submission-")]
    assert len(submission) >= 80
    assert len(TRANSCRIPTS) - len(submission) >= 150


def test_folders_say_which_server_they_are_about():
    for path in TRANSCRIPTS:
        transcript = dialogue.read(path)
        if transcript.role == "submission":
            assert path.parent.name.startswith("submission-"), path
        elif path.parent.name.startswith("submission-"):
            assert "inbound" in path.stem, f"{path}: a dialogue of the inbound server among those of the other"


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


@pytest.mark.parametrize("wanted, content, expected", [
    ([b"a", b""], b"a\n\n", True),
    ([b"a"], b"a", False),
    ([b"a"], b"a\nb\n", False),
    ([b"a\nb"], b"a\nb\n", True),
    (["Date: ...", b"a"], b"Date: Mon\na\n", True),
    (["Date: ..."], b"Date: Mon\na\n", False),
    (["Date: ..."], b"Dates: Mon\n", False),
    (["\udcff..."], b"\xff\n", True),
])
def test_contents(wanted, content, expected):
    assert dialogue.content_fits(wanted, content) is expected


def submitted(content, *lines):
    return dialogue.Queued([*lines], "", [], "", content)


@pytest.mark.parametrize("content, by", [
    (b"Date: x\nMessage-ID: y\n\n", "by a@b"),
    (b"From: x\nMessage-ID: y\n\n", "by a@b"),
    (b"From: x\nDate: y\n\n", "by a@b"),
    (b"From: x\nDate: y\nMessage-ID: z\nfrom : a\n\n", "by a@b"),
    (b"From: x\nDate: y\nMessage-ID: z\nBCC\t: a\n\n", "by a@b"),
    (b"From: x\nDate: y\nMessage-ID: z\nno field\n\n", "by a@b"),
    (b" From: x\nDate: y\nMessage-ID: z\nFrom: y\n\n", "by a@b"),
    (b"From: x\nDate: y\nMessage-ID: z\n\n", "from a@b"),
])
def test_header_sections_that_may_not_leave(content, by):
    with pytest.raises(dialogue.Mismatch):
        dialogue.check_submitted(submitted(content, by))


def test_a_header_section_that_may_leave():
    dialogue.check_submitted(submitted(b"FROM: x\n y\nDate : y\nmessage-id:z\n\nBcc: a\n", "by a@b"))


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

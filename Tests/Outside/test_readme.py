"""README.md promises commands and what they print: here they are typed, and it is read."""

import re

import pytest

import peers
from machine import REPOSITORY, Machine
from test_install import PROGRAMS

README = (REPOSITORY / "README.md").read_text()


def blocks(section):
    """[(commands, what they print)] of a section: an indented block, and the fenced one after it."""
    text = re.search(rf"^## {section}\n(.*?)^## ", README, re.MULTILINE | re.DOTALL).group(1)
    return [(re.sub("^    ", "", commands, flags=re.MULTILINE), printed)
            for commands, printed in re.findall(r"((?:^    [^\n]*\n)+)\n```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]


def pattern(line):
    """A regular expression for a printed line: what differs from day to day may differ."""
    line = re.sub(r"1k[0-9a-z]{14}(R\d)?", "\x01", line)
    return re.sub(r"\d+", r"\\d+", re.escape(line)).replace("\x01", r"1\w{15,}").replace(r"\ ", " +").replace("\\\t", r"\s+")


def missing(printed, seen):
    """The first line that should have been printed and was not, in that order; `...` stands for any lines. Lines of the log
    are standard error's, and may come before or after those of standard output."""
    rest = iter(seen)
    for line in filter(lambda line: line.strip() not in ("", "..."), printed.splitlines()):
        among = seen if ": info: " in line else rest
        if not any(re.fullmatch(pattern(line.strip()), one.strip()) for one in among):
            return line
    return None


@pytest.fixture(scope="module")
def machine():
    with Machine() as one:
        yield one


def test_every_link_leads_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert len(links) > 10
    for link in links:
        assert link.startswith("https://www.swift.org/") or (REPOSITORY / link).exists(), link


def test_every_program_and_manual_is_named():
    for page in (REPOSITORY / "man").iterdir():
        assert f"(man/{page.name})" in README
    for directory in (REPOSITORY / "Sources").iterdir():
        assert re.search(rf"\b{re.escape(directory.name)}\b", README), directory.name


def test_by_hand_as_an_ordinary_user(machine):
    machine.run(["useradd", "--create-home", "you"], check=True)
    machine.run(["sh", "-c", f"mkdir -p /home/you/semail/.build/release && cd {REPOSITORY}/.build/release && cp {' '.join(PROGRAMS)} /home/you/semail/.build/release"], check=True)
    parts = blocks("By hand")
    assert len(parts) == 10
    script = "cd ~/semail\n"
    for number, (commands, _) in enumerate(parts):
        # The build is there; and the services, which would run for ever, run for a while, and the next command is typed when they do.
        commands = re.sub("^swift build.*", "", commands, flags=re.MULTILINE)
        commands = re.sub("^((?:qrunner|tcp-accept .*) &)$", r"timeout 3 \1\nsleep 0.5", commands, flags=re.MULTILINE)
        script += f"echo '== {number}'\n{commands}"
    machine.run(["sh", "-c", "cat > /home/you/script"], input=script + "wait\n", check=True)
    # On a terminal, as a person sees it.
    done = machine.run(["script", "-qec", "runuser -u you -- env HOME=/home/you TERM=dumb bash /home/you/script", "/dev/null"], timeout=60)
    seen = re.split(r"^== \d+\n", done.stdout.replace("\r", ""), flags=re.MULTILINE)[1:]
    assert len(seen) == len(parts), done.stdout
    for (commands, printed), output in zip(parts, seen):
        # `ls` quotes names with a comma for a terminal.
        line = missing(printed, output.replace("'", "").splitlines())
        assert line is None, f"after\n{commands}the README promises\n{line}\nand what came was\n{output}"


def test_the_demo_prints_what_is_promised(machine):
    text = re.search(r"^## Try it\n(.*?)^## ", README, re.MULTILINE | re.DOTALL).group(1)
    printed = re.search(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL).group(1)
    for name in peers.OF_THE_DEMO:
        peers.unpack(name)
    done = machine.run(["./install.sh", "--demo", "--once"], timeout=900)
    # What to type next is for those who stay; test_demo.py types it.
    line = missing(printed.partition("What to type next")[0], done.stdout.splitlines())
    assert line is None, f"the README promises\n{line}\nand what came was\n{done.stdout}"


def test_commands_for_the_admin_are_there(machine):
    text = re.search(r"^## Look after it\n(.*?)^## ", README, re.MULTILINE | re.DOTALL).group(1)
    commands = re.findall(r"^    (semail .*?)(?:   .*)?$", text, re.MULTILINE)
    assert len(commands) >= 6
    home = "/tmp/house"
    environment = {**machine.environment, "SEMAIL_HOME": home}
    semail = REPOSITORY / ".build/release/semail"
    machine.run([semail, "init", home, "--hostname", "semail.example"], check=True)
    for command in commands:
        words = command.split()[1:]
        # People and containers are elsewhere: in a directory and an engine that this home has not.
        if words[0] in ("user", "container"):
            words = [*words[:2], "--help"]
        done = machine.run([semail, *words], environment=environment)
        assert done.returncode == 0, f"{command}: {done.stdout}"
    # The words in brackets are commands too.
    for group, words in re.findall(r"^    semail (\w+) list +\((.*)\)$", text, re.MULTILINE):
        for word in words.split(", "):
            assert machine.run([semail, group, word, "--help"]).returncode == 0, f"{group} {word}"

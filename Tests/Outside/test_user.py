"""semail user: people added, imported, listed, removed, in the directory that install.sh makes, and in others by a manager's password."""

import base64
import os
import pty
import re
import signal
import subprocess
import time

import pytest

import semailtest
from peopledirectory import BASE, DIRECTORY_USER, GROUP, SUFFIX, PeopleDirectory
from semailtest import await_true
from slapd import BASE as FOREIGN, Slapd

MANAGER = f"cn=manager,{FOREIGN}"
PEOPLE = 10_000


@pytest.fixture(scope="module")
def server():
    with PeopleDirectory() as people:
        yield people


@pytest.fixture
def people(server):
    server.clear()
    yield server


def terminal(people, *arguments, typed):
    """Exit code and what a terminal shows; TYPED one after another, each when the one before it was asked for."""
    pid, descriptor = pty.fork()
    if pid == 0:
        try:
            os.execve(people.home.program("semail"), ["semail", *arguments], {**people.environment, "TERM": "dumb"})
        finally:
            os._exit(127)
    shown = b""

    def read():
        nonlocal shown
        try:
            more = os.read(descriptor, 65536)
        except OSError:
            return False
        shown += more
        return bool(more)

    seen = 0
    for question, answer in typed:
        while question.encode() not in shown[seen:]:
            assert read(), shown
        seen = shown.index(question.encode(), seen) + len(question)
        os.write(descriptor, answer.encode() + b"\n")
    while read():
        pass
    os.close(descriptor)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode().replace("\r\n", "\n")


# -- one at a time ----------------------------------------------------------

def test_a_person_from_beginning_to_end(people):
    out = people.ok("user", "add", "xredon", "--first-name", "Xavier", "--name", "Redon", "--mail", "x@school.test", "--password-file", "-", input="battery staple\n")
    assert out == f"xredon: uid=xredon,{BASE}\n"
    entry = people.find("xredon")
    assert {name: values for name, values in entry.items() if name != "userPassword"} == {
        "dn": [f"uid=xredon,{BASE}"], "objectClass": ["inetOrgPerson"], "uid": ["xredon"], "givenName": ["Xavier"], "sn": ["Redon"], "cn": ["Xavier Redon"], "mail": ["x@school.test"]}
    # Hashed, by the server.
    assert entry["userPassword"][0].startswith("{ARGON2}$argon2i")
    assert people.check("xredon", "battery staple")[:2] == (0, "xredon|\n")
    assert people.check("xredon", "wrong")[0] == 1
    assert people.ok("user", "list") == "xredon\tXavier Redon\txredon@semail.test\tx@school.test\tno\n"
    assert people.json("user", "list") == {"users": [{"uid": "xredon", "name": "Xavier Redon", "givenName": "Xavier", "sn": "Redon", "mail": ["x@school.test"],
                                                      "mailbox": "xredon@semail.test", "isAdmin": False, "dn": f"uid=xredon,{BASE}"}]}
    assert people.ok("user", "passwd", "xredon", "--password-file", "-", input="another") == "xredon has a new password\n"
    # A pipe has a name too, in some shells.
    assert people.ok("user", "passwd", "xredon", "--password-file", "/dev/stdin", input="another") == "xredon has a new password\n"
    assert [people.check("xredon", word)[0] for word in ("battery staple", "another")] == [1, 0]
    # The mailbox would be left to whoever has the uid next.
    assert "still has the mailbox xredon@semail.test" in people.refused("user", "delete", "xredon", "--yes")
    assert "still has the mailbox xredon@semail.test" in people.refused("user", "delete", "XRedon", "--yes")
    people.home.set_state("xredon@semail.test", "suspended")
    assert "still has the mailbox" in people.refused("user", "delete", "xredon", "--yes")
    people.home.set_state("xredon@semail.test", "active")
    assert people.find("xredon")


def test_removing(people):
    people.ok("user", "add", "anna", "--name", "Anna")
    assert "say --yes" in people.refused("user", "delete", "anna")
    assert people.ok("user", "delete", "anna", "--yes") == "anna is removed\n"
    assert people.find("anna") is None
    assert f"there is no anna under {BASE}" in people.refused("user", "delete", "anna", "--yes")
    people.ok("user", "add", "anna", "--name", "Anna")
    code, shown = terminal(people, "user", "delete", "anna", typed=[("[y/N] ", "n")])
    assert code == 1 and people.find("anna")
    code, shown = terminal(people, "user", "delete", "anna", typed=[("[y/N] ", "y")])
    assert code == 0 and people.find("anna") is None, shown


def test_at_a_terminal_it_asks_as_the_reports_script_did(people):
    code, shown = terminal(people, "user", "add", typed=[("First name: ", "Sokhna"), ("Name: ", "Sow"), ("Uid [ssow]: ", ""), ("Password for ssow: ", "correct horse"), ("Again: ", "correct horse")])
    assert code == 0, shown
    assert people.find("ssow")["cn"] == ["Sokhna Sow"]
    assert "horse" not in shown
    assert people.check("ssow", "correct horse")[0] == 0
    code, shown = terminal(people, "user", "passwd", "ssow", typed=[("Password for ssow: ", "one"), ("Again: ", "two"), ("Password for ssow: ", "three"), ("Again: ", "three")])
    assert code == 0 and people.check("ssow", "three")[0] == 0, shown


def test_a_password_that_is_made(people):
    out = people.ok("user", "add", "anna", "--name", "Anna", "--generate")
    [password] = re.findall(r"^password: ((?:[a-km-np-z2-9]{4}-){3}[a-km-np-z2-9]{4})$", out, re.M)
    assert people.check("anna", password)[0] == 0
    again = people.json("user", "passwd", "anna", "--generate")
    assert again["password"] != password and people.check("anna", again["password"])[0] == 0


def test_without_a_password_nobody_gets_in(people):
    assert "nobody can sign in; semail user passwd anna" in people.ok("user", "add", "anna", "--name", "Anna")
    assert "userPassword" not in people.find("anna")
    assert people.check("anna", "x")[0] == 1
    assert "no password is given" in people.refused("user", "passwd", "anna")


@pytest.mark.parametrize("uid", ["", "SSow", "a b", "a,b", "uid=x", "jörg", "../x", "a" * 65, "*", "a)(uid=*", "x\n", "x\ny", "-x", "x.", "a..b", "a+b", "a\\2cb", "a#b", "ıd", "x\u202ey", "root",
                                 "postmaster", "admin"])
def test_uids_that_can_be_none(people, uid):
    err = people.refused("user", "add", "--name", "X", "--", uid)
    assert "is no owner's name" in err or "speaks for the host" in err or "uid is missing" in err, err
    assert people.entries() == []


def test_a_uid_is_given_once(people):
    people.ok("user", "add", "anna", "--name", "One")
    assert f"anna is in the directory already: uid=anna,{BASE}" in people.refused("user", "add", "anna", "--name", "Two")
    assert people.find("anna")["sn"] == ["One"]
    # Deeper, and not by its name.
    assert people.ldap("ldapadd", input=f"dn: ou=deep,{BASE}\nobjectClass: organizationalUnit\nou: deep\n\ndn: cn=Bert,ou=deep,{BASE}\nobjectClass: inetOrgPerson\ncn: Bert\nsn: B\nuid: bert\n").returncode == 0
    assert f"cn=Bert,ou=deep,{BASE}" in people.refused("user", "add", "bert", "--name", "Two")
    people.ok("user", "passwd", "bert", "--password-file", "-", input="b")
    assert people.check("bert", "b")[0] == 0
    people.ok("user", "delete", "bert", "--yes")
    assert people.find("bert") is None


STRANGE = ["O'Brien, \"Quentin\" <q>; + = # \\ end", "# no comment", ": colon", "< file:///etc/passwd", "dn: uid=evil", "é€œ 李 Ω ñ 🙂", "(uid=*)", "*", "\\2a", "{SSHA}x", "%u", "a" * 512]


@pytest.mark.parametrize("value", STRANGE, ids=lambda value: value[:12])
def test_what_is_syntax_elsewhere_is_a_value_here(people, value):
    people.ok("user", "add", "anna", "--name", value, "--first-name", value)
    entry = people.find("anna")
    assert entry["sn"] == entry["givenName"] == [value] and entry["cn"] == [f"{value} {value}"]
    people.clear()
    quoted = value.replace('"', '""')
    assert people.importing(f'uid,sn,givenName\nanna,"{quoted}","{quoted}"\n')["added"] == 1
    assert people.find("anna")["sn"] == [value]
    people.clear()
    assert people.importing(f"dn: uid=anna,dc=x\nuid: anna\nsn:: {base64.b64encode(value.encode()).decode()}\n")["added"] == 1
    assert people.find("anna")["sn"] == [value]


@pytest.mark.parametrize("password", ["ü€ 李🙂", " spaces ", "{SSHA}nohash", "a,b\"c;d", "x" * 256, "-", "\\0"], ids=lambda word: word[:8])
def test_passwords_are_taken_as_they_are(people, password):
    people.ok("user", "add", "anna", "--name", "Anna", "--password-file", "-", input=password + "\nnot this line\n")
    assert people.check("anna", password)[0] == 0 and people.check("anna", password + "x")[0] == 1
    people.clear()
    quoted = password.replace('"', '""')
    people.importing(f'uid,sn,password\nanna,A,"{quoted}"\n')
    assert people.check("anna", password)[0] == 0


@pytest.mark.parametrize("password, why", [("", "empty"), ("\n", "empty"), ("x" * 257, "256"), ("a\tb", "control"), (b"\xff", "UTF-8"), ("a\0b", "control")], ids=["none", "line", "long", "tab", "latin", "nul"])
def test_passwords_that_are_none(people, password, why):
    assert why in people.refused("user", "add", "anna", "--name", "A", "--password-file", "-", input=password)
    assert people.find("anna") is None


def test_no_argument_has_a_password(people):
    """Every process of a host may see the arguments of all."""
    text = people.semail("user", "add", "--help")[1] + people.semail("user", "passwd", "--help")[1]
    assert "--password-file" in text and not re.search(r"--password[ =<]", text)


# -- CSV --------------------------------------------------------------------

PLAIN = "uid,givenName,sn,mail\nanna,Anna,Müller,a@x.test\nbert,Bert,\"Bé, \"\"junior\"\"\",\n"


@pytest.mark.parametrize("text", [
    PLAIN, PLAIN.replace("\n", "\r\n"), PLAIN.replace("\n", "\r"), "\ufeff" + PLAIN, PLAIN.rstrip("\n"), PLAIN.replace("\n", "\n\n"), PLAIN + " , \n,,,\n\n", PLAIN.encode("cp1252"),
    "sep=;\r\n" + PLAIN.replace("Bé, ", "Bé@ ").replace(",", ";").replace("@ ", ", "), PLAIN.replace("Bé, ", "Bé@ ").replace(",", ";").replace("@ ", ", ").encode("cp1252"),
    PLAIN.replace("Bé, ", "Bé@ ").replace(",", "\t").replace("@ ", ", "),
    PLAIN.replace("uid,givenName,sn,mail", "Identifiant,Prénom,Nom,Courriel"), PLAIN.replace("uid,givenName,sn,mail", '"UID","GIVENNAME","SN","MAIL"'),
    PLAIN.replace("uid,givenName,sn,mail", "Identifiant,Prénom,Nom,Courriel").encode("cp1252"), PLAIN.replace("anna,Anna", " anna , Anna\u00a0"), PLAIN.replace("Anna,", '"Anna",'),
], ids=["plain", "crlf", "cr", "bom", "no end", "blank lines", "blank rows", "latin", "sep", "excel fr", "tabs", "french", "quoted head", "french latin", "spaces", "quoted"])
def test_csv_as_spreadsheets_write_it(people, text):
    result = people.importing(text)
    assert (result["added"], result["refused"], result["passedOver"]) == (2, [], [])
    anna, bert = people.find("anna"), people.find("bert")
    assert (anna["givenName"], anna["sn"], anna["mail"]) == (["Anna"], ["Müller"], ["a@x.test"])
    assert bert["sn"] == ['Bé, "junior"'] and "mail" not in bert


def test_letters_of_windows(people):
    """What ISO 8859-1 has not, and French and spreadsheets have."""
    assert people.importing("uid;sn\nanna;Lœtitia Œ\u2019€\n".encode("cp1252"))["added"] == 1
    assert people.find("anna")["sn"] == ["Lœtitia Œ\u2019€"]
    assert "taken for Windows-1252" in people.ok("user", "import", "-", input="uid;sn\nanna;Lœtitia\n".encode("cp1252"))


@pytest.mark.parametrize("text, why", [
    (b"", "empty"), (b"\n\n", "empty"), (b"uid\nanna\n", "sn is not among them"), (b"name,mail\nx,y\n", "uid is not among them"), (b"uid,sn,SN\n", "two columns mean sn"), (b"uid,sn,nom\n", "two columns"),
    (b"uid,sn,password,userPassword\n", "do not go together"), ("uid,sn\nanna,A\n".encode("utf-16"), "UTF-16"), (b"uid,sn\nan\0na,A\n", "no text"), (b'"uid,sn\nanna,A\n', "does not end"),
    (b"\x7fELF\x02\x01", "names? the columns|is not among"), (b"sep=;", "no rows|name the columns"),
])
def test_files_that_are_none(people, text, why):
    assert re.search(why, people.refused("user", "import", "-", input=text))
    assert people.entries() == []


def test_a_file_that_is_not_there(people):
    assert "there is no file /nowhere" in people.refused("user", "import", "/nowhere")


def test_rows_that_are_refused_are_named_and_the_others_added(people):
    text = ("uid,sn,givenName,mail,class\n"              # line 1
            "good1,G,,,\n"
            "Bad,B,,,\n"                                 # 3
            "none,,,,\n"                                 # 4
            "x1,X,,nonsense,\n"                          # 5
            'x2,"two\nlines",,,\n'                       # 6, 7
            "x3,X,a\u202eb,,\n"                          # 8
            f"x4,{'x' * 513},,,\n"                       # 9
            "x5,X,,,c,more\n"                            # 10
            'x6,X"y,,,\n'                                # 11
            "good1,Again,,,\n"                           # 12
            "root,R,,,\n"                                # 13
            "x7,X\tY,,,\n"                               # 14
            ",X,,,\n"                                    # 15
            "\"x8\nx9\",X,,,\n"                          # 16, 17
            "uid=x,X,,,\n"                               # 18
            "good2,G\n"
            'x9,"never ends\n')                          # 20
    result = people.importing(text, code=1)
    assert result["added"] == 2 and result["passedOver"] == ["class"]
    assert {entry["uid"][0] for entry in people.entries()} == {"good1", "good2"}
    assert [row["line"] for row in result["refused"]] == [3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20]
    words = {row["line"]: row["text"] for row in result["refused"]}
    for line, word in {3: "owner's name", 4: "family name", 5: "no address", 6: "cannot be seen", 8: "cannot be seen", 9: "longer than", 10: "6 fields for 5", 11: "quote", 12: "stands in line 2",
                       13: "speaks for the host", 14: "cannot be seen", 15: "owner's name", 20: "does not end"}.items():
        assert word in words[line], words[line]
    code, out, err = people.semail("user", "import", "-", input=text)
    assert (code, err) == (1, "")
    assert "\nline 12: good1 stands in line 2 already\n" in out and out.endswith("passed over: class\n0 added, 0 changed, 2 as they are, 15 refused\n")
    # Nothing of a file reaches the terminal as it is.
    assert "\u202e" not in out


# -- LDIF -------------------------------------------------------------------

def test_ldif_of_another_directory(people):
    text = """version: 1
# A comment
 that goes on

dn: dc=school,dc=test
objectClass: dcObject
objectClass: organization
dc: school
o: School

dn: ou=People,dc=school,dc=test
objectClass: organizationalUnit
ou: People

dn: uid=anna,ou=People,dc=school,dc=test
objectClass: inetOrgPerson
objectClass: posixAccount
uid: anna
cn: Anna the
  Great
sn:: R3JlYXQ=
givenName: Anna
mail: a@x.test
mail: anna@x.test
uidNumber: 0
gidNumber: 0
homeDirectory: /root
jpegPhoto:: /9j/4AAQ
userPassword: {SSHA}%s

dn: uid=bert,ou=People,dc=school,dc=test\r
changetype: add\r
uid: bert\r
sn: B\r
userPassword: plain words\r
""" % hashed("from before")
    result = people.importing(text)
    assert (result["added"], result["others"], result["refused"]) == (2, 2, [])
    assert result["passedOver"] == ["gidnumber", "homedirectory", "jpegphoto", "uidnumber"]
    anna = people.find("anna")
    assert anna["dn"] == [f"uid=anna,{BASE}"] and anna["cn"] == ["Anna the Great"] and anna["sn"] == ["Great"] and sorted(anna["mail"]) == ["a@x.test", "anna@x.test"]
    assert anna["objectClass"] == ["inetOrgPerson"]
    # The hash goes with its person; what is none is hashed.
    assert people.check("anna", "from before")[0] == 0 and people.check("bert", "plain words")[0] == 0
    assert people.find("bert")["userPassword"][0].startswith("{ARGON2}")
    assert people.importing(text)["unchanged"] == 2


def hashed(password):
    import hashlib
    salt = os.urandom(8)
    return base64.b64encode(hashlib.sha1(password.encode() + salt).digest() + salt).decode()


def test_what_one_such_directory_writes_out_another_takes(people):
    """Hashes and all, with what OpenLDAP leaves behind them."""
    for number in range(8):
        people.ok("user", "add", f"user{number}", "--name", "Üser", "--password-file", "-", input=f"word {number}")
    people.ok("user", "add", "nobody", "--name", "Without")
    written = people.ldap("ldapsearch", "-LLL", "-b", BASE, "(objectClass=*)").stdout
    people.clear()
    result = people.importing(written)
    assert (result["added"], result["others"], result["refused"]) == (9, 1, [])
    assert [people.check(f"user{number}", f"word {number}")[0] for number in range(8)] == [0] * 8


ENTRY = "dn: uid=evil,{base}\nuid: evil\nsn: E\n"
HOSTILE = {
    "a removal": (f"dn: uid=victim,{BASE}\nchangetype: delete\n", "changetype delete"),
    "a change": (f"dn: uid=victim,{BASE}\nchangetype: modify\nreplace: sn\nsn: Changed\n-\n", "no \"name: value\"|changetype modify"),
    "a move": (f"dn: uid=victim,{BASE}\nchangetype: modrdn\nnewrdn: uid=x\ndeleteoldrdn: 1\n", "changetype modrdn"),
    "a file": ("dn: uid=evil\nuid: evil\nsn:< file:///etc/shadow\n", "from a URL"),
    "a control": ("dn: uid=evil\ncontrol: 1.2.840.113556.1.4.805 true\nchangetype: add\nuid: evil\nsn: E\n", "controls"),
    "two lines in one": (f"dn: uid=evil\nuid: evil\nsn:: {base64.b64encode(b'E' + bytes([10]) + b'mail: x@y.z').decode()}\n", "cannot be seen"),
    "a name with a comma": (f"dn: uid=evil\nuid:: {base64.b64encode(f'evil,{BASE}'.encode()).decode()}\nsn: E\n", "owner's name"),
    "NUL": (f"dn: uid=evil\nuid: evil\nsn:: {base64.b64encode(b'E' + bytes(1) + b'x').decode()}\n", "cannot be seen"),
    "no UTF-8": (f"dn: uid=evil\nuid: evil\nsn:: {base64.b64encode(bytes([0xff])).decode()}\n", "no text in base64"),
    "no base64": ("dn: uid=evil\nuid: evil\nsn:: %%%\n", "no text in base64"),
    "two uids": ("dn: uid=evil\nuid: evil\nuid: root\nsn: E\n", "2 uids"),
    "a password in the clear": ("dn: uid=evil\nuid: evil\nsn: E\nuserPassword: {CLEARTEXT}x\n", "of no kind"),
    "a password elsewhere": ("dn: uid=evil\nuid: evil\nsn: E\nuserPassword: {SASL}root@elsewhere\n", "of no kind"),
    "two passwords": ("dn: uid=evil\nuid: evil\nsn: E\nuserPassword: a\nuserPassword: b\n", "two passwords"),
    "no name": ("dn: uid=evil\nuid: evil\n", "family name"),
    "no dn": ("version: 1\n\nuid: evil\nsn: E\n", "begin with dn"),
    "no lines": ("dn: uid=evil\nuid: evil\nnonsense\nsn: E\n", "no \"name: value\""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_ldif_that_wants_more_than_people(people, name):
    people.ok("user", "add", "victim", "--name", "Victim")
    before = people.entries("(objectClass=*)", SUFFIX)
    text, why = HOSTILE[name]
    result = people.importing(text, code=1)
    assert result["added"] == result["changed"] == 0 and re.search(why, result["refused"][0]["text"]), result
    assert people.entries("(objectClass=*)", SUFFIX) == before


@pytest.mark.parametrize("base", ["cn=config", GROUP, f"ou=Groupes,{SUFFIX}", "nonsense", "", f"ou=x+cn=y,{SUFFIX}"])
def test_wherever_an_entry_says_it_is_it_goes_beneath_the_base(people, base):
    assert people.importing(ENTRY.format(base=base))["added"] == 1
    assert people.find("evil")["dn"] == [f"uid=evil,{BASE}"]
    assert len(people.entries("(objectClass=*)", SUFFIX)) == 4


# -- again ------------------------------------------------------------------

def test_again_nothing_is_done_twice(people):
    text = "uid,givenName,sn,mail,password\nanna,Anna,A,a@x.test,one\nbert,,B,,two\ncarl,,C,,\n"
    assert people.importing(text)["added"] == 3
    before = people.entries(attributes=("*", "+"))
    again = people.importing(text)
    assert (again["added"], again["changed"], again["unchanged"]) == (0, 0, 3)
    assert people.entries(attributes=("*", "+")) == before
    # What changed is brought up to date; a password somebody has is theirs.
    people.ok("user", "passwd", "anna", "--password-file", "-", input="mine")
    changed = people.importing(text.replace("Anna,A", "Anne,A").replace("bert,,B,", "bert,,B,b@x.test"))
    assert (changed["added"], changed["changed"], changed["unchanged"]) == (0, 2, 1)
    assert people.find("anna")["cn"] == ["Anne A"] and people.find("bert")["mail"] == ["b@x.test"]
    assert people.check("anna", "mine")[0] == 0 and people.check("anna", "one")[0] == 1
    # An empty field says nothing.
    assert people.importing("uid,sn,mail\nanna,A,\n")["unchanged"] == 1 and people.find("anna")["mail"] == ["a@x.test"]
    # Nobody is removed.
    assert len(people.entries()) == 3


def test_whoever_was_added_and_got_no_password_gets_it_the_next_time(people):
    people.ok("user", "add", "anna", "--name", "A")
    people.ok("user", "add", "bert", "--name", "B")
    text = f"dn: uid=anna\nuid: anna\nsn: A\nuserPassword: word\n\ndn: uid=bert\nuid: bert\nsn: B\nuserPassword: {{SSHA}}{hashed('hash')}\n"
    assert people.importing(text)["changed"] == 2 and people.check("anna", "word")[0] == people.check("bert", "hash")[0] == 0
    assert people.importing(text)["unchanged"] == 2


def test_a_dry_run_writes_nothing_and_counts_the_same(people, tmp_path):
    people.ok("user", "add", "anna", "--name", "A")
    people.ok("user", "add", "bert", "--name", "B", "--generate")
    text = "uid,sn,password\nanna,Other,x\nbert,B,\ncarl,C,y\ndora,D,\nBad,B,\n"
    before = people.entries("(objectClass=*)", SUFFIX, ("*", "+"))
    dry = people.importing(text, "--dry-run", "--generate-passwords", tmp_path / "made", code=1)
    assert people.entries("(objectClass=*)", SUFFIX, ("*", "+")) == before and not (tmp_path / "made").exists()
    assert (dry["added"], dry["changed"], dry["unchanged"], dry["passwordsMade"], len(dry["refused"])) == (2, 1, 1, 1, 1)
    out = people.semail("user", "import", "-", "--dry-run", input=text)[1]
    assert out.endswith("2 would be added, 1 would be changed, 1 as they are, 1 refused\nnothing was written\n")
    wet = people.importing(text, "--generate-passwords", tmp_path / "made", code=1)
    assert {**dry, "isDryRun": False} == wet


def test_passwords_that_are_made_are_written_to_a_file(people, tmp_path):
    path = tmp_path / "made"
    result = people.importing("uid,sn,password\nanna,A,\nbert,B,own\ncarl,C,\n", "--generate-passwords", path)
    assert result["passwordsMade"] == 2 and path.stat().st_mode & 0o7777 == 0o600
    made = dict(line.split("\t") for line in path.read_text().splitlines())
    assert set(made) == {"anna", "carl"} and len(set(made.values())) == 2
    for uid, password in {**made, "bert": "own"}.items():
        assert people.check(uid, password)[0] == 0
    # Never over another file, and never through a link.
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("made", "link"):
        assert "not there yet" in people.refused("user", "import", "-", "--generate-passwords", tmp_path / name, input="uid,sn\ndora,D\n")
    assert people.find("dora") is None and not (tmp_path / "elsewhere").exists()
    assert people.importing("uid,sn\nanna,A\n", "--generate-passwords", tmp_path / "more")["unchanged"] == 1


# -- many -------------------------------------------------------------------

def many(count=PEOPLE, each=1):
    """One of EACH has a password: to hash it is most of the work."""
    return "uid,givenName,sn,mail,password\n" + "".join(
        f"user{number:05},Given {number},Näme {number},user{number}@school.test,{'' if number % each else f'password {number}'}\n" for number in range(count))


# What a process had before its exec counts too, and that of these tests is large by then: a small one stands in between.
_MEASURE = "import os, sys; _, status, usage = os.wait4(os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:]), 0); print(usage.ru_maxrss, file=sys.stderr); sys.exit(os.waitstatus_to_exitcode(status))"


def timed(people, *arguments, input):
    """Exit code, output, seconds, and the most memory it had, in octets."""
    started = time.monotonic()
    done = subprocess.run(["/usr/bin/python3", "-S", "-c", _MEASURE, people.home.program("semail"), *map(str, arguments)], input=input.encode(),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=people.environment)
    return done.returncode, done.stdout.decode(), time.monotonic() - started, int(done.stderr.split()[-1]) * 1024


def test_ten_thousand(people):
    """A dry run, for real, and all of it again."""
    text = many(each=10)
    for arguments, words, most in ((["--dry-run"], f"{PEOPLE} would be added", 60), ([], f"{PEOPLE} added, 0 changed, 0 as they are, 0 refused", 600),
                                   ([], f"0 added, 0 changed, {PEOPLE} as they are, 0 refused", 60)):
        code, out, seconds, octets = timed(people, "user", "import", "-", *arguments, input=text)
        print(f"import {' '.join(arguments)}: {seconds:.1f} s, {octets >> 20} MiB")
        assert code == 0 and words in out
        assert seconds < most and octets < 200 << 20
    code, out, seconds, octets = timed(people, "user", "list", input="")
    print(f"list: {seconds:.1f} s, {octets >> 20} MiB")
    assert code == 0 and out.count("\n") == PEOPLE and seconds < 30 and octets < 200 << 20
    assert people.check("user09990", "password 9990")[0] == 0
    # Nobody but root gets them all.
    assert len(people.entries(who=("-x",), code=4)) == 500


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_import_that_is_cut_short_goes_on(people, how):
    text = many(600)
    process = subprocess.Popen([people.home.program("semail"), "user", "import", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=people.environment)
    process.stdin.write(text.encode())
    process.stdin.close()
    assert await_true(lambda: people.find("user00100"), 60, 0.05)
    process.send_signal(how)
    out = process.stdout.read().decode()
    process.stdout.close()
    assert process.wait(30) == (-9 if how == signal.SIGKILL else 130)
    there = len(people.entries(attributes=("uid",)))
    assert 100 < there < 600
    if how != signal.SIGKILL:
        assert f"{there} added" in out and "interrupted: run it again to go on" in out
        assert all("userPassword" in entry for entry in people.entries())
    result = people.importing(text)
    # One may have been added and had no password yet.
    assert result["added"] == 600 - there and result["changed"] <= 1 and result["refused"] == []
    entries = people.entries()
    assert len(entries) == 600 and all("userPassword" in entry for entry in entries)


def test_progress_is_for_a_terminal(people):
    path = people.path / "many.csv"
    path.write_text(many(400))
    code, shown = terminal(people, "user", "import", str(path), typed=[])
    assert code == 0 and re.search(r"\r\d+ of 400 ", shown) and "400 added" in shown
    assert people.ok("user", "import", path).count("\n") == 1


# -- when the directory does not do its part --------------------------------

def test_no_server(people):
    people.home.control("ldap-uri", "ldapi://%2Fnowhere")
    try:
        for arguments in (("user", "list"), ("user", "add", "anna", "--name", "A"), ("user", "import", "-")):
            assert "%2Fnowhere" in people.refused(*arguments, input="uid,sn\nanna,A\n")
    finally:
        people.home.control("ldap-uri", people.uri)


def test_a_server_that_dies_amid_an_import():
    with PeopleDirectory() as people:
        process = subprocess.Popen([people.home.program("semail"), "user", "import", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=people.environment)
        process.stdin.write(many(1000).encode())
        process.stdin.close()
        assert await_true(lambda: people.find("user00100"), 60, 0.05)
        people.stop("kill")
        err = process.stderr.read().decode()
        assert process.wait(60) == 1
        process.stdout.close(), process.stderr.close()
        [line, added] = map(int, re.search(r"line (\d+): .*those before it are done \((\d+) added, 0 changed\): run it again", err).groups())
        assert line == added + 2
        people.start()
        assert added <= len(people.entries()) <= added + 1
        assert people.importing(many(200), code=0)["refused"] == []


@pytest.fixture(scope="module")
def foreign():
    with Slapd(f'rootdn "{MANAGER}"\nrootpw secret') as slapd:
        yield slapd


@pytest.fixture
def elsewhere(people, foreign):
    """The same home, whose settings name another's server."""
    names = ("uri", "base", "tls", "ca", "manager-dn", "admin-group")
    before = {name: (people.path / f"control/ldap-{name}").read_text().strip() if (people.path / f"control/ldap-{name}").exists() else None for name in names}
    foreign.control(people.home)
    people.home.control("ldap-admin-group", f"cn=admins,{FOREIGN}")
    yield people
    for name, value in before.items():
        people.home.control(f"ldap-{name}", value)
    (people.path / "control/ldap-manager-password").unlink(missing_ok=True)


def manager(people, password="secret", name=MANAGER):
    people.home.control("ldap-manager-dn", name)
    if password is not None:
        people.home.control("ldap-manager-password", password)


@pytest.mark.parametrize("road", ["ldap", "starttls", "ldaps", "ldapi"])
def test_another_server_by_its_managers_password(elsewhere, foreign, road):
    manager(elsewhere)
    elsewhere.home.control("ldap-uri", {"ldaps": foreign.secure, "ldapi": foreign.local}.get(road, foreign.plain))
    elsewhere.home.control("ldap-tls", "starttls" if road == "starttls" else "none")
    uid = "new-" + road
    elsewhere.ok("user", "add", uid, "--name", "New", "--password-file", "-", input="word")
    assert elsewhere.check(uid, "word")[0] == 0
    assert f"\n{uid}\tNew\t" in elsewhere.ok("user", "list")
    elsewhere.ok("user", "admin", uid)
    assert elsewhere.check(uid, "word")[1] == f"{uid}|1\n"
    elsewhere.ok("user", "delete", uid, "--yes")
    assert elsewhere.check(uid, "word")[0] == 1


@pytest.mark.parametrize("password, name, why", [
    ("wrong", MANAGER, "Invalid credentials"), ("", MANAGER, "ldap-manager-password is missing or empty"), (None, MANAGER, "ldap-manager-password is missing or empty"),
    ("secret", f"cn=nobody,{FOREIGN}", "Invalid credentials"), ("secret", "nonsense", "Invalid DN"), (None, None, "cannot know who I am.*ldap-manager-dn"),
    # Somebody whom the directory knows, and who may not write.
    ("look", f"cn=searcher,{FOREIGN}", "does not let me write"),
])
def test_managers_that_are_none(elsewhere, password, name, why):
    manager(elsewhere, password, name)
    err = elsewhere.refused("user", "add", "anna", "--name", "A", "--password-file", "-", input="hidden word")
    assert re.search(why, err) and "secret" not in err and "hidden" not in err
    err = elsewhere.refused("user", "import", "-", input="uid,sn\nanna,A\nbert,B\n")
    assert re.search(why, err)


def test_roots_word_counts_for_nothing_where_nobody_said_so(elsewhere, foreign):
    elsewhere.home.control("ldap-uri", foreign.local)
    assert "does not let me write" in elsewhere.refused("user", "add", "anna", "--name", "A")


def test_a_certificate_of_nobody(elsewhere, foreign):
    """The manager's password goes to nobody whom TLS does not vouch for."""
    manager(elsewhere)
    elsewhere.home.control("ldap-tls", "starttls")
    elsewhere.home.control("ldap-ca", "/etc/ssl/certs/ca-certificates.crt")
    assert "certificate" in elsewhere.refused("user", "list")


def test_two_of_one_uid(elsewhere):
    manager(elsewhere)
    assert "2 entries have the uid twin" in elsewhere.refused("user", "passwd", "twin", "--generate")
    assert "2 entries have the uid twin" in elsewhere.importing("uid,sn\ntwin,T\n", code=1)["refused"][0]["text"]


@pytest.mark.parametrize("kind, member", [("groupOfNames", "member: {dn}"), ("groupOfUniqueNames", "uniqueMember: {dn}"), ("posixGroup", "memberUid: {uid}\ngidNumber: 4")])
def test_groups_of_every_kind(elsewhere, foreign, kind, member):
    manager(elsewhere)
    for uid in ("first1", "other1"):
        elsewhere.ok("user", "add", uid, "--name", "X", "--password-file", "-", input="word")
    group = f"cn=of {kind},{FOREIGN}"
    elsewhere.home.control("ldap-admin-group", group)
    entry = f"dn: {group}\nobjectClass: {kind}\ncn: of {kind}\n{member.format(dn=f'uid=first1,ou=people,{FOREIGN}', uid='first1')}\n"
    who = ("-x", "-D", MANAGER, "-w", "secret")
    done = subprocess.run([semailtest.tool("ldapadd"), *who, "-H", foreign.plain], input=entry, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ranks = lambda: [elsewhere.check(uid, "word")[1] for uid in ("first1", "other1")]
    assert ranks() == ["first1|1\n", "other1|\n"]
    assert "as before" in elsewhere.ok("user", "admin", "first1")
    elsewhere.ok("user", "admin", "other1")
    assert ranks() == ["first1|1\n", "other1|1\n"]
    elsewhere.ok("user", "admin", "first1", "--revoke")
    assert ranks() == ["first1|\n", "other1|1\n"]
    assert elsewhere.json("user", "delete", "other1", "--yes")["wasAdmin"] is True
    elsewhere.ok("user", "delete", "first1", "--yes")
    # Somebody else who gets the uid is none.
    elsewhere.ok("user", "add", "other1", "--name", "X", "--password-file", "-", input="word")
    assert elsewhere.check("other1", "word")[1] == "other1|\n"
    elsewhere.ok("user", "delete", "other1", "--yes")


# -- who may see what -------------------------------------------------------

def test_administrators(people):
    for uid in ("anna", "bert"):
        people.ok("user", "add", uid, "--name", "X", "--password-file", "-", input="word")
    assert people.check("anna", "word", environment={"SEMAIL_ADMIN": "1"}) == (0, "anna|\n", "")
    assert people.json("user", "admin", "anna") == {"uid": "anna", "dn": f"uid=anna,{BASE}", "isAdmin": True, "isNew": True}
    assert people.check("anna", "word")[1] == "anna|1\n" and people.check("bert", "word")[1] == "bert|\n"
    assert [line.split("\t")[4] for line in people.ok("user", "list").splitlines()] == ["yes", "no"]
    # The last member takes the group along: a group cannot be without any.
    people.ok("user", "admin", "anna", "--revoke")
    assert people.entries("(objectClass=*)", GROUP, code=32) == []
    assert people.check("anna", "word") == (0, "anna|\n", "")
    assert "there is no nobody" in people.refused("user", "admin", "nobody")


def test_what_everybody_may_see_of_the_directory(people):
    people.ok("user", "add", "anna", "--name", "Secret", "--mail", "s@x.test", "--password-file", "-", input="word")
    people.ok("user", "add", "bert", "--name", "B", "--password-file", "-", input="word")
    people.ok("user", "admin", "anna")
    anybody, bert = ("-x",), ("-x", "-D", f"uid=bert,{BASE}", "-w", "word")
    for who in (anybody, bert):
        assert people.entries("(uid=anna)", who=who) == [{"dn": [f"uid=anna,{BASE}"], "uid": ["anna"]}]
        for filter in ("(sn=Secret)", "(mail=*)", "(userPassword=*)", "(objectClass=inetOrgPerson)"):
            assert [entry for entry in people.entries(filter, who=who) if entry["dn"] != [f"uid=bert,{BASE}"]] == []
        assert people.entries("(objectClass=*)", SUFFIX, who=who, attributes=("userPassword",)) in ([], [{"dn": [f"uid=bert,{BASE}"]}])
    # Oneself, but for the hash, which one may change.
    [own] = people.entries("(uid=bert)", who=bert)
    assert own["sn"] == ["B"] and "userPassword" not in own
    change = f"dn: uid=bert,{BASE}\nchangetype: modify\nreplace: sn\nsn: Changed\n"
    assert people.ldap("ldapmodify", input=change, who=bert).returncode == 50
    assert people.ldap("ldapmodify", input=change.replace("bert", "anna"), who=bert).returncode == 50
    assert people.ldap("ldappasswd", "-s", "new", f"uid=anna,{BASE}", who=bert).returncode == 1
    assert people.ldap("ldapmodify", input=f"dn: {GROUP}\nchangetype: modify\nadd: member\nmember: uid=bert,{BASE}\n", who=bert).returncode == 50
    assert people.ldap("ldappasswd", "-a", "word", "-s", "new", who=bert).returncode == 0
    assert people.check("bert", "new")[0] == 0


def test_who_reaches_the_socket(people):
    """Those who check passwords, by their group, and root; nobody else on the host."""
    path = people.path / "run/directory/ldapi"
    assert path.stat().st_uid == DIRECTORY_USER and path.parent.stat().st_mode & 0o777 == 0o750
    script = f"import socket; socket.socket(socket.AF_UNIX).connect({str(path)!r})"
    for uid, groups, code in ((61099, [], 1), (61099, [DIRECTORY_USER], 0)):
        done = subprocess.run(["/usr/bin/python3", "-c", script], user=uid, group=uid, extra_groups=groups, stderr=subprocess.DEVNULL)
        assert done.returncode == code


def test_slapd_is_never_root_and_has_no_rights(people):
    status = open(f"/proc/{people.process.pid}/status").read()
    assert re.search(rf"^Uid:\t{DIRECTORY_USER}\t{DIRECTORY_USER}\t{DIRECTORY_USER}\t", status, re.M) and "NoNewPrivs:\t1" in status
    assert re.search(r"^CapEff:\t0{16}$", status, re.M) and re.search(r"^CapBnd:\t0{16}$", status, re.M)
    assert "Max open files            1024                 1024" in open(f"/proc/{people.process.pid}/limits").read()


# -- the directory itself ---------------------------------------------------

def test_made_once_and_left_alone(server):
    assert re.findall(r"^   (\w+)", server.made, re.M) == ["made"] * 5
    conf = server.path / "control/slapd.conf"
    conf.write_text(conf.read_text() + "# mine\n")
    before = {path: path.stat().st_mtime_ns for path in (server.path / "control").iterdir()}
    assert re.findall(r"^   (\w+)", server.make(), re.M) == ["ok"] * 5
    assert {path: path.stat().st_mtime_ns for path in (server.path / "control").iterdir()} == before


def test_what_was_cut_short_is_made_anew():
    with PeopleDirectory() as people:
        people.stop()
        # As if slapadd had been killed, before it ever got its name.
        (people.path / "directory/db").rename(people.path / "directory/fresh")
        os.truncate(people.path / "directory/fresh/data.mdb", 8192)
        assert "made" in people.make()
        assert [path.name for path in (people.path / "directory").iterdir()] == ["db"]
        people.start()
        assert people.entries("(objectClass=*)", SUFFIX, ("ou",))[1:] == [{"dn": [f"ou={name},{SUFFIX}"], "ou": [name]} for name in ("Personnes", "Groupes")]


def test_it_survives_being_killed():
    with PeopleDirectory() as people:
        people.ok("user", "add", "anna", "--name", "A", "--password-file", "-", input="word")
        people.stop("kill")
        people.start()
        assert people.check("anna", "word")[0] == 0


# -- the doctor -------------------------------------------------------------

def doctor(people):
    return [(finding["level"], finding["text"]) for finding in people.json("doctor", code=people.semail("doctor")[0])["findings"] if finding["check"] == "directory"]


def test_the_doctor_on_a_directory(people):
    [(level, text)] = doctor(people)
    assert level == "note" and "nobody administers the portal" in text
    people.ok("user", "add", "anna", "--name", "A")
    people.ok("user", "admin", "anna")
    [(level, text)] = doctor(people)
    assert level == "well" and BASE in text
    assert people.ldap("ldapmodify", input=f"dn: uid=anna,{BASE}\nchangetype: modify\nreplace: userPassword\nuserPassword: in the clear\n").returncode == 0
    [(level, text)] = doctor(people)
    assert level == "mend" and text.startswith("1 person has a password in the directory that anybody can read")
    assert "in the clear" not in text
    people.ok("user", "passwd", "anna", "--generate")
    people.home.control("ldap-uri", f"ldapi://%2Fnowhere {people.uri}")
    try:
        [(level, text)] = doctor(people)
        assert level == "note" and "one server of the directory does not answer: ldapi://%2Fnowhere" in text
        people.home.control("ldap-uri", "ldapi://%2Fnowhere")
        [(level, text)] = doctor(people)
        assert level == "mend" and "no password can be checked" in text
        people.home.control("ldap-uri", f"{people.uri} ldap://0.0.0.0:1")
        people.home.control("ldap-tls", "none")
        assert any(level == "mend" and "ldap://0.0.0.0:1 in the clear" in text for level, text in doctor(people))
    finally:
        people.home.control("ldap-uri", people.uri)
        people.home.control("ldap-tls", None)
    people.home.control("ldap-base", "ou=nowhere," + SUFFIX)
    try:
        [(level, text)] = doctor(people)
        assert level == "mend" and "No such object" in text
    finally:
        people.home.control("ldap-base", BASE)

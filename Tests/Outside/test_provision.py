"""provision: what the portal asks for is done whole or not at all, whoever is killed, whatever is full or broken."""

import fcntl
import os
import random
import re
import subprocess
import time

import pytest

from provisionlab import PORTAL_USER, House
from semailtest import await_true, program, tool

LONG = bool(os.environ.get("SEMAIL_LONG"))
ADDRESS = "ssow@ssow.semail.test"


@pytest.fixture
def house():
    with House() as house:
        yield house


@pytest.fixture(scope="module")
def shared():
    """For tests that leave nothing behind."""
    with House() as house:
        yield house


def created(house, owner="ssow", address=None, **more):
    address = address or f"{owner}@{owner}.semail.test"
    id = house.ask("create", owner=owner, address=address, **more)
    house.provision_once()
    assert house.answer(id).end == ["done"], house.answer(id).lines
    return address


# -- made and unmade -----------------------------------------------------------

def test_a_mailbox_is_made_whole_and_unmade_without_a_trace(house):
    before = house.traces()
    id = house.ask("create", owner="ssow", address=ADDRESS)
    house.provision_once()
    answer = house.answer(id)
    assert answer.end == ["done"] and list(answer.steps) == ["reserve", "volume", "container", "records", "publish"]
    assert set(answer.steps.values()) == {"done"}
    mailbox = house.is_whole("ssow", ADDRESS)
    assert mailbox["volume"] == f"image {16 << 20}"
    [options] = [line.split()[5] for line in house.run(["cat", "/proc/self/mountinfo"]).stdout.splitlines() if line.split()[4].endswith("/mnt/ssow")]
    assert {"rw", "nosuid", "nodev", "noexec"} <= set(options.split(","))
    id = house.ask("delete", owner="ssow", address=ADDRESS)
    house.provision_once()
    answer = house.answer(id)
    assert answer.end == ["done"] and list(answer.steps) == ["publish", "records", "container", "volume", "reserve"]
    assert house.traces() == before
    assert os.listdir(house.home / "requests/taken") == [] and os.listdir(house.home / "requests/new") == []


def test_the_admins_command_is_the_same(house):
    before = house.traces()
    made = house.semail("mailbox", "create", "ssow", ADDRESS, "--size", "24M")
    assert re.fullmatch(rf"{ADDRESS}: mailbox of ssow, uid 30001, in .*/mnt/ssow/Maildir\n", made.stdout)
    assert house.is_whole("ssow", ADDRESS)["volume"] == f"image {24 << 20}"
    again = house.semail("mailbox", "create", "ssow", ADDRESS)
    assert "was there already" in again.stdout
    house.semail("mailbox", "delete", "--yes", ADDRESS)
    assert house.traces() == before


def test_kept_mail_is_taken_over_with_its_uid(house):
    created(house)
    house.run(["setpriv", "--reuid", "30001", "--regid", "30001", "--clear-groups", "sh", "-c", f"echo 'Subject: kept' > {house.home}/mnt/ssow/Maildir/new/1"])
    house.semail("mailbox", "delete", "--yes", "--keep-mail", ADDRESS)
    assert house.mailbox(ADDRESS) is None and (house.home / "volumes/ssow").exists()
    created(house, "other")
    # As after a start of the host: nothing is mounted.
    house.run(["umount", f"{house.home}/mnt/ssow"])
    created(house, "ssow", "new@ssow.semail.test")
    assert house.is_whole("ssow", "new@ssow.semail.test")["uid"] == "30001"
    assert house.run(["cat", f"{house.home}/mnt/ssow/Maildir/new/1"]).stdout == "Subject: kept\n"


def test_twenty_at_once(house):
    """Two want the same address, and one person asks for two."""
    house.start()
    wishes = [(f"user{number}", f"user{number}@user{number}.semail.test") for number in range(17)]
    wishes += [("first", "same@same.semail.test"), ("second", "same@same.semail.test"), ("user3", "three@three.semail.test")]
    random.shuffle(wishes)
    start = time.monotonic()
    ids = {house.ask("create", owner=owner, address=address): (owner, address) for owner, address in wishes}
    ends = {ids[id]: house.await_end(id).end for id in ids}
    seconds = time.monotonic() - start
    made = [wish for wish, end in ends.items() if end == ["done"]]
    refused = {end[1] for end in ends.values() if end[0] == "refused"}
    assert len(made) == 18 and len({owner for owner, _ in made}) == 18
    assert refused == {"taken", "has-one"}
    assert len({house.is_whole(owner, address)["uid"] for owner, address in made}) == 18
    assert seconds < 60
    house.stop()


# -- refusals --------------------------------------------------------------------

REFUSED = {
    "an address of another": (dict(owner="new", address="xredon@red.semail.test"), "taken"),
    "an address of another, in capitals": (dict(owner="new", address="XRedon@Red.Semail.Test"), "taken"),
    "a subdomain of another": (dict(owner="new", address="new@red.semail.test"), "domain-taken"),
    "a second mailbox": (dict(owner="xredon", address="second@second.semail.test"), "has-one"),
    "postmaster": (dict(owner="new", address="postmaster@new.semail.test"), "reserved"),
    "root": (dict(owner="new", address="root@new.semail.test"), "reserved"),
    "www": (dict(owner="new", address="new@www.semail.test"), "reserved"),
    "the host's own name": (dict(owner="new", address="new@mail.semail.test"), "reserved"),
    "a subdomain that the admin reserved": (dict(owner="new", address="new@president.semail.test"), "reserved"),
    "a name that the admin reserved": (dict(owner="new", address="president@new.semail.test"), "reserved"),
    "the domain itself": (dict(owner="new", address="new@semail.test"), "not-offered"),
    "two steps beneath": (dict(owner="new", address="new@a.b.semail.test"), "bad-domain"),
    "a domain of one word": (dict(owner="new", address="new@localhost"), "bad-domain"),
    "a domain with a slash": (dict(owner="new", address="new@../../etc"), "bad-domain"),
    "a domain that is an address": (dict(owner="new", address="new@192.0.2.1"), "bad-domain"),
    "a very long subdomain": (dict(owner="new", address=f"new@{'l' * 41}.semail.test"), "bad-domain"),
    "no domain": (dict(owner="new", address="new"), "bad-name"),
    "a local part with a slash": (dict(owner="new", address="a/b@new.semail.test"), "bad-name"),
    "a local part that begins with a dot": (dict(owner="new", address=".making@new.semail.test"), "bad-name"),
    "an owner with a slash": (dict(owner="../etc", address="new@new.semail.test"), "bad-name"),
    "an owner with a dot in front": (dict(owner=".lock", address="new@new.semail.test"), "bad-name"),
    "a size without an admin": (dict(owner="new", address="new@new.semail.test", size="1G"), "bad-request"),
    "a size that is too small": (dict(owner="new", address="new@new.semail.test", size="1M", by="admin"), "full"),
    "a size that is too large": (dict(owner="new", address="new@new.semail.test", size="900000G", by="admin"), "full"),
}


@pytest.fixture(scope="module")
def taken():
    with House(settings={"reserved-names": "president"}.items()) as house:
        created(house, "xredon", "xredon@red.semail.test")
        yield house


@pytest.mark.parametrize("name", REFUSED)
def test_a_wish_that_cannot_be(taken, name):
    fields, code = REFUSED[name]
    before = taken.traces()
    id = taken.ask("create", **fields)
    taken.provision_once()
    end = taken.answer(id).end
    assert end[:2] == ["refused", code] and len(end[2]) > 10, taken.answer(id).lines
    assert taken.traces() == before


def test_the_domain_itself_where_it_is_open(taken):
    taken.semail("config", "domain-open", "yes")
    created(taken, "open", "open@semail.test")
    # It is everybody's.
    created(taken, "open2", "open2@semail.test")
    for owner in ("open", "open2"):
        taken.semail("mailbox", "delete", "--yes", f"{owner}@semail.test")
    taken.semail("config", "domain-open", "no")


def test_own_domains_where_they_are_not_offered(taken):
    taken.semail("config", "own-domains", "no")
    id = taken.ask("create", owner="new", address="new@own.example")
    taken.provision_once()
    taken.semail("config", "own-domains", "yes")
    assert taken.answer(id).end[:2] == ["refused", "not-offered"]


ORDERS_REFUSED = {
    "deletion of another's": (dict(what="delete", owner="new", address="xredon@red.semail.test"), "no-mailbox"),
    "deletion with a wrong address": (dict(what="delete", owner="xredon", address="xredon@red.semail.tes"), "wrong-address"),
    "resize without an admin": (dict(what="resize", owner="xredon", size="1G"), "bad-request"),
    "suspend without an admin": (dict(what="suspend", owner="xredon"), "bad-request"),
    "a smaller volume": (dict(what="resize", owner="xredon", size="8M", by="admin"), "full"),
    "no container": (dict(what="start", owner="xredon"), "no-container"),
    "no such message": (dict(what="cancel", owner="xredon", id="1k0z7829mgkp68jj"), "no-message"),
    "a message's id that is a path": (dict(what="cancel", owner="xredon", id="../lock"), "bad-request"),
    "twenty-one keys": (dict(what="keys", owner="xredon", key=["ssh-ed25519 AAAA"] * 21), "bad-request"),
}


@pytest.mark.parametrize("name", ORDERS_REFUSED)
def test_an_order_that_cannot_be(taken, name):
    fields, code = ORDERS_REFUSED[name]
    fields = dict(fields)
    id = taken.ask(fields.pop("what"), **fields)
    taken.provision_once()
    assert taken.answer(id).end[:2] == ["refused", code], taken.answer(id).lines
    taken.is_whole("xredon", "xredon@red.semail.test")


# -- files that are no requests --------------------------------------------------

MALFORMED = {
    "empty": b"", "a line end": b"\n", "binary": bytes(range(256)), "NUL": b"do create\0\nowner new\n", "not UTF-8": b"do create\nowner \xff\naddress a@a.semail.test\n",
    "no do": b"owner new\naddress new@new.semail.test\n", "do later": b"owner new\ndo create\naddress new@new.semail.test\n", "two dos": b"do create\ndo delete\nowner new\naddress new@new.semail.test\n",
    "nothing to do": b"do\nowner new\n", "an unknown word": b"do everything\nowner new\n", "no owner": b"do create\naddress new@new.semail.test\n", "two owners": b"do create\nowner new\nowner new\naddress new@new.semail.test\n",
    "two addresses": b"do create\nowner new\naddress new@new.semail.test\naddress b@b.semail.test\n", "a line too many": b"do create\nowner new\naddress new@new.semail.test\nshell /bin/sh\n",
    "an empty value": b"do create\nowner \naddress new@new.semail.test\n", "CRLF": b"do create\r\nowner new\r\naddress new@new.semail.test\r\n", "tabs": b"do\tcreate\nowner\tnew\naddress\tnew@new.semail.test\n",
    "an escape": b"do create\nowner new\x1b[31m\naddress new@new.semail.test\n", "a size that is none": b"do create\nowner new\naddress new@new.semail.test\nsize lots\nby admin\n",
    "a negative size": b"do create\nowner new\naddress new@new.semail.test\nsize -5\nby admin\n", "64K": b"do create\nowner new\n" + b"x" * 65536, "a megabyte": b"do keys\nowner new\nkey " + b"k" * 1000000,
    "a line without a value": b"do start\nowner new\nnow\n", "a leading space": b" do create\nowner new\naddress new@new.semail.test\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_request_is_refused(shared, name):
    before = shared.traces()
    id = shared.put(MALFORMED[name])
    shared.provision_once()
    end = shared.answer(id).end
    assert end[0] == "refused" and end[1] in ("bad-request", "bad-name"), shared.answer(id).lines
    assert shared.traces() == before


def test_other_things_than_files_are_no_requests(shared):
    new, before = shared.home / "requests/new", shared.traces()
    secret = shared.directory / "secret"
    secret.write_text("do create\nowner stolen\naddress stolen@stolen.semail.test\n")
    names = [f"{number:032x}" for number in range(1, 5)]
    os.symlink(secret, new / names[0])
    os.mkfifo(new / names[1])
    (new / names[2]).mkdir()
    os.symlink("/nowhere", new / names[3])
    for name in ("short", "A" * 32, "0" * 31, "g" * 32, "x y"):
        (new / name).write_text("do create\nowner new\naddress new@new.semail.test\n")
    shared.provision_once(timeout=20)
    for name in names:
        assert shared.answer(name).end[:2] == ["refused", "bad-request"]
    assert shared.traces() == before and secret.exists()
    assert [name for name in os.listdir(new)] == []
    taken = shared.home / "requests/taken"
    assert os.listdir(taken) == []


def test_the_portal_adds_requests_and_sees_none(shared):
    def portal(*command):
        return shared.run(["setpriv", "--reuid", str(PORTAL_USER), "--regid", str(PORTAL_USER), "--clear-groups", *command], check=False)

    new = shared.home / "requests/new"
    name = "f" * 32
    assert portal("sh", "-c", f"echo do > {new}/.{name}.tmp && mv {new}/.{name}.tmp {new}/{name}").returncode == 0
    assert portal("ls", new).returncode != 0
    for other in ("requests/taken", "volumes"):
        assert portal("ls", shared.home / other).returncode != 0
    for command in (["touch", shared.home / "requests/state/x"], ["touch", shared.home / "mailboxes/x"], ["rm", shared.home / "mailboxes/postmaster@mail.semail.test"]):
        assert portal(*map(str, command)).returncode != 0
    shared.provision_once()


# -- life ----------------------------------------------------------------------

def deliver(house, owner, text="Subject: x\n\nx\n"):
    mailbox = house.mailbox(f"{owner}@{owner}.semail.test")
    return house.run(["setpriv", "--reuid", mailbox["uid"], "--regid", mailbox["gid"], "--clear-groups", program("maildir-deliver"), mailbox["maildir"]], check=False, input=text)


def test_a_full_volume_is_its_owners_trouble_alone(house):
    for owner in ("full", "other"):
        created(house, owner)
    codes = {deliver(house, "full", "Subject: large\n\n" + "x" * 3_000_000).returncode for _ in range(8)}
    assert codes == {0, 111}
    assert deliver(house, "other").returncode == 0


def test_volumes_are_mounted_again_after_a_start(house):
    for owner in ("one", "two", "broken"):
        created(house, owner)
    deliver(house, "one")
    for place in house.mounts():
        house.run(["umount", place])
    # Mail that comes before that has to wait.
    assert deliver(house, "one").returncode == 111
    with open(house.home / "volumes/broken", "r+b") as image:
        image.write(b"\xff" * 4_000_000)
    result = house.provision_once()
    assert {place.rpartition("/")[2] for place in house.mounts()} >= {"one", "two"}
    assert deliver(house, "one").returncode == 0
    assert "chore what=mount owner=broken" in result.stderr and "e2fsck -f" in result.stderr


def test_a_volume_grows_with_its_mail(house):
    created(house)
    deliver(house, "ssow", "Subject: before\n\n" + "x" * 1000)
    before = house.run(["stat", "-f", "-c", "%b", f"{house.home}/mnt/ssow"]).stdout
    id = house.ask("resize", owner="ssow", size="48M", by="admin")
    house.provision_once()
    assert house.answer(id).end == ["done"], house.answer(id).lines
    assert int(house.run(["stat", "-f", "-c", "%b", f"{house.home}/mnt/ssow"]).stdout) > 2 * int(before)
    assert house.is_whole("ssow", ADDRESS)["volume"] == f"image {48 << 20}"
    [name] = house.run(["ls", f"{house.home}/mnt/ssow/Maildir/new"]).stdout.split()
    assert name.endswith(",S=1017")


def test_suspended_and_resumed(house):
    created(house)
    session = f"HELO x\nMAIL FROM:<a@b.example>\nRCPT TO:<{ADDRESS}>\nQUIT\n"

    def rcpt():
        return re.findall(r"^(\d{3}) ", house.run([program("smtpd-session"), "inbound"], input=session, check=False).stdout, re.MULTILINE)[3]

    assert rcpt() == "250"
    for what, code in (("suspend", "45"), ("resume", "250")):
        id = house.ask(what, owner="ssow", by="admin")
        house.provision_once()
        assert house.answer(id).end == ["done"]
        assert rcpt().startswith(code)


def test_what_fails_is_tried_again_and_then_undone(house):
    """mkfs finds no room: the directory of images is a small file system of its own, and full."""
    volumes, before = house.home / "volumes", house.traces()
    house.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", volumes])
    id = house.ask("create", owner="ssow", address=ADDRESS)
    for count in range(1, 6):
        house.provision_once(check=111)
        answer = house.answer(id)
        assert answer.of("try")[0][0] == str(count) and answer.end is None and answer.steps["volume"] == "doing"
        assert house.mailbox(ADDRESS, ".making") and house.mailbox(ADDRESS) is None
    house.provision_once()
    assert house.answer(id).end[0] == "failed" and "mkfs.ext4" in house.answer(id).end[1]
    house.run(["umount", volumes])
    assert house.traces() == before


@pytest.fixture
def apart():
    """With a network of its own, for what changes the rules of its firewall."""
    with House(network=True) as house:
        yield house


def test_mail_that_was_kept_outlives_a_creation_that_fails(apart):
    house = apart
    created(house)
    deliver(house, "ssow", "Subject: kept\n\n")
    house.semail("mailbox", "delete", "--yes", "--keep-mail", ADDRESS)
    house.semail("config", "container-engine", "/nowhere/docker.sock")
    id = house.ask("create", owner="ssow", address=ADDRESS)
    for _ in range(5):
        house.provision_once(check=111)
    house.provision_once()
    assert house.answer(id).end[0] == "failed" and house.mailbox(ADDRESS) is None
    house.semail("config", "container-engine", "--unset")
    created(house)
    assert "keep-mail" not in house.is_whole("ssow", ADDRESS)
    assert "Subject: kept" in house.run(["sh", "-c", f"cat {house.home}/mnt/ssow/Maildir/new/*"]).stdout
    # Now it is this mailbox's, and goes with it.
    house.semail("mailbox", "delete", "--yes", ADDRESS)
    assert not (house.home / "volumes/ssow").exists()


def test_what_failed_goes_on_when_the_trouble_is_over(house):
    volumes = house.home / "volumes"
    house.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", volumes])
    house.start()
    id = house.ask("create", owner="ssow", address=ADDRESS)
    assert await_true(lambda: house.answer(id) and house.answer(id).of("try"), 20)
    house.run(["umount", volumes])
    assert house.await_end(id).end == ["done"]
    house.is_whole("ssow", ADDRESS)


def test_one_provision_at_a_time(house):
    house.start()
    assert await_true(lambda: b"started" in (house.directory / "provision.log").read_bytes(), 10)
    result = house.provision_once(check=111)
    assert "another provision is at work" in result.stderr


# -- killed ---------------------------------------------------------------------

def test_an_image_is_mounted_by_one_at_a_time(house):
    """Whoever mounts it has locked it, also a mount whose provision was killed: until that has ended, it is left alone."""
    created(house)
    place = f"{house.home}/mnt/ssow"
    house.run(["umount", place])
    with open(house.home / "volumes/ssow") as image:
        fcntl.flock(image, fcntl.LOCK_EX)
        house.start()
        time.sleep(1)
        assert place not in house.mounts()
    assert await_true(lambda: place in house.mounts(), 20)
    house.stop()
    house.is_whole("ssow", ADDRESS)


def test_a_file_system_that_is_damaged_is_not_mounted(house):
    """Whoever looks after the host is told how it is mended; then it is mounted by itself."""
    created(house)
    place, image = f"{house.home}/mnt/ssow", house.home / "volumes/ssow"
    house.run(["umount", place])
    # Its root has gone.
    subprocess.run([tool("debugfs"), "-w", "-R", "clri <2>", image], check=True, capture_output=True)
    said = house.provision_once().stderr
    assert "what=mount owner=ssow" in said and "is damaged" in said and f"run e2fsck -f {image};" in said, said
    assert place not in house.mounts()
    assert subprocess.run([tool("e2fsck"), "-f", "-y", image], capture_output=True).returncode == 1
    house.provision_once()
    assert place in house.mounts()


def is_all_or_nothing(house, before, owner, address):
    if house.mailbox(address):
        house.is_whole(owner, address)
        return True
    assert house.traces() == before
    return False


def test_killed_at_random_it_is_all_or_nothing(house):
    """-9 for provision and all it has started, at a random moment of creation or deletion; then it is started again."""
    rounds, before, counts = 100 if LONG else 12, house.traces(), {True: 0, False: 0}
    seed = random.randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)
    for number in range(rounds):
        exists = house.mailbox(ADDRESS) is not None
        id = house.ask("delete" if exists else "create", owner="ssow", address=ADDRESS)
        for _ in range(dice.randrange(1, 4)):
            house.start()
            time.sleep(dice.uniform(0.0, 0.09))
            house.kill()
        house.provision_once()
        assert house.answer(id).end == ["done"], house.answer(id).lines
        counts[is_all_or_nothing(house, before, "ssow", ADDRESS)] += 1
        assert (house.mailbox(ADDRESS) is None) == exists
    print(counts)


# The calls by which provision and the programs it runs change anything.
CHANGING = "renameat,linkat,unlinkat,mkdirat,mkdir,rmdir,symlinkat,ftruncate,fsync,mount,umount2,chmod,lchown,ioctl,vfork,clone"


def test_killed_at_every_change(house):
    """-9 for all of it at its nth call that changes something, for every n there is; then the same request again."""
    before = house.traces()
    for what in ("create", "delete"):
        number, step = 1, 1 if LONG else 7
        while True:
            id = house.ask(what, owner="ssow", address=ADDRESS)
            trace = subprocess.run([*house.inside, "strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={CHANGING}:signal=KILL:when={number}", program("provision"), "--once"],
                                   env={"PATH": os.environ["PATH"], "SEMAIL_HOME": str(house.home)}, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
            was_killed = trace.returncode != 0 or "worker-ended" in trace.stderr
            house.provision_once(check=None)
            house.provision_once()
            assert house.answer(id).end == ["done"], (number, house.answer(id).lines)
            assert is_all_or_nothing(house, before, "ssow", ADDRESS) == (what == "create"), (what, number)
            # Back to where it began.
            house.semail("mailbox", *(("delete", "--yes", ADDRESS) if what == "create" else ("create", "ssow", ADDRESS)))
            if not was_killed:
                break
            number += step
        print(what, "killed at", number, "calls")
        assert number > 10
        if what == "create":
            house.semail("mailbox", "create", "ssow", ADDRESS)

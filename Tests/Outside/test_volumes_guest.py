"""Volumes on a kernel that has all that an ordinary host has: LVM, and growing while in use."""

import pytest

from guest import Guest
from semailtest import program

SCRIPT = r"""
set -e
export SEMAIL_HOME=/home/semail DM_DISABLE_UDEV=1
step() { echo "== $*"; }
pvcreate -q /dev/vdb > /dev/null
vgcreate -q mail /dev/vdb > /dev/null
semail init $SEMAIL_HOME --hostname mail.semail.test > /dev/null
semail config volumes lvm > /dev/null; semail config volume-group mail > /dev/null; semail config volume-size 32M > /dev/null

step made
semail mailbox create ssow ssow@semail.test
lvs --noheadings -o lv_name,lv_size,lv_tags mail
grep ' /home/semail/mnt/ssow ' /proc/self/mounts
echo 'Subject: kept' | setpriv --reuid 30001 --regid 30001 --clear-groups sh -c 'cat > /home/semail/mnt/ssow/Maildir/new/1'

step grown while in use
exec 9< /home/semail/mnt/ssow/Maildir/new/1
ask() { printf '%s\n' "$@" > $SEMAIL_HOME/requests/new/.x; mv $SEMAIL_HOME/requests/new/.x $SEMAIL_HOME/requests/new/$(openssl rand -hex 16); provision --once 2> /tmp/log || { cat /tmp/log; return 1; }; cat $SEMAIL_HOME/requests/state/* | grep end; rm $SEMAIL_HOME/requests/state/*; }
df --output=size /home/semail/mnt/ssow
ask 'do resize' 'owner ssow' 'size 96M' 'by admin'
df --output=size /home/semail/mnt/ssow
cat <&9
exec 9<&-
lvs --noheadings -o lv_size mail

step interrupted between making and formatting
lvcreate -q -y -W y -L 32M -n semail-half mail > /dev/null
semail mailbox create half half@semail.test

step mounted again after a start
umount /home/semail/mnt/ssow; vgchange -q -an mail/semail-ssow > /dev/null 2>&1 || lvchange -an mail/semail-ssow
provision --once 2> /dev/null
cat /home/semail/mnt/ssow/Maildir/new/1

step no room left in the group
semail mailbox create large large@semail.test --size 10G || true
semail mailbox delete --yes large@semail.test

step an image grows while in use too
semail config volumes image > /dev/null
semail mailbox create image image@semail.test
exec 9< /home/semail/mnt/image/Maildir/new
ask 'do resize' 'owner image' 'size 64M' 'by admin'
df --output=size /home/semail/mnt/image
exec 9<&-

step unmade
for owner in ssow half image; do semail mailbox delete --yes $owner@semail.test; done
echo "logical: $(lvs --noheadings mail | wc -l)"
echo "mnt: $(ls $SEMAIL_HOME/mnt)"
echo "images: $(ls -A $SEMAIL_HOME/volumes)"
echo "mounted: $(grep -c /home/semail/mnt /proc/self/mounts)"
echo "loops: $(losetup -a | wc -l)"
step over
"""


@pytest.fixture(scope="module")
def said():
    output, code = Guest().run(SCRIPT, files={f"/usr/local/bin/{name}": program(name) for name in ("semail", "provision")}, disks=["400M"])
    parts = {}
    for part in output.split("== ")[1:]:
        title, _, text = part.partition("\n")
        parts[title] = text
    assert code == 0 and "over" in parts, output
    return parts


def test_a_mailbox_has_a_logical_volume(said):
    text = said["made"]
    assert "ssow@semail.test: mailbox of ssow, uid 30001" in text
    assert "semail-ssow 32.00m semail-ready" in " ".join(text.split())
    assert " ext4 rw,nosuid,nodev,noexec,noatime" in text


def test_it_grows_while_it_is_in_use(said):
    before, after = (int(line) for line in said["grown while in use"].split() if line.isdigit())
    assert after > 2.5 * before
    assert "end\tdone" in said["grown while in use"] and "Subject: kept" in said["grown while in use"] and "96.00m" in said["grown while in use"]


def test_what_was_interrupted_is_completed(said):
    assert "mailbox of half" in said["interrupted between making and formatting"]


def test_it_is_mounted_again_after_a_start(said):
    assert said["mounted again after a start"] == "Subject: kept\n"


def test_a_group_without_room_is_a_clear_refusal(said):
    text = said["no room left in the group"]
    assert "lvcreate" in text and "insufficient free space" in text and "is removed" in text


def test_an_image_grows_while_it_is_in_use(said):
    assert "end\tdone" in said["an image grows while in use too"]
    assert int(said["an image grows while in use too"].split()[-1]) > 50_000


def test_nothing_is_left(said):
    assert said["unmade"].splitlines()[-5:] == ["logical: 0", "mnt: postmaster", "images: ", "mounted: 0", "loops: 0"]

# Where the mail of this container's owner is.
export MAIL=/Maildir LANG="${LANG:-C.UTF-8}"

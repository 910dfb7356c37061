/*
 * A File Access Monitor that has nothing to tell. courier-imap wants one to be there when somebody signs in; Debian's looks for an account
 * of the user's in /etc/passwd, which mailboxes do not have, and so every mail program was shown an ALERT. With the settings of the service
 * imap nothing is ever asked of it: IDLE looks by itself, and folders have no locks.
 *
 * Built by install.sh --with-imap, and loaded into courier-imap alone (LD_PRELOAD).
 */
#include <sys/eventfd.h>
#include <unistd.h>

struct connection { int fd; void *client; };

int FAMErrno = 0;

int FAMOpen(struct connection *connection)
{
    connection->fd = eventfd(0, EFD_CLOEXEC);
    connection->client = 0;
    return connection->fd < 0 ? -1 : 0;
}

int FAMOpen2(struct connection *connection, const char *name) { (void)name; return FAMOpen(connection); }
int FAMClose(struct connection *connection) { return close(connection->fd); }
int FAMNoExists(struct connection *connection) { (void)connection; return 0; }
int FAMMonitorDirectory(struct connection *connection, const char *path, void *request, void *data) { (void)connection; (void)path; (void)request; (void)data; return 0; }
int FAMMonitorFile(struct connection *connection, const char *path, void *request, void *data) { (void)connection; (void)path; (void)request; (void)data; return 0; }
int FAMCancelMonitor(struct connection *connection, void *request) { (void)connection; (void)request; return 0; }
int FAMPending(struct connection *connection) { (void)connection; return 0; }
int FAMNextEvent(struct connection *connection, void *event) { (void)connection; (void)event; return -1; }

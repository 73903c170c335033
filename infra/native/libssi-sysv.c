/*
 * libssi-sysv: System V message queues and semaphores of the cluster for programs that know nothing of it: preloaded, it
 * stands before the C library's msgget(2), semget(2) and the calls that go with them. What is asked goes to the node's
 * ipc-nameserver over <node dir>/sysvipc: one request a connection, a line of words and the bytes that it tells of; the
 * kernel says there who asks. Off a node the kernel's own answer. Shared memory stays the kernel's. [svipc(7)]
 *
 * cc -std=c11 -O2 -Wall -Wextra -shared -fPIC -o libssi-sysv.so libssi-sysv.c
 */
#define _GNU_SOURCE
#include "door.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
  line_max = 65536, /* 500 operations, or the values of a large set */
  tries_max = 1500, /* 30 s: the service starts again within them */
  pause_ns = 20000000,
  message_max = 8192
};

union semun { int val; struct semid_ds *buf; unsigned short *array; struct seminfo *info; };

/* What the kernel would have been asked, where there is no node. */
#define real(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))

/* Where the thread's call goes. Looked for in each: a program may have moved. */
static __thread struct sockaddr_un door = {.sun_family = AF_UNIX};
static bool on_node(void) { return find_door("sysvipc", &door); }

static int connected(void) {
  struct timespec pause = {.tv_nsec = pause_ns};
  for (int i = 0; i < tries_max; i++) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&door, sizeof door) == 0) return fd;
    close(fd);
    nanosleep(&pause, NULL);
  }
  errno = EAGAIN;
  return -1;
}

static bool send_all(int fd, const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes += n, length -= (size_t)n;
  }
  return true;
}

/*
 * 0 and the reply's words, with `*length` bytes of text after them where it has some; else -1 and errno. A signal that
 * is handled ends the wait as in the kernel, but not what is done already: that half of the connection is closed, and
 * the answer, whichever it is, is read.
 */
static int ask(const char *request, const void *text, size_t text_length, char *words, void *into, size_t *length) {
  char *line = malloc(line_max + message_max);
  size_t have = 0, head = 0, want = 0;
  int failed = 0, before = errno, fd = line ? connected() : -1;
  if (fd < 0) return free(line), -1;
  if (!send_all(fd, request, strlen(request)) || !send_all(fd, text, text_length)) failed = EIDRM;
  while (!failed && (head == 0 || have < head + want)) {
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    if (poll(&readable, 1, -1) < 0 && errno == EINTR) shutdown(fd, SHUT_WR);
    ssize_t n = recv(fd, line + have, line_max + message_max - 1 - have, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n <= 0) {
      failed = EIDRM; /* the service is gone, and with it what it had */
      break;
    }
    have += (size_t)n;
    char *end = head == 0 ? memchr(line, '\n', have) : NULL;
    if (!end) continue;
    head = (size_t)(end + 1 - line);
    *end = 0;
    if (!strncmp(line, "error ", 6)) failed = atoi(line + 6);
    else if (!strncmp(line, "text ", 5)) want = strtoul(line + 5, NULL, 10);
  }
  close(fd);
  if (!failed) {
    char *after = strchr(line, ' ');
    if (!strncmp(line, "text ", 5)) after = after ? strchr(after + 1, ' ') : NULL;
    strcpy(words, after ? after + 1 : "");
    if (length) {
      if (want > *length) want = *length;
      memcpy(into, line + head, want);
      *length = want;
    }
  }
  free(line);
  errno = failed ? failed : before;
  return failed ? -1 : 0;
}

static int number(const char *request) {
  char words[128];
  return ask(request, NULL, 0, words, NULL, NULL) < 0 ? -1 : atoi(words);
}

int msgget(key_t key, int flags) {
  char request[128];
  if (!on_node()) return real(msgget)(key, flags);
  snprintf(request, sizeof request, "msgget %u %d\n", (unsigned)key, flags);
  return number(request);
}

int semget(key_t key, int nsems, int flags) {
  char request[128];
  if (!on_node()) return real(semget)(key, nsems, flags);
  snprintf(request, sizeof request, "semget %u %d %d\n", (unsigned)key, nsems, flags);
  return number(request);
}

int msgsnd(int id, const void *message, size_t size, int flags) {
  char request[128], words[128];
  if (!on_node()) return real(msgsnd)(id, message, size, flags);
  if (size > message_max) return errno = EINVAL, -1;
  const struct msgbuf *m = message;
  snprintf(request, sizeof request, "msgsnd %d %ld %d %zu\n", id, m->mtype, flags, size);
  return ask(request, m->mtext, size, words, NULL, NULL);
}

ssize_t msgrcv(int id, void *message, size_t size, long type, int flags) {
  char request[128], words[128];
  if (!on_node()) return real(msgrcv)(id, message, size, type, flags);
  struct msgbuf *m = message;
  size_t length = size;
  snprintf(request, sizeof request, "msgrcv %d %zu %ld %d\n", id, size, type, flags);
  if (ask(request, NULL, 0, words, m->mtext, &length) < 0) return -1;
  m->mtype = atol(words);
  return (ssize_t)length;
}

/* Words of a stat: uid gid cuid cgid mode and what the type has. */
static const char *read_perm(const char *words, struct ipc_perm *perm) {
  int n = 0;
  unsigned uid = 0, gid = 0, cuid = 0, cgid = 0, mode = 0;
  sscanf(words, "%u %u %u %u %u %n", &uid, &gid, &cuid, &cgid, &mode, &n);
  perm->uid = uid, perm->gid = gid, perm->cuid = cuid, perm->cgid = cgid;
  perm->mode = (typeof(perm->mode))mode;
  return words + n;
}

static int set_or_remove(const char *kind, int id, int command, const struct ipc_perm *perm, long bytes) {
  char request[256], words[128];
  if (command == IPC_RMID) snprintf(request, sizeof request, "%s %d remove\n", kind, id);
  else
    snprintf(request, sizeof request, "%s %d set %u %u %u %ld\n", kind, id, perm->uid, perm->gid,
             (unsigned)perm->mode & 0777, bytes);
  return ask(request, NULL, 0, words, NULL, NULL);
}

int msgctl(int id, int command, struct msqid_ds *buf) {
  char request[128], words[256];
  if (!on_node()) return real(msgctl)(id, command, buf);
  if (command == IPC_RMID) return set_or_remove("msgctl", id, command, NULL, 0);
  if (!buf) return errno = EFAULT, -1;
  if (command == IPC_SET) return set_or_remove("msgctl", id, command, &buf->msg_perm, (long)buf->msg_qbytes);
  if (command != IPC_STAT) return errno = EINVAL, -1;
  snprintf(request, sizeof request, "msgctl %d stat\n", id);
  if (ask(request, NULL, 0, words, NULL, NULL) < 0) return -1;
  unsigned long holds = 0, bytes = 0, most = 0;
  memset(buf, 0, sizeof *buf);
  sscanf(read_perm(words, &buf->msg_perm), "%lu %lu %lu", &holds, &bytes, &most);
  buf->msg_qnum = holds, buf->msg_qbytes = most, buf->__msg_cbytes = bytes;
  return 0;
}

int semtimedop(int id, struct sembuf *ops, size_t count, const struct timespec *timeout) {
  char *request, words[128];
  if (!on_node()) return real(semtimedop)(id, ops, count, timeout);
  if (count == 0) return errno = EINVAL, -1;
  if (count > 500) return errno = E2BIG, -1;
  if (timeout && (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= 1000000000)) return errno = EINVAL, -1;
  long long ms = timeout ? timeout->tv_sec * 1000LL + (timeout->tv_nsec + 999999) / 1000000 : -1;
  if (!(request = malloc(64 + count * 32))) return -1;
  char *at = request + sprintf(request, "semop %d %lld", id, ms);
  for (size_t i = 0; i < count; i++) at += sprintf(at, " %u %d %d", ops[i].sem_num, ops[i].sem_op, ops[i].sem_flg);
  strcpy(at, "\n");
  int result = ask(request, NULL, 0, words, NULL, NULL);
  free(request);
  return result;
}

int semop(int id, struct sembuf *ops, size_t count) { return semtimedop(id, ops, count, NULL); }

/* How many semaphores GETALL and SETALL are about. */
static int nsems_of(int id, char *words) {
  char request[64];
  snprintf(request, sizeof request, "semctl %d stat\n", id);
  if (ask(request, NULL, 0, words, NULL, NULL) < 0) return -1;
  struct ipc_perm perm;
  return atoi(read_perm(words, &perm));
}

static int all_values(int id, int command, unsigned short *array) {
  char *words = malloc(line_max), *request = malloc(line_max), *at;
  int count = words && request ? nsems_of(id, words) : -1, result = -1;
  if (count >= 0 && count * 7 + 64 > line_max) errno = ENOMEM, count = -1;
  if (count >= 0) {
    at = request + sprintf(request, "semctl %d %s", id, command == SETALL ? "SETALL" : "GETALL");
    for (int i = 0; command == SETALL && i < count; i++) at += sprintf(at, " %u", array[i]);
    strcpy(at, "\n");
    result = ask(request, NULL, 0, words, NULL, NULL);
    at = words;
    for (int i = 0; result == 0 && command == GETALL && i < count; i++) array[i] = (unsigned short)strtoul(at, &at, 10);
  }
  free(words), free(request);
  return result;
}

int semctl(int id, int num, int command, ...) {
  char request[128], words[256];
  va_list arguments;
  va_start(arguments, command);
  union semun arg = va_arg(arguments, union semun);
  va_end(arguments);
  if (!on_node()) return real(semctl)(id, num, command, arg);
  switch (command) {
  case IPC_RMID: return set_or_remove("semctl", id, command, NULL, 0);
  case IPC_SET: return set_or_remove("semctl", id, command, &arg.buf->sem_perm, 0);
  case GETALL: case SETALL: return all_values(id, command, arg.array);
  case GETVAL: snprintf(request, sizeof request, "semctl %d GETVAL %d\n", id, num); return number(request);
  case GETNCNT: snprintf(request, sizeof request, "semctl %d GETNCNT %d\n", id, num); return number(request);
  case GETZCNT: snprintf(request, sizeof request, "semctl %d GETZCNT %d\n", id, num); return number(request);
  case GETPID: return 0; /* it is not kept */
  case SETVAL:
    snprintf(request, sizeof request, "semctl %d SETVAL %d %d\n", id, num, arg.val);
    return ask(request, NULL, 0, words, NULL, NULL);
  case IPC_STAT: {
    int count = nsems_of(id, words);
    if (count < 0) return -1;
    memset(arg.buf, 0, sizeof *arg.buf);
    read_perm(words, &arg.buf->sem_perm);
    arg.buf->sem_nsems = (unsigned long)count;
    return 0;
  }
  default: return errno = EINVAL, -1;
  }
}

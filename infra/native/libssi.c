/*
 * libssi: rfork(3ssi) for programs, on top of an ordinary fork(2): the child makes itself fit to move, says so
 * by closing a pipe, and waits inside of the call; the parent asks vproc to move it. Requests go one line a
 * connection over <node dir>/ssisys, where the kernel says who asks. Whoever is frozen must not have a
 * socket open, so the child asks before and after its move, never in it. See ssi.h.
 *
 * cc -std=c11 -O2 -Wall -Wextra -shared -fPIC -o libssi.so libssi.c
 */
#define _GNU_SOURCE
#include "door.h"
#include "ssi.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { line_max = 4096, tries_max = 1500, pause_ns = 20000000 /* 30 s: a vproc starts again within them */ };

static struct sockaddr_un door = {.sun_family = AF_UNIX};
static __thread char detail[line_max];

const char *ssi_detail(void) { return detail; }

/* Before any fork, since this allocates. */
static int enter(void) {
  detail[0] = 0;
  if (find_door("ssisys", &door)) return 0;
  snprintf(detail, sizeof detail, "this process does not run on a node");
  return ENOSYS;
}

/* One connection: 0 and the reply's words, an errno that vproc gave, or -1: it did not answer. */
static int ask_once(const char *request, char *words) {
  char line[line_max];
  size_t length = 0;
  ssize_t n;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), result = -1;
  if (fd < 0) return errno;
  if (connect(fd, (struct sockaddr *)&door, sizeof door) == 0 &&
      send(fd, request, strlen(request), MSG_NOSIGNAL) == (ssize_t)strlen(request)) {
    while (length < sizeof line - 1 && (n = read(fd, line + length, sizeof line - 1 - length)) > 0)
      length += (size_t)n;
    line[length] = 0;
    char *end = strchr(line, '\n'), *text = line;
    if (end) {
      *end = 0;
      if (!strncmp(line, "ok ", 3)) result = 0, strcpy(words, line + 3);
      else if (!strncmp(line, "error ", 6)) {
        result = (int)strtol(line + 6, &text, 10);
        snprintf(detail, sizeof detail, "%s", text + (*text == ' '));
      }
    }
  }
  close(fd);
  return result;
}

/* Every request may be repeated. */
static int ask(const char *request, char *words) {
  struct timespec pause = {.tv_nsec = pause_ns};
  for (int i = 0; i < tries_max; i++) {
    int result = ask_once(request, words);
    if (result >= 0) return result;
    nanosleep(&pause, NULL);
  }
  snprintf(detail, sizeof detail, "vproc does not answer");
  return EAGAIN;
}

static clusternode_t number_here(void) {
  char words[line_max];
  int failed = ask("node\n", words);
  if (failed) errno = failed;
  return failed ? 0 : (clusternode_t)strtoul(words, NULL, 10);
}

clusternode_t clusternode_num(void) {
  int failed = enter();
  if (failed) errno = failed;
  return failed ? 0 : number_here();
}

/* Its parent's session and streams stay behind: with one of its own it can go to any node. */
static int become_movable(void) {
  char out[line_max], *err;
  if (setsid() < 0) return errno;
  int failed = ask("streams\n", out);
  if (failed) return failed;
  if (!(err = strchr(out, ' '))) return EIO;
  *err++ = 0;
  const char *paths[] = {"/dev/null", out, err};
  for (int i = 0; i < 3; i++) {
    int fd = open(paths[i], i == 0 ? O_RDONLY : O_WRONLY);
    if (fd < 0 || (fd != i && dup2(fd, i) < 0)) return errno;
    if (fd > 2) close(fd);
  }
  return 0;
}

/* SIGCONT, at the end of a move here or there, only says: look where you are. */
static void wait_for_move(clusternode_t home, clusternode_t node, pid_t parent) {
  struct timespec second = {.tv_sec = 1};
  sigset_t wake;
  sigemptyset(&wake);
  sigaddset(&wake, SIGCONT);
  for (;;) {
    bool woken = sigtimedwait(&wake, NULL, &second) == SIGCONT, orphan = getppid() != parent;
    clusternode_t here = woken || orphan ? number_here() : 0;
    if (here == 0) continue;
    if (here == node || here != home) return;
    if (orphan) _exit(127); /* nobody is left who could have it moved */
  }
}

__attribute__((noreturn)) static void refuse(int ready, int failed) {
  if (write(ready, &failed, sizeof failed) < 0) _exit(126);
  _exit(127);
}

pid_t rfork(clusternode_t node) {
  int ready[2], failed = enter();
  char request[64], words[line_max];
  sigset_t all, before;
  clusternode_t home = failed ? 0 : number_here();
  if (failed) errno = failed;
  if (home == 0 || pipe2(ready, O_CLOEXEC) != 0) return -1;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_t parent = getpid(), pid = fork();
  if (pid == 0) {
    close(ready[0]);
    if ((failed = become_movable())) refuse(ready[1], failed);
    close(ready[1]);
    wait_for_move(home, node, parent);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return 0;
  }
  failed = pid < 0 ? errno : 0;
  close(ready[1]);
  if (pid > 0 && read(ready[0], &failed, sizeof failed) < 0) failed = errno;
  if (!failed) {
    snprintf(request, sizeof request, "rfork %d %u\n", pid, node);
    failed = ask(request, words);
  }
  if (!failed) kill(pid, SIGCONT); /* its own node was asked for: it is there already */
  else if (pid > 0) kill(pid, SIGKILL), waitpid(pid, NULL, 0);
  close(ready[0]);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (failed) errno = failed;
  return failed ? -1 : pid;
}

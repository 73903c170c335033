// The kernel's open file description locks, as a judge: a line of a program a call, a line of output its end.
// [fcntl(2): F_OFD_SETLK, F_OFD_GETLK]
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { owners = 4 };
static int fds[owners];

static void reopen(const char *file, int owner) {
  if (fds[owner] > 0) close(fds[owner]);
  fds[owner] = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fds[owner] < 0) exit(1);
}

int main(int argc, char **argv) {
  char op, type;
  int owner;
  long start, length;
  if (argc != 2) return 2;
  setvbuf(stdout, NULL, _IOLBF, 0);
  while (scanf(" %c %d %c %ld %ld", &op, &owner, &type, &start, &length) == 5) {
    struct flock lock = {0};
    lock.l_type = type == 'r' ? F_RDLCK : type == 'w' ? F_WRLCK : F_UNLCK;
    lock.l_start = start;
    lock.l_len = length;
    if (op == 'b') {
      for (int i = 0; i < owners; i++) reopen(argv[1], i);
      continue;
    }
    if (op == 'c') {
      reopen(argv[1], owner);
      puts("ok");
    } else if (fcntl(fds[owner], op == 't' ? F_OFD_GETLK : F_OFD_SETLK, &lock) != 0)
      puts(errno == EAGAIN || errno == EACCES ? "EAGAIN" : "?");
    else if (op == 't' && lock.l_type != F_UNLCK)
      printf("%s %ld %ld\n", lock.l_type == F_RDLCK ? "read" : "write", (long)lock.l_start, (long)lock.l_len);
    else
      puts(op == 't' ? "free" : "ok");
  }
  return 0;
}

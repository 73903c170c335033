/*
 * A program with much memory for measuring moves: `memory MB FILE` fills MB of memory with random data and
 * ticks every millisecond; each gap of more than 2 ms between two ticks goes to FILE as a line
 * `gap AT_MS LENGTH_MS`. A `check` on standard input is answered by a line `sum HEX` in FILE, over all of
 * its memory, `touch` changes one word in each 4096th page. With a third argument it keeps changing as many
 * pages a second.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static uint64_t *memory, words, next = 88172645463325252ull;
static int out;

static uint64_t random_word(void) {
  next ^= next << 13;
  next ^= next >> 7;
  next ^= next << 17;
  return next;
}
/* Of the machine, not of the process's own time namespace, which stands still in a move. */
static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}
static void *tick(void *unused) {
  (void)unused;
  for (double last = now_ms();;) {
    usleep(1000);
    double at = now_ms();
    if (at - last > 2) dprintf(out, "gap %.1f %.1f\n", last, at - last);
    last = at;
  }
}
static void check(void) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < words; i++) sum = (sum ^ memory[i]) * 0x9e3779b97f4a7c15ull + (sum >> 29);
  dprintf(out, "sum %016lx\n", sum);
}
int main(int argc, char **argv) {
  if (argc < 3) return 2;
  out = open(argv[2], O_WRONLY | O_CREAT | O_APPEND, 0600);
  words = strtoull(argv[1], NULL, 10) << 17;
  unsigned each = argc > 3 ? (unsigned)atoi(argv[3]) : 0;
  memory = mmap(NULL, words * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (uint64_t i = 0; i < words; i++) memory[i] = random_word();
  pthread_t thread;
  pthread_create(&thread, NULL, tick, NULL);
  check();
  for (char line[64];;) {
    struct pollfd in = {STDIN_FILENO, POLLIN, 0};
    if (poll(&in, 1, each ? 10 : -1) > 0) {
      ssize_t n = read(STDIN_FILENO, line, sizeof line - 1);
      if (n <= 0) return 0;
      line[n] = 0;
      if (strstr(line, "touch"))
        for (uint64_t i = 0; i < words; i += 512 * 4096) memory[i]++;
      if (strstr(line, "check")) check();
    }
    for (unsigned k = 0; k < each / 100; k++) memory[random_word() % words]++;
  }
}

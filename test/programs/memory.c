/*
 * A program with much memory, for measuring moves: `memory MB FILE [PAGES]` fills MB with random data and
 * ticks every millisecond; each gap of more than 2 ms between two ticks goes to FILE as a line
 * `gap AT_MS LENGTH_MS`. SIGUSR1 is answered by a line `sum HEX`, over all of its memory; the first comes by
 * itself. With PAGES it writes to as many pages a second, and counts in `written N` with each sum.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static uint64_t *memory, words, next = 88172645463325252ull;
static volatile sig_atomic_t asked = 1;
static int out;

static uint64_t random_word(void) {
  next ^= next << 13;
  next ^= next >> 7;
  next ^= next << 17;
  return next;
}
/* Of the machine: the process's own monotonic clock stands still in a move. */
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
  return NULL;
}
static void on_asked(int signal) {
  (void)signal;
  asked = 1;
}
/* What was written is added up too, so a page that is lost, old or doubled shows. */
static void check(uint64_t written) {
  uint64_t sum = 0, added = 0;
  for (uint64_t i = 0; i < words; i++) {
    added += memory[i] & 0xff;
    sum = (sum ^ memory[i] >> 8) * 0x9e3779b97f4a7c15ull + (sum >> 29);
  }
  dprintf(out, "sum %016lx written %lu found %lu\n", sum, written & 0xffffffff, added);
}
int main(int argc, char **argv) {
  if (argc < 3) return 2;
  uint64_t written = 0, each = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
  out = open(argv[2], O_WRONLY | O_CREAT | O_APPEND, 0600);
  words = strtoull(argv[1], NULL, 10) << 17;
  memory = mmap(NULL, words * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (uint64_t i = 0; i < words; i++) memory[i] = random_word() & ~0xffull;
  signal(SIGUSR1, on_asked);
  pthread_t thread;
  pthread_create(&thread, NULL, tick, NULL);
  for (;;) {
    if (asked) {
      asked = 0;
      check(written);
    }
    poll(NULL, 0, 10);
    /* One byte of a word counts its writes; 255 of them to one word do not happen in a test. */
    for (uint64_t k = 0; k < each / 100; k++, written++) memory[random_word() % words]++;
  }
}

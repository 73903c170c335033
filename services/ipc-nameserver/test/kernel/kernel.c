// The kernel's own IPC as a judge: runs programs of calls by a few processes in an IPC namespace of its own and
// prints, for each step, which calls ended with what. A step is over when every process has ended its call or
// sleeps in it. Input: "begin NSEMS MAXMSG MSGSIZE", then "WORKER OP ARGS" lines, then "end"; see worker().
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { workers = 3, argsMax = 64, handles = 8, bytesMax = 1 << 18, detailMax = 4096 };

struct shared {
  volatile int entered, done;
  int busy;
  char op[16];
  long args[argsMax];
  int argCount;
  long ret;
  int err;
  char detail[detailMax];
};
static struct shared *at;
static pid_t pids[workers];
static int commands[workers];
static int msqid, semid, nsems;
static long mqMessages, mqBytes;
static char fifo[256];

static unsigned char bytes[bytesMax];
static char message[sizeof(long) + 65536];
static int fds[handles];

static unsigned hash(const unsigned char *b, long n) {
  unsigned h = 2166136261u;
  for (long i = 0; i < n; i++) h = (h ^ b[i]) * 16777619u;
  return h;
}
static void content(unsigned char *b, long n, long seed) {
  for (long i = 0; i < n; i++) b[i] = (unsigned char)(seed * 31 + i * 7 + (i >> 8));
}
static void ignore(int signal) { (void)signal; }

static void worker(struct shared *s) {
  const long *a = s->args;
  const char *op = s->op;
  long r = -1;
  s->detail[0] = 0;
#define IS(name) (strcmp(op, name) == 0)
#define CALL(expression) (s->entered = 1, r = (expression), s->err = r < 0 ? errno : 0)
  if (IS("msgsnd")) {  // type length seed nowait
    memcpy(message, &a[0], sizeof(long));
    content((unsigned char *)message + sizeof(long), a[1], a[2]);
    CALL(msgsnd(msqid, message, a[1], a[3] ? IPC_NOWAIT : 0));
  } else if (IS("msgrcv")) {  // size type nowait noerror except
    int flags = (a[2] ? IPC_NOWAIT : 0) | (a[3] ? MSG_NOERROR : 0) | (a[4] ? MSG_EXCEPT : 0);
    CALL(msgrcv(msqid, message, a[0], a[1], flags));
    long type;
    memcpy(&type, message, sizeof(long));
    if (r >= 0) sprintf(s->detail, "%ld/%u", type, hash((unsigned char *)message + sizeof(long), r));
  } else if (IS("msgset")) {  // bytes
    struct msqid_ds d;
    msgctl(msqid, IPC_STAT, &d);
    d.msg_qbytes = a[0];
    CALL(msgctl(msqid, IPC_SET, &d));
  } else if (IS("msgrm")) {
    CALL(msgctl(msqid, IPC_RMID, 0));
  } else if (IS("semop")) {  // count, then num op nowait undo of each
    static struct sembuf ops[600];
    for (long i = 0; i < a[0]; i++) {
      const long *o = &a[1 + 4 * i];
      ops[i] = (struct sembuf){o[0], o[1], (o[2] ? IPC_NOWAIT : 0) | (o[3] ? SEM_UNDO : 0)};
    }
    CALL(semop(semid, ops, a[0]));
  } else if (IS("getval")) {
    CALL(semctl(semid, a[0], GETVAL));
  } else if (IS("getncnt")) {
    CALL(semctl(semid, a[0], GETNCNT));
  } else if (IS("getzcnt")) {
    CALL(semctl(semid, a[0], GETZCNT));
  } else if (IS("setval")) {
    CALL(semctl(semid, a[0], SETVAL, (int)a[1]));
  } else if (IS("getall") || IS("setall")) {
    unsigned short values[16] = {0};
    for (int i = 0; i < nsems; i++) values[i] = a[i];
    CALL(semctl(semid, 0, IS("getall") ? GETALL : SETALL, values));
    if (IS("getall") && r >= 0)
      for (int i = 0; i < nsems; i++) sprintf(s->detail + strlen(s->detail), "%s%d", i ? "," : "", values[i]);
  } else if (IS("semrm")) {
    CALL(semctl(semid, 0, IPC_RMID));
  } else if (IS("mqopen") || IS("open")) {  // handle read write nonblock
    int flags = (a[1] && a[2] ? O_RDWR : a[2] ? O_WRONLY : O_RDONLY) | (a[3] ? O_NONBLOCK : 0);
    CALL(IS("open") ? open(fifo, flags) : (int)mq_open("/judge", flags));
    if (r >= 0) fds[a[0]] = r, r = 0;
  } else if (IS("mqsend")) {  // handle length seed priority
    content(bytes, a[1], a[2]);
    CALL(mq_send(fds[a[0]], (char *)bytes, a[1], (unsigned)a[3]));
  } else if (IS("mqrecv")) {  // handle size
    unsigned priority = 0;
    CALL(mq_receive(fds[a[0]], (char *)bytes, a[1], &priority));
    if (r >= 0) sprintf(s->detail, "%u/%u", priority, hash(bytes, r));
  } else if (IS("mqnotify")) {  // handle on
    struct sigevent e = {.sigev_notify = SIGEV_NONE};
    CALL(mq_notify(fds[a[0]], a[1] ? &e : 0));
  } else if (IS("close")) {
    CALL(close(fds[a[0]]));
    fds[a[0]] = -1;
  } else if (IS("read")) {  // handle size
    CALL(read(fds[a[0]], bytes, a[1]));
    if (r >= 0) sprintf(s->detail, "%u", hash(bytes, r));
  } else if (IS("write")) {  // handle length seed
    content(bytes, a[1], a[2]);
    CALL(write(fds[a[0]], bytes, a[1]));
  } else {
    fprintf(stderr, "no such call: %s\n", op);
    _exit(2);
  }
  s->ret = r < 0 ? -1 : r;
  __sync_synchronize();
  s->done = 1;
}

static void start(int w) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC)) exit(3);
  memset(&at[w], 0, sizeof at[w]);
  pids[w] = fork();
  if (pids[w] == 0) {
    signal(SIGPIPE, SIG_IGN);
    struct sigaction act = {.sa_handler = ignore};
    sigaction(SIGUSR1, &act, 0);
    for (int i = 0; i < workers; i++)
      if (commands[i] > 0) close(commands[i]);
    close(ends[1]);
    for (int i = 0; i < handles; i++) fds[i] = -1;
    char go;
    while (read(ends[0], &go, 1) == 1) worker(&at[w]);
    _exit(0);
  }
  close(ends[0]);
  commands[w] = ends[1];
}
static void stop(int w) {
  kill(pids[w], SIGKILL);
  waitpid(pids[w], 0, 0);
  close(commands[w]);
  commands[w] = 0;
}

static int sleeps(pid_t pid) {
  char path[64], text[512];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  long n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  if (n <= 0) return 0;
  text[n] = 0;
  const char *end = strrchr(text, ')');
  return end && end[2] == 'S';
}

// Three looks in a row that find nobody at work: what one wakes is awake before it sleeps itself.
static void settle(void) {
  for (int quiet = 0; quiet < 3;) {
    int calm = 1;
    for (int w = 0; w < workers; w++) {
      if (!at[w].busy || at[w].done) continue;
      if (!at[w].entered || !sleeps(pids[w])) calm = 0;
    }
    quiet = calm ? quiet + 1 : 0;
    if (!calm) sched_yield();
  }
}

static void report(void) {
  const char *space = "";
  for (int w = 0; w < workers; w++) {
    struct shared *s = &at[w];
    if (!s->busy || !s->done) continue;
    printf("%s%d:%ld:%d:%s", space, w, s->ret, s->err, s->detail);
    space = " ";
    s->busy = s->done = s->entered = 0;
  }
  printf("\n");
}

static void begin(const char *line) {
  sscanf(line, "begin %d %ld %ld", &nsems, &mqMessages, &mqBytes);
  msqid = msgget(IPC_PRIVATE, 0600);
  semid = semget(IPC_PRIVATE, nsems, 0600);
  struct mq_attr attr = {.mq_maxmsg = mqMessages, .mq_msgsize = mqBytes};
  mq_unlink("/judge");
  mqd_t q = mq_open("/judge", O_RDWR | O_CREAT, 0600, &attr);
  if (msqid < 0 || semid < 0 || q < 0 || mkfifo(fifo, 0600)) {
    perror("begin");
    exit(4);
  }
  mq_close(q);
  for (int w = 0; w < workers; w++) start(w);
}
static void end(void) {
  for (int w = 0; w < workers; w++) stop(w);
  msgctl(msqid, IPC_RMID, 0);
  semctl(semid, 0, IPC_RMID);
  mq_unlink("/judge");
  unlink(fifo);
}

int main(int argc, char **argv) {
  if (argc != 2 || unshare(CLONE_NEWIPC)) {
    perror("usage: kernel FIFO; needs root");
    return 1;
  }
  snprintf(fifo, sizeof fifo, "%s", argv[1]);
  at = mmap(0, sizeof(struct shared) * workers, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  static char line[8192];
  while (fgets(line, sizeof line, stdin)) {
    if (strncmp(line, "begin", 5) == 0) {
      begin(line);
      continue;
    }
    if (strncmp(line, "end", 3) == 0) {
      end();
      fflush(stdout);
      continue;
    }
    char *rest = strtok(line, " \n");
    int w = atoi(rest);
    const char *op = strtok(0, " \n");
    if (strcmp(op, "exit") == 0) {
      stop(w);
      start(w);
    } else if (strcmp(op, "cancel") == 0) {
      if (at[w].busy) kill(pids[w], SIGUSR1);
    } else {
      struct shared *s = &at[w];
      snprintf(s->op, sizeof s->op, "%s", op);
      memset(s->args, 0, sizeof s->args);
      s->argCount = 0;
      for (char *word; (word = strtok(0, " \n")) && s->argCount < argsMax;) s->args[s->argCount++] = atol(word);
      s->busy = 1;
      if (write(commands[w], "g", 1) != 1) return 5;
    }
    settle();
    report();
  }
  return 0;
}

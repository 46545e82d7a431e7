/* Processes, threads and libraries that come and go around steered connections. First argument: what happens. */
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

#define HOST "2001:db8:1001::2"
#define OTHER "2001:db8:1002::2"

extern char **environ;

static void connect_and_ping(const char *address) {
  int socket_ = socket(AF_INET6, SOCK_STREAM, 0);
  CHECK(dial(socket_, address, 5000) == 0);
  ping(socket_);
  close(socket_);
}

static void ended_well(pid_t child) {
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Before the first match there is no thread and no descriptor of ours. */
static void idle(void) {
  int open = descriptors();
  int socket_ = socket(AF_INET6, SOCK_DGRAM, 0);
  CHECK(dial(socket_, "2001:db8:ffff::1", 9) == 0 || errno == ENETUNREACH);
  CHECK(dial(socket_, "::1", 9) == 0);
  close(socket_);
  CHECK(threads() == 1 && descriptors() == open);
}

/* A child of fork steers for itself, whether its parent did before or not. */
static void forked(void) {
  pid_t early = fork();
  if (early == 0) {
    connect_and_ping(HOST);
    exit(0);
  }
  ended_well(early);
  connect_and_ping(HOST);
  for (int i = 0; i < 3; i++) {
    pid_t child = fork();
    if (child == 0) {
      CHECK(threads() == 1);
      connect_and_ping(HOST);
      connect_and_ping(OTHER);
      CHECK(threads() == 4);
      exit(0);
    }
    ended_well(child);
  }
  puts("forked");
  fflush(stdout);
  getchar();
}

static volatile int going = 1;

static void *keep_connecting(void *address) {
  while (going) connect_and_ping(address);
  return NULL;
}

/* Fork at any moment of other threads' connects: no child finds a lock taken for ever. */
static void forked_amid_threads(void) {
  pthread_t busy[4];
  for (int i = 0; i < 4; i++)
    CHECK(pthread_create(&busy[i], NULL, keep_connecting, i % 2 ? (void *)HOST : (void *)OTHER) == 0);
  for (int i = 0; i < 60; i++) {
    pid_t child = fork();
    if (child == 0) {
      /* Nobody is left to end a child that hangs. */
      alarm(120);
      connect_and_ping(i % 2 ? HOST : OTHER);
      _exit(0);
    }
    ended_well(child);
  }
  going = 0;
  for (int i = 0; i < 4; i++) pthread_join(busy[i], NULL);
}

/* Programs that are started get none of our descriptors. */
static void spawned(void) {
  int open = descriptors();
  connect_and_ping(HOST);
  CHECK(descriptors() > open);
  char command[64];
  snprintf(command, sizeof command, "test $(ls /proc/self/fd | wc -l) -le %d", open + 2);
  char *arguments[] = {"sh", "-c", command, NULL};
  pid_t child;
  CHECK(posix_spawn(&child, "/bin/sh", NULL, NULL, arguments, environ) == 0);
  ended_well(child);
  child = vfork();
  if (child == 0) {
    execv("/bin/sh", arguments);
    _exit(127);
  }
  ended_well(child);
  CHECK(system(command) == 0);
}

/* A library in a namespace of its own has a libc of its own, which nobody stands before. */
static void other_namespace(void) {
  void *libc = dlmopen(LM_ID_NEWLM, "libc.so.6", RTLD_NOW);
  CHECK(libc);
  int (*theirs)(int, const struct sockaddr *, socklen_t) = (void *)dlsym(libc, "connect");
  CHECK(theirs && theirs != connect);
  int socket_ = socket(AF_INET6, SOCK_STREAM, 0);
  struct sockaddr_in6 host = at(HOST, 5000);
  CHECK(theirs(socket_, (struct sockaddr *)&host, sizeof host) == 0);
  ping(socket_);
  CHECK(threads() == 1);
  connect_and_ping(HOST);
  /* One steers, one asks for paths, one listens to the kernel. */
  CHECK(threads() == 4);
}

static long resident_kib(void) {
  long kib = -1;
  char line[256];
  FILE *status = fopen("/proc/self/status", "r");
  CHECK(status);
  while (fgets(line, sizeof line, status)) sscanf(line, "VmRSS: %ld", &kib);
  fclose(status);
  CHECK(kib > 0);
  return kib;
}

/* UDP sockets: a hundred thousand TCP connections would only wait for ports. */
static void dial_often(int times) {
  for (int i = 0; i < times; i++) {
    int socket_ = socket(AF_INET6, SOCK_DGRAM, 0);
    CHECK(dial(socket_, i % 2 ? HOST : "::1", 9) == 0);
    close(socket_);
  }
}

static void often(void) {
  connect_and_ping(HOST);
  dial_often(2000);
  long before = resident_kib();
  int open = descriptors(), running = threads();
  dial_often(100000);
  long growth = resident_kib() - before;
  printf("%ld KiB more, %d descriptors more, %d threads more\n", growth, descriptors() - open, threads() - running);
  CHECK(growth < 1024);
  /* A wait that has just ended may have its descriptor for a moment longer. */
  CHECK(descriptors() < open + 10 && threads() == running);
}

/* SIGTERM to a process that blocks it everywhere must not reach the library's thread. */
static void signals_stay_where_they_were(void) {
  connect_and_ping(HOST);
  sigset_t term, pending;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  CHECK(sigprocmask(SIG_BLOCK, &term, NULL) == 0);
  CHECK(kill(getpid(), SIGTERM) == 0);
  connect_and_ping(HOST);
  CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGTERM));
}

int main(int count, char **arguments) {
  struct {
    const char *name;
    void (*happen)(void);
  } stories[] = {{"idle", idle},     {"forked", forked},
                 {"forked-amid-threads", forked_amid_threads}, {"spawned", spawned},
                 {"other-namespace", other_namespace}, {"often", often},
                 {"signals", signals_stay_where_they_were}};
  CHECK(count == 2);
  for (size_t i = 0; i < sizeof stories / sizeof *stories; i++)
    if (strcmp(stories[i].name, arguments[1]) == 0) {
      stories[i].happen();
      return 0;
    }
  fprintf(stderr, "no story called %s\n", arguments[1]);
  return 2;
}

/* What a program sees of its own calls with the library before libc: nothing new. First argument: what to look at. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "check.h"

#define HOST "2001:db8:1001::2"

static volatile sig_atomic_t handled;

static void handle(int signal) {
  (void)signal;
  handled++;
}

/* Again and again: the first may come before the wait that it is to end. Nought: never again. */
static void alarm_every(int ms, int flags) {
  struct sigaction action = {.sa_handler = handle, .sa_flags = flags};
  CHECK(sigaction(SIGALRM, &action, NULL) == 0);
  struct timeval every = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
  struct itimerval timer = {.it_value = every, .it_interval = every};
  CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
}

/* A handler without SA_RESTART ends a blocking connect; the connection goes on being opened. */
static void interrupted(void) {
  silent_api();
  int socket_ = socket(AF_INET6, SOCK_STREAM, 0);
  alarm_every(300, 0);
  CHECK(dial(socket_, HOST, 5000) == -1 && errno == EINTR);
  CHECK(handled >= 1);
  alarm_every(0, 0);
  CHECK((fcntl(socket_, F_GETFL) & O_NONBLOCK) == 0);
  struct pollfd open = {.fd = socket_, .events = POLLOUT};
  CHECK(poll(&open, 1, 60000) == 1);
  int error = -1;
  socklen_t size = sizeof error;
  CHECK(getsockopt(socket_, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0);
  ping(socket_);
}

/* One with SA_RESTART doesn't. */
static void restarted(void) {
  silent_api();
  int socket_ = socket(AF_INET6, SOCK_STREAM, 0);
  alarm_every(300, SA_RESTART);
  CHECK(dial(socket_, HOST, 5000) == 0);
  CHECK(handled >= 1);
  alarm_every(0, SA_RESTART);
  ping(socket_);
}

/* Odd calls have the kernel's own result, and one that succeeds leaves errno alone. */
static void results(void) {
  struct sockaddr_in6 host = at(HOST, 1);
  struct sockaddr_in mapped = {.sin_family = AF_INET, .sin_port = htons(1), .sin_addr.s_addr = htonl(0x0a010102)};
  struct sockaddr none = {.sa_family = AF_UNSPEC};
  int pipes[2];
  CHECK(pipe(pipes) == 0);
  int kinds[] = {-1, 999, pipes[0], socket(AF_UNIX, SOCK_STREAM, 0), socket(AF_INET, SOCK_DGRAM, 0),
                 socket(AF_INET6, SOCK_DGRAM, 0), socket(AF_INET6, SOCK_STREAM, 0)};
  struct {
    const void *address;
    socklen_t length;
  } names[] = {{NULL, 0}, {NULL, 28}, {&host, 0}, {&host, 1}, {&host, 4}, {&host, 24}, {&host, 28}, {&host, 4096},
               {&mapped, 16}, {&mapped, 8}, {&none, 16}};
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
      errno = 0;
      long wanted = syscall(SYS_connect, kinds[k], names[n].address, names[n].length), reason = errno;
      errno = 0;
      long got = connect(kinds[k], names[n].address, names[n].length);
      if (got != wanted || errno != reason) {
        fprintf(stderr, "connect(%d, name %zu): %ld errno %d, want %ld errno %ld\n", kinds[k], n, got, errno,
                wanted, reason);
        exit(1);
      }
    }
  CHECK(accept(-1, NULL, NULL) == -1 && errno == EBADF);
  CHECK(accept4(pipes[0], NULL, NULL, 0) == -1 && errno == ENOTSOCK);
  CHECK(sendto(-1, "", 0, MSG_FASTOPEN, (struct sockaddr *)&host, sizeof host) == -1 && errno == EBADF);
  CHECK(sendmsg(-1, NULL, MSG_FASTOPEN) == -1 && (errno == EBADF || errno == EFAULT));
  int open = socket(AF_INET6, SOCK_STREAM, 0);
  errno = ENOTTY;
  CHECK(dial(open, HOST, 5000) == 0 && errno == ENOTTY);
  ping(open);
}

/* TCP Fast Open sends before it connects; its destination counts as well. */
static void fast_open(void) {
  struct sockaddr_in6 host = at(HOST, 5000);
  int first = socket(AF_INET6, SOCK_STREAM, 0), second = socket(AF_INET6, SOCK_STREAM, 0);
  CHECK(sendto(first, "", 0, MSG_FASTOPEN, (struct sockaddr *)&host, sizeof host) == 0);
  ping(first);
  struct iovec data = {.iov_base = "x", .iov_len = 1};
  struct msghdr message = {.msg_name = &host, .msg_namelen = sizeof host, .msg_iov = &data, .msg_iovlen = 1};
  CHECK(sendmsg(second, &message, MSG_FASTOPEN) == 1);
  char answer;
  CHECK(recv(second, &answer, 1, 0) == 1 && answer == 'x');
}

/* A socket that must not block goes on before the path API has answered. */
static void at_once(void) {
  silent_api();
  int socket_ = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
  time_t started = time(NULL);
  CHECK(dial(socket_, HOST, 5000) == -1 && errno == EINPROGRESS);
  CHECK(time(NULL) - started < 300);
  CHECK(dial(socket_, HOST, 5000) == 0 || errno == EALREADY || errno == EINPROGRESS);
  struct pollfd open = {.fd = socket_, .events = POLLOUT};
  CHECK(poll(&open, 1, 60000) == 1);
  fcntl(socket_, F_SETFL, 0);
  ping(socket_);
}

/* A dead path API is waited for once and not by every connection. */
static void waited_once(void) {
  silent_api();
  time_t started = time(NULL);
  for (int i = 0; i < 40; i++) {
    int socket_ = socket(AF_INET6, SOCK_STREAM, 0);
    CHECK(dial(socket_, HOST, 5000) == 0);
    ping(socket_);
    close(socket_);
  }
  CHECK(time(NULL) - started < 40 * 3);
}

static void *dial_in_thread(void *socket_) {
  dial(*(int *)socket_, HOST, 5000);
  pthread_testcancel();
  return NULL;
}

/* A thread that is cancelled while it waits ends as cancelled threads do. */
static void cancelled(void) {
  silent_api();
  int socket_ = socket(AF_INET6, SOCK_STREAM, 0);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, dial_in_thread, &socket_) == 0);
  usleep(300000);
  CHECK(pthread_cancel(thread) == 0);
  void *result;
  CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
  int next = socket(AF_INET6, SOCK_STREAM, 0);
  CHECK(dial(next, HOST, 5000) == 0);
  ping(next);
}

/* Where descriptor 2 has become something else, nothing is logged into it. */
static void no_log_into_others_descriptors(void) {
  int pair[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
  CHECK(dup2(pair[0], 2) == 2);
  int socket_ = socket(AF_INET6, SOCK_STREAM, 0);
  if (dial(socket_, HOST, 5000) != 0) _exit(2);
  char byte;
  if (recv(pair[1], &byte, 1, 0) != -1 || errno != EAGAIN) _exit(3);
}

/* System calls that the library needs are refused, the program's own are not. */
static void refused(void) {
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_timerfd_create, 5, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 4, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 2),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
  };
  struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
  CHECK(socket(AF_NETLINK, SOCK_RAW, 0) == -1 && errno == EPERM);
  for (int i = 0; i < 3; i++) {
    int socket_ = socket(AF_INET6, SOCK_STREAM, 0);
    CHECK(dial(socket_, HOST, 5000) == 0);
    ping(socket_);
  }
}

int main(int count, char **arguments) {
  struct {
    const char *name;
    void (*look)(void);
  } looks[] = {{"interrupted", interrupted}, {"restarted", restarted}, {"results", results},
               {"fast-open", fast_open},     {"at-once", at_once},     {"waited-once", waited_once},
               {"cancelled", cancelled},     {"other-stderr", no_log_into_others_descriptors},
               {"refused", refused}};
  CHECK(count == 2);
  for (size_t i = 0; i < sizeof looks / sizeof *looks; i++)
    if (strcmp(looks[i].name, arguments[1]) == 0) {
      looks[i].look();
      return 0;
    }
  fprintf(stderr, "no look called %s\n", arguments[1]);
  return 2;
}

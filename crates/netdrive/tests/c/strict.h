/* What the parts of strict.c share: settings, objects, and how it watches its caller. */
#ifndef STRICT_H
#define STRICT_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"

#ifndef DEVICES
#define DEVICES 2 /* 0: not usable here */
#endif
#ifndef MAX_RECVS
#define MAX_RECVS 1
#endif
#ifndef CORRUPT
#define CORRUPT 0 /* 1: flip a bit of every message; 2: let two blocks of 16 bytes change places */
#endif
#ifndef NEVER
#define NEVER 0 /* 1: connects never finish */
#endif
#ifndef FREEZE
#define FREEZE UINT_MAX /* after so many messages a connection carries nothing more */
#endif
#ifndef CONNECT_RESULT
#define CONNECT_RESULT ncclSuccess /* of connect and accept */
#endif
#ifndef INIT_RESULT
#define INIT_RESULT ncclSuccess
#endif
#ifndef NAME
#define NAME "Strict"
#endif
#ifndef MAX_P2P
#define MAX_P2P (1 << 30)
#endif

#if V <= 7
typedef int reg_size;
#else
typedef size_t reg_size;
#endif
#if V <= 8
typedef int send_size;
#else
typedef size_t send_size;
#endif

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
#define TYPE(middle) JOIN(JOIN(middle, V), _t)

enum { STEPS = 8, PENDING_CALLS = 5, REFUSE_EVERY = 5, REQUESTS = 256, GROUPS = 64 };

static void fail(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "CONTRACT BROKEN (v%d): ", V);
  vfprintf(stderr, format, arguments);
  fprintf(stderr, "\n");
  va_end(arguments);
  _exit(99);
}
#define WANT(condition, ...) do { if (!(condition)) fail(__VA_ARGS__); } while (0)

struct listener { int fd; int calls; pthread_t service_thread; };
struct mr { struct comm* comm; char* data; size_t size; int live; };
struct request {
  int live, send, n, tag;
  struct comm* comm;
  char* data[MAX_RECVS];
  size_t size[MAX_RECVS], got[MAX_RECVS];
  int tags[MAX_RECVS], full[MAX_RECVS];
  size_t moved; /* of a send: header and payload bytes written */
  int done;
};
struct header { int tag; int pad; size_t size; };
struct group { int n; int tags[MAX_RECVS]; int taken[MAX_RECVS]; };
struct comm {
  int fd, send, failed, mrs, calls;
  pthread_t service_thread, data_thread;
  int has_data_thread;
  struct request requests[REQUESTS];
  unsigned begun, ended;             /* indices of requests, in order */
  struct group groups[GROUPS];       /* sender: credits; receiver: credits to write */
  unsigned group_in, group_out;
  size_t credit_bytes;               /* of the credit under way, either direction */
  struct header header;
  size_t header_bytes, payload_bytes;
  struct request* filling;
  int filling_at;
  struct request refused; int has_refused;
};

static ncclDebugLogger_t logger;
/* Ranks of one process have a service thread each. */
static _Atomic int inits, open_comms, open_listeners;
static char context_token;

static void on_service_thread(pthread_t service_thread, const char* call) {
  WANT(pthread_equal(service_thread, pthread_self()), "%s on another thread than the service thread", call);
}
static void on_progress_thread(struct comm* comm, const char* call) {
  if (!comm->has_data_thread) { comm->data_thread = pthread_self(); comm->has_data_thread = 1; }
  WANT(pthread_equal(comm->data_thread, pthread_self()), "%s of one comm on two threads", call);
  WANT(!pthread_equal(comm->service_thread, pthread_self()), "%s on the service thread", call);
}

#endif

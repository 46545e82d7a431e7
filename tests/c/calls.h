/* One spelling of the calls for all versions: this file is compiled once per V. */
#ifndef CALLS_H
#define CALLS_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"

#define PASTE_(a, b, c) a##b##c
#define PASTE(a, b, c) PASTE_(a, b, c)
#define TYPE(name) PASTE(name##_v, V, _t)
#define STRING_(x) #x
#define STRING(x) STRING_(x)
#define SYMBOL "ncclNetPlugin_v" STRING(V)

typedef TYPE(ncclNet) table;

/* A failed check says where, what, and what was logged. */
#define CHECK(condition)                                                                        \
  do {                                                                                          \
    if (!(condition)) {                                                                         \
      fprintf(stderr, "%s:%d: v%d: not so: %s\nlog:\n%s", __FILE__, __LINE__, V, #condition, log_text); \
      exit(1);                                                                                  \
    }                                                                                           \
  } while (0)
#define OK(call) CHECK((call) == ncclSuccess)

/* All that was logged: "LEVEL text\n". */
static char log_text[1 << 16];

static inline void logger(ncclDebugLogLevel level, unsigned long flags, const char* where, int line, const char* fmt, ...) {
  (void)flags, (void)where, (void)line;
  char text[4096];
  va_list arguments;
  va_start(arguments, fmt);
  vsnprintf(text, sizeof(text), fmt, arguments);
  va_end(arguments);
  size_t used = strlen(log_text);
  snprintf(log_text + used, sizeof(log_text) - used, "%s %s\n", level == NCCL_LOG_WARN ? "WARN" : "INFO", text);
}

static inline ncclResult_t net_init(table* net, void** context, ncclDebugLogger_t log) {
  *context = NULL;
#if V >= 11
  TYPE(ncclNetCommConfig) config = {.trafficClass = 7};
  return net->init(context, 42, &config, log, NULL);
#elif V == 10
  return net->init(log, NULL);
#else
  return net->init(log);
#endif
}

static inline ncclResult_t net_finalize(table* net, void* context) {
#if V >= 11
  return net->finalize(context);
#else
  (void)net, (void)context;
  return ncclSuccess;
#endif
}

static inline ncclResult_t net_listen(table* net, void* context, int dev, void* handle, void** comm) {
#if V >= 11
  return net->listen(context, dev, handle, comm);
#else
  (void)context;
  return net->listen(dev, handle, comm);
#endif
}

/* Device handle and config NULL, as in NCCL's GDR check. */
static inline ncclResult_t net_connect(table* net, void* context, int dev, void* handle, void** comm) {
  (void)context;
#if V >= 11
  return net->connect(context, dev, handle, comm, NULL);
#elif V == 10
  return net->connect(dev, NULL, handle, comm, NULL);
#elif V >= 7
  return net->connect(dev, handle, comm, NULL);
#else
  return net->connect(dev, handle, comm);
#endif
}

static inline ncclResult_t net_accept(table* net, void* listener, void** comm) {
#if V >= 7
  return net->accept(listener, comm, NULL);
#else
  return net->accept(listener, comm);
#endif
}

static inline ncclResult_t net_isend(table* net, void* comm, void* data, size_t size, int tag, void** request) {
#if V >= 10
  return net->isend(comm, data, size, tag, NULL, NULL, request);
#elif V == 9
  return net->isend(comm, data, size, tag, NULL, request);
#else
  return net->isend(comm, data, (int)size, tag, NULL, request);
#endif
}

static inline ncclResult_t net_irecv(table* net, void* comm, void* data, size_t size, int tag, void** request) {
  void* mhandle = NULL;
#if V >= 10
  return net->irecv(comm, 1, &data, &size, &tag, &mhandle, NULL, request);
#elif V == 9
  return net->irecv(comm, 1, &data, &size, &tag, &mhandle, request);
#else
  int narrow = (int)size;
  return net->irecv(comm, 1, &data, &narrow, &tag, &mhandle, request);
#endif
}

#endif

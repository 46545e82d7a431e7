/* The part of a stand-in for NCCL that is not a transport: its release, and its logger. Linked with two tables
 * of crates/abi/tests/c/fakenet.c called Socket and IB. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "net_common.h"

char nccl_log[1 << 16];

ncclResult_t ncclGetVersion(int* version) {
  *version = CODE;
  return ncclSuccess;
}

void ncclDebugLog(ncclDebugLogLevel level, unsigned long flags, const char* where, int line, const char* fmt, ...) {
  (void)level, (void)flags, (void)where, (void)line;
  size_t used = strlen(nccl_log);
  va_list arguments;
  va_start(arguments, fmt);
  vsnprintf(nccl_log + used, sizeof(nccl_log) - used - 1, fmt, arguments);
  va_end(arguments);
  strcat(nccl_log, "\n");
}

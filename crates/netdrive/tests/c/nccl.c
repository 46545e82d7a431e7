/* With strict.c: a libnccl whose own Socket transport is the watching net. Its log, like that of 2.28, may only be
 * called after ncclInitEnv; like NCCL's, neither can be found but in the full symbol table. */
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "net.h"

__attribute__((visibility("default"))) ncclResult_t ncclGetVersion(int* version) {
  *version = CODE;
  return ncclSuccess;
}

static int started;

__attribute__((visibility("hidden"), used)) void ncclInitEnv(void) { started = 1; }

__attribute__((visibility("hidden"), used)) void ncclDebugLog(ncclDebugLogLevel level, unsigned long flags,
                                                              const char* where, int line, const char* format, ...) {
  FILE* file = fopen(LOG, "a");
  va_list arguments;
  (void)level; (void)flags; (void)where; (void)line;
  if (!started) {
    fprintf(stderr, "CONTRACT BROKEN: the log was called before ncclInitEnv\n");
    _exit(99);
  }
  va_start(arguments, format);
  vfprintf(file, format, arguments);
  va_end(arguments);
  fputc('\n', file);
  fclose(file);
}

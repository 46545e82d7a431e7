/* Another preloaded library: counts connects, and says so at exit on descriptor 1. */
#include <stdatomic.h>

#include "check.h"

static atomic_int calls;

int connect(int socket, const struct sockaddr *address, socklen_t length) {
  int (*next)(int, const struct sockaddr *, socklen_t) = (void *)dlsym(RTLD_NEXT, "connect");
  if (address && address->sa_family == AF_INET6) calls++;
  return next(socket, address, length);
}

__attribute__((destructor)) static void say(void) { dprintf(1, "counted %d\n", calls); }

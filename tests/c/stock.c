/* Inits the plugin's table of version V with the logger of a stand-in for NCCL.
 * Arguments: the plugin, the stand-in, IB's devices, what to expect: Socket, IB, or a reason for refusal. */
#include <dlfcn.h>
#include <unistd.h>

#include "calls.h"
#include "fakenet.h"

int main(int count, char** argument) {
  CHECK(count == 5);
  alarm(300);
  void* plugin = dlopen(argument[1], RTLD_NOW | RTLD_LOCAL);
  void* nccl = dlopen(argument[2], RTLD_NOW | RTLD_LOCAL);
  CHECK(plugin && nccl);
  table* net = dlsym(plugin, SYMBOL);
  ncclDebugLogger_t log = (ncclDebugLogger_t)dlsym(nccl, "ncclDebugLog");
  const char* logged = dlsym(nccl, "nccl_log");
  struct fake* ib = dlsym(nccl, "fake_ib");
  struct fake* socket = dlsym(nccl, "fake_socket");
  CHECK(net && log && logged);
  /* -1: IB can't even be initialised, as without libibverbs. */
  if (ib) {
    ib->devices = atoi(argument[3]);
    if (ib->devices < 0) ib->init_result = ncclInternalError;
  }
  void* context;
  ncclResult_t result = net_init(net, &context, log);
  const char* expected = argument[4];
  int is_ib = strcmp(expected, "IB") == 0, is_socket = strcmp(expected, "Socket") == 0;
  if (!is_ib && !is_socket) {
    snprintf(log_text, sizeof(log_text), "%s", logged);
    CHECK(result != ncclSuccess && context == NULL);
    CHECK(strstr(logged, expected) != NULL);
    CHECK(!socket || socket->inits == 0);
    CHECK(!ib || ib->inits == ib->finalizes || V < 11);
    return 0;
  }
  snprintf(log_text, sizeof(log_text), "%s", logged);
  OK(result);
  struct fake *used = is_ib ? ib : socket, *unused = is_ib ? socket : ib;
  CHECK(used->inits == 1 && used->finalizes == 0);
  /* What was begun in vain was ended; what wasn't tried wasn't begun. */
  CHECK(is_ib ? unused->inits == 0 : unused == NULL || V < 11 || unused->init_result || unused->inits == unused->finalizes);
  table* inner = dlsym(nccl, is_ib ? "stock_ib" : "stock_socket");
  CHECK(net->isend == inner->isend && net->test == inner->test && net->regMrDmaBuf == inner->regMrDmaBuf);
  CHECK((net->regMrDmaBuf != NULL) == is_ib);
  CHECK(strstr(logged, is_ib ? "wraps NCCL's IB (IB)" : "wraps NCCL's Socket (Socket)"));
  unsigned char handle[NCCL_NET_HANDLE_MAXSIZE] = {0};
  void* listener;
  OK(net_listen(net, context, 0, handle, &listener));
  CHECK(memcmp(handle + 96, is_ib ? "SRv6\x01\x02" : "SRv6\x01\x01", 6) == 0);
  OK(net_finalize(net, context));
  CHECK(used->finalizes == (V >= 11));
  return 0;
}

/* Every call of the table of version V panics inside; each must come back as an internal error, twice.
 * Argument: the shared object of tests/panicking. */
#include <dlfcn.h>
#include <unistd.h>

#include "calls.h"

int main(int count, char** argument) {
  CHECK(count == 2);
  alarm(300);
  void* library = dlopen(argument[1], RTLD_NOW | RTLD_LOCAL);
  if (!library) fprintf(stderr, "%s\n", dlerror());
  CHECK(library);
  table* net = dlsym(library, SYMBOL);
  CHECK(net);
  void* context;
  OK(net_init(net, &context, logger));
#define PANICS(call) CHECK((call) == ncclInternalError)
  for (int round = 0; round < 2; round++) {
    unsigned char handle[NCCL_NET_HANDLE_MAXSIZE] = {0};
    void *comm = (void*)0x5a, *request = NULL, *out = (void*)0x5a;
    int number = 7, sizes[1] = {1};
    TYPE(ncclNetProperties) props;
    PANICS(net->devices(&number));
    CHECK(number == 0);
    PANICS(net->getProperties(0, &props));
    CHECK(props.name == NULL);
    PANICS(net_listen(net, context, 0, handle, &comm));
    CHECK(comm == NULL);
    comm = (void*)0x5a;
    PANICS(net_connect(net, context, 0, handle, &comm));
    CHECK(comm == NULL);
    PANICS(net_accept(net, handle, &comm));
    PANICS(net->regMr(handle, handle, 8, NCCL_PTR_HOST, &out));
    CHECK(out == NULL);
    PANICS(net->regMrDmaBuf(handle, handle, 8, NCCL_PTR_CUDA, 0, 3, &out));
    PANICS(net->deregMr(handle, handle));
    PANICS(net_isend(net, handle, handle, 8, 0, &request));
    PANICS(net_irecv(net, handle, handle, 8, 0, &request));
    PANICS(net->iflush(handle, 1, &comm, sizes, &comm, &request));
    PANICS(net->test(handle, &number, sizes));
    PANICS(net->closeSend(handle));
    PANICS(net->closeRecv(handle));
    PANICS(net->closeListen(handle));
#if V >= 7
    PANICS(net->getDeviceMr(handle, handle, &out));
    PANICS(net->irecvConsumed(handle, 1, handle));
#endif
#if V >= 9
    TYPE(ncclNetVDeviceProps) members = {.ndevs = 1};
    PANICS(net->makeVDevice(&number, &members));
#endif
#if V >= 11
    TYPE(ncclNetAttr) attr = {.op = 1};
    PANICS(net->setNetAttr(context, &attr));
#endif
  }
  CHECK(strstr(log_text, "WARN NET/SRv6 : connect: panicked; this is a bug of nccl-net-srv6"));
  OK(net_finalize(net, context));
  return 0;
}

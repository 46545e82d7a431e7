/* A small net over TCP that watches its caller: whoever breaks the contract of nccl-headers ends with a message and
 * status 99. Compiled once per version, -DV=6 to 12; what else varies is set by the macros below.
 *
 * One connection per comm. The receiver writes a credit for each posted group of receives, the sender a header and the
 * payload for each send that matched one. isend and irecv refuse now and then, as they may. */
#include "strict.h"
#include "strict_data.h"

static ncclResult_t net_devices(int* count) {
  WANT(inits > 0, "devices before init");
  *count = DEVICES;
  return ncclSuccess;
}

static ncclResult_t net_properties(int dev, TYPE(ncclNetProperties_v)* properties) {
  WANT(dev >= 0 && dev < DEVICES, "getProperties of device %d", dev);
  memset(properties, 0, sizeof *properties);
  properties->name = dev ? "strict1" : "strict0";
  properties->ptrSupport = NCCL_PTR_HOST;
  properties->speed = 10000;
  properties->port = 1;
  properties->maxComms = 1024;
  properties->maxRecvs = MAX_RECVS;
#if V >= 9
  properties->vProps.ndevs = 1;
  properties->vProps.devs[0] = dev;
  properties->maxP2pBytes = MAX_P2P;
  properties->maxCollBytes = MAX_P2P;
#endif
  return ncclSuccess;
}

static int nonblocking(int fd) {
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  return fd;
}

static ncclResult_t do_listen(int dev, void* handle, void** out) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  struct listener* listener = calloc(1, sizeof *listener);
  WANT(dev >= 0 && dev < DEVICES, "listen on device %d", dev);
  WANT((uintptr_t)handle % 8 != 0, "handle of listen is aligned: the driver promises the worst case");
  listener->service_thread = pthread_self();
  listener->fd = nonblocking(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (bind(listener->fd, (struct sockaddr*)&address, length) || listen(listener->fd, 64)) return ncclSystemError;
  getsockname(listener->fd, (struct sockaddr*)&address, &length);
  memset(handle, 0, NCCL_NET_HANDLE_MAXSIZE);
  memcpy(handle, &address, sizeof address);
  open_listeners++;
  *out = listener;
  return ncclSuccess;
}

/* What connect keeps at byte 64 of the handle. */
struct stage { int calls; void* where; struct comm* comm; };

static ncclResult_t do_connect(int dev, void* handle, void** out, void* device_slot) {
  struct stage stage;
  struct sockaddr_in address;
  WANT(dev >= 0 && dev < DEVICES, "connect from device %d", dev);
  WANT((uintptr_t)handle % 8 != 0, "handle of connect is aligned: the driver promises the worst case");
  WANT(*out == NULL, "*sendComm is not NULL");
  (void)device_slot;
  if (CONNECT_RESULT != ncclSuccess) return CONNECT_RESULT;
  memcpy(&address, handle, sizeof address);
  memcpy(&stage, (char*)handle + 64, sizeof stage);
  if (stage.calls == 0) {
    stage.where = handle;
    stage.comm = calloc(1, sizeof *stage.comm);
    stage.comm->send = 1;
    stage.comm->service_thread = pthread_self();
    stage.comm->fd = nonblocking(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (connect(stage.comm->fd, (struct sockaddr*)&address, sizeof address) && errno != EINPROGRESS)
      return ncclSystemError;
  }
  WANT(stage.where == handle, "the handle moved between calls of one connect");
  on_service_thread(stage.comm->service_thread, "connect");
  stage.calls++;
  memcpy((char*)handle + 64, &stage, sizeof stage);
  if (NEVER || stage.calls < PENDING_CALLS) return ncclSuccess;
  if (connect(stage.comm->fd, (struct sockaddr*)&address, sizeof address) && errno != EISCONN) {
    if (errno == EINPROGRESS || errno == EALREADY) return ncclSuccess;
    return ncclSystemError;
  }
  open_comms++;
  *out = stage.comm;
  return ncclSuccess;
}

static ncclResult_t do_accept(void* listen_comm, void** out) {
  struct listener* listener = listen_comm;
  struct comm* comm;
  int fd;
  on_service_thread(listener->service_thread, "accept");
  WANT(listener->fd >= 0, "accept on a closed listener");
  WANT(*out == NULL, "*recvComm is not NULL");
  if (++listener->calls < PENDING_CALLS) return ncclSuccess;
  fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
  if (fd < 0) return errno == EAGAIN ? ncclSuccess : ncclSystemError;
  comm = calloc(1, sizeof *comm);
  comm->fd = nonblocking(fd);
  comm->service_thread = pthread_self();
  open_comms++;
  *out = comm;
  return ncclSuccess;
}

static ncclResult_t net_reg_mr(void* comm, void* data, reg_size size, int type, void** mhandle) {
  struct mr* mr = calloc(1, sizeof *mr);
  on_service_thread(((struct comm*)comm)->service_thread, "regMr");
  WANT(type == NCCL_PTR_HOST, "regMr of memory kind %d", type);
  WANT(data && size > 0, "regMr of %zu bytes at %p", (size_t)size, data);
  *mr = (struct mr){comm, data, (size_t)size, 1};
  mr->comm->mrs++;
  *mhandle = mr;
  return ncclSuccess;
}

static ncclResult_t net_dereg_mr(void* comm, void* mhandle) {
  struct mr* mr = mhandle;
  on_service_thread(((struct comm*)comm)->service_thread, "deregMr");
  WANT(mr->live && mr->comm == comm, "deregMr of a dead or foreign registration");
  mr->live = 0;
  mr->comm->mrs--;
  return ncclSuccess;
}

static ncclResult_t close_comm(struct comm* comm, const char* call) {
  int of_tag, live = outstanding(comm, -1, &of_tag);
  on_service_thread(comm->service_thread, call);
  WANT(comm->fd >= 0, "%s twice", call);
  WANT(comm->mrs == 0, "%s with %d registrations left", call, comm->mrs);
  if (live) logger(NCCL_LOG_WARN, NCCL_INIT, __FILE__, __LINE__, "%s with %d requests outstanding", call, live);
  close(comm->fd);
  comm->fd = -1;
  open_comms--;
  return ncclSuccess;
}
static ncclResult_t net_close_send(void* comm) {
  WANT(((struct comm*)comm)->send, "closeSend of a receive comm");
  return close_comm(comm, "closeSend");
}
static ncclResult_t net_close_recv(void* comm) {
  WANT(!((struct comm*)comm)->send, "closeRecv of a send comm");
  return close_comm(comm, "closeRecv");
}
static ncclResult_t net_close_listen(void* raw) {
  struct listener* listener = raw;
  on_service_thread(listener->service_thread, "closeListen");
  WANT(listener->fd >= 0, "closeListen twice");
  close(listener->fd);
  listener->fd = -1;
  open_listeners--;
  return ncclSuccess;
}

static void all_closed(const char* when) {
  WANT(open_comms == 0, "%d comms open at %s", open_comms, when);
  WANT(open_listeners == 0, "%d listeners open at %s", open_listeners, when);
}

static ncclResult_t do_init(ncclDebugLogger_t function) {
  WANT(function != NULL, "init without a logger");
  logger = function;
  logger(NCCL_LOG_INFO, NCCL_INIT | NCCL_NET, "", 0, "strict v%d: init %d, %s and %d", V, ++inits, "text", 42);
  return INIT_RESULT;
}

/* ---- what differs between the versions ---- */

#if V >= 11
static ncclResult_t net_init(void** ctx, uint64_t id, TYPE(ncclNetCommConfig_v)* config, ncclDebugLogger_t function,
                             ncclProfilerCallback_t profiler) {
  (void)id; (void)profiler;
  WANT(config != NULL, "init without config");
  *ctx = &context_token;
  return do_init(function);
}
static ncclResult_t net_finalize(void* ctx) {
  WANT(ctx == &context_token, "finalize with another context than init gave");
  WANT(inits-- > 0, "finalize without init");
  if (inits == 0) all_closed("finalize");
  return ncclSuccess;
}
static ncclResult_t net_set_attr(void* ctx, TYPE(ncclNetAttr_v)* attr) {
  WANT(ctx == &context_token && attr, "setNetAttr with another context");
  return ncclSuccess;
}
#else
#if V == 10
static ncclResult_t net_init(ncclDebugLogger_t function, ncclProfilerCallback_t profiler) {
  (void)profiler;
#else
static ncclResult_t net_init(ncclDebugLogger_t function) {
#endif
  WANT(inits == 0, "init a second time");
  (void)context_token;
  return do_init(function);
}
__attribute__((destructor)) static void at_exit(void) { if (inits) all_closed("exit"); }
#endif

#if V >= 11
#define CONTEXT void* ctx,
#define CHECK_CONTEXT WANT(ctx == &context_token, "another context than init gave")
#else
#define CONTEXT
#define CHECK_CONTEXT
#endif

static ncclResult_t net_listen(CONTEXT int dev, void* handle, void** out) {
  CHECK_CONTEXT;
  return do_listen(dev, handle, out);
}
#if V == 6
static ncclResult_t net_connect(int dev, void* handle, void** out) { return do_connect(dev, handle, out, NULL); }
static ncclResult_t net_accept(void* listener, void** out) { return do_accept(listener, out); }
#else
typedef TYPE(ncclNetDeviceHandle_v) device_handle;
#if V == 10
static ncclResult_t net_connect(int dev, ncclNetCommConfig_v10_t* config, void* handle, void** out,
                                device_handle** device) {
  (void)config;
#else
static ncclResult_t net_connect(CONTEXT int dev, void* handle, void** out, device_handle** device) {
  CHECK_CONTEXT;
#endif
  WANT(device && *device == NULL, "sendDevComm is not preset to NULL");
  return do_connect(dev, handle, out, device);
}
static ncclResult_t net_accept(void* listener, void** out, device_handle** device) {
  WANT(device && *device == NULL, "recvDevComm is not preset to NULL");
  return do_accept(listener, out);
}
#endif

#if V >= 10
static ncclResult_t net_isend(void* comm, void* data, size_t size, int tag, void* mhandle, void* phandle, void** out) {
  (void)phandle;
  return do_isend(comm, data, size, tag, mhandle, out);
}
static ncclResult_t net_irecv(void* comm, int n, void** data, size_t* sizes, int* tags, void** mhandles,
                              void** phandles, void** out) {
  WANT(phandles != NULL, "irecv without an array of profiler handles");
  return do_irecv(comm, n, data, sizes, tags, mhandles, out);
}
#else
#define net_isend do_isend
#define net_irecv do_irecv
#endif

TYPE(ncclNet_v) JOIN(ncclNetPlugin_v, V) = {
    .name = NAME,
    .init = net_init,
    .devices = net_devices,
    .getProperties = net_properties,
    .listen = net_listen,
    .connect = net_connect,
    .accept = net_accept,
    .regMr = net_reg_mr,
    .deregMr = net_dereg_mr,
    .isend = net_isend,
    .irecv = net_irecv,
    .iflush = net_iflush,
    .test = net_test,
    .closeSend = net_close_send,
    .closeRecv = net_close_recv,
    .closeListen = net_close_listen,
#if V >= 11
    .finalize = net_finalize,
    .setNetAttr = net_set_attr,
#endif
};

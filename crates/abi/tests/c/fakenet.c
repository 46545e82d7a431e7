/* A net plugin of version V (6 to 12) that moves no data: it records what it is asked and answers what it was told.
 * With -DSOCKET_LIKE or -DIB_LIKE the same members are NULL as in NCCL's own table; else all are there.
 * -DNAME, -DSYMBOL and -DFAKE let several of them be linked into one library that stands for NCCL. */
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "fakenet.h"
#include "net.h"

#define PASTE_(a, b, c) a##b##c
#define PASTE(a, b, c) PASTE_(a, b, c)
#define TYPE(name) PASTE(name##_v, V, _t)

#ifndef NAME
#define NAME "Fake"
#define LOGGER
#endif
#ifndef SYMBOL
#define SYMBOL PASTE(ncclNetPlugin_v, V, )
#endif
#ifndef FAKE
#define FAKE fake
#endif

struct fake FAKE = {.devices = 2, .listen_bytes = 72};
#define fake FAKE

/* Addresses that stand for comms and the like; never read through. */
#if V >= 11
static char context;
#endif
static char listen_comm, send_comm, recv_comm, mhandle, send_request, recv_request, flush_request;

#ifdef LOGGER
/* A logger to pass to init: keeps the last line. */
void fake_logger(ncclDebugLogLevel level, unsigned long flags, const char* where, int line, const char* fmt, ...) {
  (void)where;
  (void)line;
  va_list arguments;
  va_start(arguments, fmt);
  vsnprintf(fake.text, sizeof(fake.text), fmt, arguments);
  va_end(arguments);
  fake.level = (int32_t)level;
  fake.flags = (int32_t)flags;
}
#endif

#if V >= 8
typedef size_t mr_size;
#else
typedef int mr_size;
#endif
#if V >= 9
typedef size_t message_size;
#else
typedef int message_size;
#endif

#if V >= 11
static ncclResult_t init(void** ctx, uint64_t commId, TYPE(ncclNetCommConfig)* config, ncclDebugLogger_t logger,
                         ncclProfilerCallback_t profiler) {
  fake.comm_id = commId;
  fake.had_config = config != NULL;
  if (config) fake.traffic_class = config->trafficClass;
  fake.profiler = (void*)profiler;
  *ctx = &context;
#elif V == 10
static ncclResult_t init(ncclDebugLogger_t logger, ncclProfilerCallback_t profiler) {
  fake.profiler = (void*)profiler;
#else
static ncclResult_t init(ncclDebugLogger_t logger) {
#endif
  fake.inits++;
  fake.logger = (void*)logger;
  if (logger && fake.init_result == 0) logger(NCCL_LOG_INFO, NCCL_NET, "fakenet", __LINE__, "init of v%d", V);
  return (ncclResult_t)fake.init_result;
}

static ncclResult_t devices(int* ndev) {
  *ndev = fake.devices;
  return ncclSuccess;
}

static ncclResult_t getProperties(int dev, TYPE(ncclNetProperties)* props) {
  if (dev < 0 || dev >= fake.devices) return ncclInvalidArgument;
  memset(props, 0, sizeof(*props));
  props->name = dev == 0 ? "fake0" : "fake1";
  props->guid = 4711 + (uint64_t)dev;
  props->ptrSupport = NCCL_PTR_HOST;
  props->speed = 25000;
  props->port = 1;
  props->latency = 2.5f;
  props->maxComms = 99;
  props->maxRecvs = 3;
#if V >= 8
  props->regIsGlobal = 1;
#endif
#if V >= 9
  props->forceFlush = 1;
  props->vProps.ndevs = 2;
  props->vProps.devs[0] = dev;
  props->vProps.devs[1] = dev + 1;
  props->maxP2pBytes = (size_t)5 << 30;
  props->maxCollBytes = (size_t)6 << 30;
#endif
#if V >= 11
  props->maxMultiRequestSize = 7;
#endif
#if V >= 12
  props->railId = 3;
  props->planeId = 4;
#endif
  return ncclSuccess;
}

#if V >= 11
static ncclResult_t net_listen(void* ctx, int dev, void* handle, void** listenComm) {
  fake.context = ctx;
#else
static ncclResult_t net_listen(int dev, void* handle, void** listenComm) {
#endif
  fake.listens++;
  fake.dev = dev;
  memset(handle, 0, (size_t)fake.listen_bytes);
  memcpy(handle, fake.listener, sizeof(fake.listener));
  *listenComm = &listen_comm;
  return ncclSuccess;
}

static ncclResult_t connected(int dev, void* handle, void** sendComm) {
  fake.connects++;
  fake.dev = dev;
  *sendComm = NULL;
  if (fake.connect_result) return (ncclResult_t)fake.connect_result;
  memset((char*)handle + 48, 0x5a, 24); /* keeps its state where stock Socket does */
  if (fake.connect_pending > 0) {
    fake.connect_pending--;
  } else {
    *sendComm = &send_comm;
  }
  return ncclSuccess;
}

#if V >= 11
static ncclResult_t net_connect(void* ctx, int dev, void* handle, void** sendComm, TYPE(ncclNetDeviceHandle)** device) {
  fake.context = ctx;
  fake.had_device = device != NULL;
#elif V == 10
static ncclResult_t net_connect(int dev, TYPE(ncclNetCommConfig)* config, void* handle, void** sendComm,
                                TYPE(ncclNetDeviceHandle)** device) {
  fake.had_config = config != NULL;
  if (config) fake.traffic_class = config->trafficClass;
  fake.had_device = device != NULL;
#elif V >= 7
static ncclResult_t net_connect(int dev, void* handle, void** sendComm, TYPE(ncclNetDeviceHandle)** device) {
  fake.had_device = device != NULL;
#else
static ncclResult_t net_connect(int dev, void* handle, void** sendComm) {
#endif
  return connected(dev, handle, sendComm);
}

#if V >= 7
static ncclResult_t net_accept(void* listenComm, void** recvComm, TYPE(ncclNetDeviceHandle)** device) {
  fake.had_device = device != NULL;
#else
static ncclResult_t net_accept(void* listenComm, void** recvComm) {
#endif
  fake.accepts++;
  fake.comm = listenComm;
  *recvComm = NULL;
  if (fake.accept_pending > 0) {
    fake.accept_pending--;
  } else {
    *recvComm = &recv_comm;
  }
  return ncclSuccess;
}

static ncclResult_t regMr(void* comm, void* data, mr_size size, int type, void** out) {
  fake.comm = comm;
  fake.data = data;
  fake.size = (int64_t)size;
  fake.type = type;
  *out = &mhandle;
  return ncclSuccess;
}

static ncclResult_t deregMr(void* comm, void* handle) {
  fake.comm = comm;
  fake.mhandle = handle;
  return ncclSuccess;
}

static ncclResult_t isend(void* comm, void* data, message_size size, int tag, void* handle,
#if V >= 10
                          void* phandle,
#endif
                          void** request) {
#if V >= 10
  fake.phandle = phandle;
#endif
  fake.comm = comm;
  fake.data = data;
  fake.size = (int64_t)size;
  fake.tag = tag;
  fake.mhandle = handle;
  *request = size == 0 ? NULL : &send_request;
  return ncclSuccess;
}

static ncclResult_t irecv(void* comm, int n, void** data, message_size* sizes, int* tags, void** handles,
#if V >= 10
                          void** phandles,
#endif
                          void** request) {
#if V >= 10
  fake.phandle = phandles ? phandles[0] : NULL;
#endif
  fake.request_in = *request;
  fake.comm = comm;
  fake.count = n;
  fake.data = data[n - 1];
  for (int i = 0; i < n && i < 8; i++) fake.sizes[i] = (int64_t)sizes[i];
  fake.tag = tags[n - 1];
  fake.mhandle = handles[n - 1];
  *request = &recv_request;
  return ncclSuccess;
}

static ncclResult_t iflush(void* comm, int n, void** data, int* sizes, void** handles, void** request) {
  fake.comm = comm;
  fake.count = n;
  fake.data = data[0];
  fake.size = sizes[0];
  fake.mhandle = handles[0];
  *request = &flush_request;
  return ncclSuccess;
}

static ncclResult_t test(void* request, int* done, int* sizes) {
  *done = request == &recv_request;
  if (request == &send_request) return ncclRemoteError;
  if (sizes) sizes[0] = 1234;
  return ncclSuccess;
}

static ncclResult_t closeSend(void* comm) {
  fake.close_sends++;
  fake.comm = comm;
  return ncclSuccess;
}

static ncclResult_t closeRecv(void* comm) {
  fake.close_recvs++;
  fake.comm = comm;
  return ncclSuccess;
}

static ncclResult_t closeListen(void* comm) {
  fake.close_listens++;
  fake.comm = comm;
  return ncclSuccess;
}

#ifdef SOCKET_LIKE
#define OPTIONAL(function) NULL
#else
#define OPTIONAL(function) function
static ncclResult_t regMrDmaBuf(void* comm, void* data, size_t size, int type, uint64_t offset, int fd, void** out) {
  fake.offset = (int64_t)offset;
  fake.fd = fd;
  fake.comm = comm;
  fake.data = data;
  fake.size = (int64_t)size;
  fake.type = type;
  *out = &mhandle;
  return ncclSuccess;
}

#ifndef IB_LIKE
#if V >= 7
static ncclResult_t getDeviceMr(void* comm, void* handle, void** out) {
  fake.comm = comm;
  *out = (char*)handle + 1;
  return ncclSuccess;
}

static ncclResult_t irecvConsumed(void* comm, int n, void* request) {
  fake.comm = comm;
  fake.count = n;
  fake.data = request;
  return ncclSuccess;
}
#endif
#endif
#if V >= 9
static ncclResult_t makeVDevice(int* dev, TYPE(ncclNetVDeviceProps)* props) {
  fake.count = props->ndevs;
  for (int i = 0; i < props->ndevs && i < 8; i++) fake.sizes[i] = props->devs[i];
  *dev = fake.devices++;
  return ncclSuccess;
}
#endif
#if V >= 11
static ncclResult_t setNetAttr(void* ctx, TYPE(ncclNetAttr)* attr) {
  fake.context = ctx;
  fake.count = (int)attr->op;
  return ncclSuccess;
}
#endif
#endif

#if V >= 11
static ncclResult_t finalize(void* ctx) {
  fake.finalizes++;
  fake.context = ctx;
  return ncclSuccess;
}
#endif

#ifdef IB_LIKE
#define DEVICE(function) NULL
#else
#define DEVICE(function) OPTIONAL(function)
#endif

TYPE(ncclNet) SYMBOL = {
  .name = NAME,
  .init = init,
  .devices = devices,
  .getProperties = getProperties,
  .listen = net_listen,
  .connect = net_connect,
  .accept = net_accept,
  .regMr = regMr,
  .regMrDmaBuf = OPTIONAL(regMrDmaBuf),
  .deregMr = deregMr,
  .isend = isend,
  .irecv = irecv,
  .iflush = iflush,
  .test = test,
  .closeSend = closeSend,
  .closeRecv = closeRecv,
  .closeListen = closeListen,
#if V >= 7
  .getDeviceMr = DEVICE(getDeviceMr),
  .irecvConsumed = DEVICE(irecvConsumed),
#endif
#if V >= 9
  .makeVDevice = OPTIONAL(makeVDevice),
#endif
#if V >= 11
  .finalize = finalize,
  .setNetAttr = OPTIONAL(setNetAttr),
#endif
};

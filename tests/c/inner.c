/* Drives the plugin of version V around another plugin that moves no data (crates/abi/tests/c/fakenet.c).
 * Arguments: our plugin, the other one, a scenario. The other one's version is INNER. */
#include <dlfcn.h>
#include <unistd.h>

#include "calls.h"
#include "fakenet.h"

static struct fake* fake;
static void* other_table;
static table* net;

/* The trailer that a wrapped peer would have left: the format is documented, and so may be written by hand. */
static void write_trailer(unsigned char* handle, int version, int transport, const unsigned char address[16],
                          const char* name) {
  unsigned char* trailer = handle + 96;
  memset(trailer, 0, 32);
  memcpy(trailer, "SRv6", 4);
  trailer[4] = (unsigned char)version;
  trailer[5] = (unsigned char)transport;
  trailer[6] = 1;
  memcpy(trailer + 8, address, 16);
  uint32_t hash = 0x811c9dc5;
  for (const char* c = name; *c; c++) hash = (hash ^ (unsigned char)*c) * 0x01000193u;
  memcpy(trailer + 24, &hash, 4);
  uint32_t sum = 0x811c9dc5;
  for (int i = 0; i < 28; i++) sum = (sum ^ trailer[i]) * 0x01000193u;
  memcpy(trailer + 28, &sum, 4);
}

/* 2001:db8:1003::2, host03 of the shipped fabric. */
static const unsigned char REMOTE[16] = {0x20, 0x01, 0x0d, 0xb8, 0x10, 0x03, [15] = 2};

static void* member(const void* table_, int index) { return ((void* const*)table_)[index]; }

#if INNER == V
/* Members by position: init 1, listen 4, connect 5, closeSend 14 and finalize 20 are ours. */
static void equal(void* context) {
  const int members = (int)(sizeof(table) / sizeof(void*));
  for (int i = 1; i < members; i++) {
    int ours = i == 1 || i == 4 || i == 5 || i == 14 || (V >= 11 && i == 20);
    if (ours) {
      CHECK(member(net, i) != NULL && member(net, i) != member(other_table, i));
    } else {
      CHECK(member(net, i) == member(other_table, i));
    }
  }
  CHECK(strcmp(net->name, "SRv6") == 0);
#if V >= 11
  CHECK(context != NULL);
#else
  CHECK(context == NULL);
#endif
}
#else
/* Another version: nothing can be taken over, but what is NULL there is NULL here. */
static void adapted(void* context) {
  (void)context;
  for (int i = 1; i < (int)(sizeof(table) / sizeof(void*)); i++) {
    int exists = i < (INNER == 6 ? 17 : INNER <= 8 ? 19 : INNER <= 10 ? 20 : 22);
    void* here = member(net, i);
    if (V >= 11 && i == 20) continue; /* finalize is ours */
    if (exists) CHECK((here != NULL) == (member(other_table, i) != NULL));
    else CHECK(here == NULL);
    if (exists) CHECK(here == NULL || here != member(other_table, i));
  }
  char data[8];
  void *request = NULL, *comm = (void*)0x1234;
  OK(net_isend(net, comm, data, 77, -3, &request));
  CHECK(request != NULL && fake->size == 77 && fake->tag == -3 && fake->comm == comm && fake->data == data);
  CHECK(net->test(request, (int[]){0}, NULL) == ncclRemoteError);
  void* hint = (void*)0x1;
  OK(net_irecv(net, comm, data, 1 << 30, 5, &hint));
  CHECK(fake->sizes[0] == 1 << 30 && fake->count == 1 && fake->tag == 5);
  /* Tables older than v9 don't know the hint and would take it for a request. */
  CHECK(fake->request_in == (INNER >= 9 ? (void*)0x1 : NULL));
  int done = 0, size = 0;
  OK(net->test(hint, &done, &size));
  CHECK(done == 1 && size == 1234);
  void *buffers[1] = {data}, *handles[1] = {data};
  int sizes[1] = {31};
  OK(net->iflush(comm, 1, buffers, sizes, handles, &request));
  CHECK(fake->size == 31 && fake->mhandle == data);
  void* mhandle = NULL;
  OK(net->regMr(comm, data, 4096, NCCL_PTR_HOST, &mhandle));
  CHECK(mhandle != NULL && fake->size == 4096 && fake->type == NCCL_PTR_HOST);
  if (net->regMrDmaBuf) OK(net->regMrDmaBuf(comm, data, 1, NCCL_PTR_CUDA, 1, 3, &mhandle));
  OK(net->deregMr(comm, mhandle));
  TYPE(ncclNetProperties) props;
  OK(net->getProperties(1, &props));
  CHECK(strcmp(props.name, "fake1") == 0 && props.speed == 25000 && props.maxRecvs == 3);
#if V >= 8
  CHECK(props.regIsGlobal == (INNER >= 8));
#endif
#if V >= 9
  CHECK(props.forceFlush == (INNER >= 9));
  CHECK(props.maxP2pBytes == (INNER >= 9 ? (size_t)5 << 30 : (size_t)1 << 30));
  CHECK(props.vProps.ndevs == (INNER >= 9 ? 2 : 1) && props.vProps.devs[0] == 1);
#endif
#if V >= 12
  CHECK(props.railId == (INNER >= 12 ? 3 : -1));
#endif
#if V >= 9 && INNER >= 9
  TYPE(ncclNetVDeviceProps) members = {.ndevs = 2, .devs = {1, 0}};
  int joined = -1;
  OK(net->makeVDevice(&joined, &members));
  CHECK(joined == 2 && fake->count == 2 && fake->sizes[0] == 1);
#endif
#if V >= 7 && INNER >= 7
  void* device = NULL;
  OK(net->getDeviceMr(comm, data, &device));
  CHECK(device == data + 1);
  OK(net->irecvConsumed(comm, 1, data));
#endif
#if V >= 11 && INNER >= 11
  TYPE(ncclNetAttr) attr = {.op = 6};
  OK(net->setNetAttr(context, &attr));
  CHECK(fake->count == 6);
#endif
}
#endif

/* Contexts: one inner finalize per inner init, whatever NCCL does. */
static void contexts(void* first) {
  CHECK(fake->inits == 1);
  void *second, *third;
  OK(net_init(net, &second, logger));
  OK(net_init(net, &third, logger));
  int per_communicator = V >= 11 && INNER >= 11;
  CHECK(fake->inits == (per_communicator ? 3 : 1));
#if V >= 11
  CHECK(fake->comm_id == (INNER >= 11 ? 42 : 0) && (INNER < 11 || fake->traffic_class == 7));
  unsigned char handle[NCCL_NET_HANDLE_MAXSIZE];
  void* listener;
  OK(net->listen(second, 0, handle, &listener));
  OK(net->finalize(NULL));
  CHECK(fake->finalizes == 0);
  OK(net->finalize(first));
  OK(net->finalize(second));
  OK(net->listen(third, 0, handle, &listener));
  OK(net->finalize(third));
  CHECK(fake->finalizes == (per_communicator ? 3 : 0));
  OK(net->finalize(third));
  OK(net->finalize((void*)0xdead));
  CHECK(fake->finalizes == (per_communicator ? 3 : 0));
  CHECK(net->listen(third, 0, handle, &listener) == ncclInvalidArgument);
  /* All gone, and once more. */
  OK(net_init(net, &first, logger));
  OK(net->listen(first, 0, handle, &listener));
  OK(net->finalize(first));
  fake->init_result = ncclSystemError;
  CHECK(net_init(net, &second, logger) == (per_communicator ? ncclSystemError : ncclSuccess));
  CHECK(!per_communicator || second == NULL);
#else
  (void)first;
#endif
}

/* Which of the 128 bytes listen leaves as they were. */
static void handles(void* context) {
  unsigned char buffer[NCCL_NET_HANDLE_MAXSIZE + 1];
  unsigned char* handle = buffer + 1;
  void* listener;
  memset(buffer, 0xab, sizeof(buffer));
  memcpy(fake->listener, "\x02\x00\x12\x34\xc0\x00\x02\x09", 8);
  OK(net_listen(net, context, 0, handle, &listener));
  for (int i = 72; i < 96; i++) CHECK(handle[i] == 0xab);
  CHECK(memcmp(handle + 96, "SRv6\x01\x04", 6) == 0);
  CHECK(memcmp(handle, "\x02\x00\x12\x34\xc0\x00\x02\x09", 8) == 0);
  /* A transport that uses the last bytes itself keeps them. */
  fake->listen_bytes = 128;
  memset(buffer, 0xab, sizeof(buffer));
  OK(net_listen(net, context, 0, handle, &listener));
  for (int i = 28; i < 128; i++) CHECK(handle[i] == 0);
  fake->listen_bytes = 97;
  memset(buffer, 0xab, sizeof(buffer));
  OK(net_listen(net, context, 0, handle, &listener));
  CHECK(memcmp(handle + 96, "SRv6", 4) != 0);
}

static void* connect_until_done(void* context, unsigned char* handle, long* polls) {
  void* comm = NULL;
  for (*polls = 0; !comm; ++*polls) {
    CHECK(*polls < 100000000);
    comm = (void*)0x5a;
    OK(net_connect(net, context, 0, handle, &comm));
  }
  return comm;
}

static int count(const char* text) {
  int found = 0;
  for (const char* at = log_text; (at = strstr(at, text)); at++) found++;
  return found;
}

/* Whether the kernel has a route of ours to the remote host, by what `ip` says. */
static int routed(void) {
  FILE* ip = popen("ip -6 route show 2001:db8:1003::2 proto 83", "r");
  char shown[1024];
  size_t bytes = fread(shown, 1, sizeof(shown) - 1, ip);
  shown[bytes] = 0;
  CHECK(pclose(ip) == 0);
  CHECK(bytes == 0 || strstr(shown, "encap seg6 mode encap.red segs 1 [ fc00:0:"));
  return bytes != 0;
}

/* Withdrawing is done on another thread. It is given time before the first look, because `ip` is a child of this process, and
 * until it is executed it holds copies of the sockets that stand for our claims. */
static void soon_unrouted(void) {
  usleep(300000);
  for (int tries = 0; routed(); tries++) {
    CHECK(tries < 6000);
    usleep(10000);
  }
}

/* Steered over the shipped fabric. */
static void steered(void* context) {
  unsigned char buffer[2][NCCL_NET_HANDLE_MAXSIZE + 1];
  unsigned char* handle = buffer[0] + 1;
  memset(buffer, 0, sizeof(buffer));
  write_trailer(handle, 1, 4, REMOTE, "Fake");
  fake->connect_pending = 3;
  long polls;
  void* comm = connect_until_done(context, handle, &polls);
  CHECK(fake->connects == 4);
  CHECK(comm != NULL && comm != (void*)0x5a);
  CHECK(routed());
  CHECK(count("connection 2001:db8:1000::2 -> 2001:db8:1003::2: path host00 > leaf") == 1);
  CHECK(count("> host03 carrier fc00:0:") == 1);
  /* The same memory for another connection is another attempt; two at a time do not disturb each other. */
  unsigned char* second = buffer[1] + 1;
  write_trailer(handle, 1, 4, REMOTE, "Fake");
  write_trailer(second, 1, 4, REMOTE, "Fake");
  fake->connect_pending = V == 12 ? 100000 : 100;
  void *one = NULL, *two = NULL;
  for (long i = 0; (!one || !two) && i < 100000000; i++) {
    if (!one) OK(net_connect(net, context, 0, handle, &one));
    if (!two) OK(net_connect(net, context, 0, second, &two));
  }
  CHECK(one && two);
  CHECK(count("connection 2001:db8:1000::2 -> 2001:db8:1003::2: path") == 3);
  OK(net->closeSend(comm));
  OK(net->closeSend(one));
  CHECK(routed());
  OK(net->closeSend(two));
  CHECK(fake->close_sends == 3);
  soon_unrouted();
  /* The inner error is what NCCL gets, and the route goes. */
  write_trailer(handle, 1, 4, REMOTE, "Fake");
  fake->connect_result = ncclUnhandledCudaError;
  ncclResult_t result = ncclSuccess;
  for (long i = 0; result == ncclSuccess && i < 100000000; i++) result = net_connect(net, context, 0, handle, &one);
  CHECK(result == ncclUnhandledCudaError && one == NULL);
  soon_unrouted();
#if V >= 11
  /* A comm that is never closed, as after an abort: its route goes with the last communicator. */
  fake->connect_result = 0;
  fake->connect_pending = 0;
  write_trailer(handle, 1, 4, REMOTE, "Fake");
  connect_until_done(context, handle, &polls);
  CHECK(routed());
  OK(net->finalize(context));
  soon_unrouted();
#endif
}

/* As most jobs end: without closing anything. */
static void leaving(void* context) {
  unsigned char handle[NCCL_NET_HANDLE_MAXSIZE];
  memset(handle, 0, sizeof(handle));
  write_trailer(handle, 1, 4, REMOTE, "Fake");
  long polls;
  connect_until_done(context, handle, &polls);
  CHECK(routed());
}

/* Peers on this host, without a trailer, with a newer one, with another transport. */
static void peers(void* context) {
  unsigned char handle[NCCL_NET_HANDLE_MAXSIZE] = {0};
  static const unsigned char local[16] = {[10] = 0xff, [11] = 0xff, 127, 0, 0, 1};
  long polls;
  write_trailer(handle, 1, 4, local, "Fake");
  connect_until_done(context, handle, &polls);
  CHECK(polls == 1 && count("127.0.0.1: on this host") == 1);
  memset(handle, 0, sizeof(handle));
  connect_until_done(context, handle, &polls);
  CHECK(polls == 1 && count("WARN NET/SRv6 : connection goes unsteered: the peer's handle has no data address") == 1);
  write_trailer(handle, 2, 4, REMOTE, "Fake");
  connect_until_done(context, handle, &polls);
  CHECK(polls == 1);
  int before = fake->connects;
  void* comm = (void*)0x5a;
  write_trailer(handle, 1, 1, REMOTE, "");
  CHECK(net_connect(net, context, 0, handle, &comm) == ncclInvalidUsage && comm == NULL);
  CHECK(strstr(log_text, "connects by another net plugin") && strstr(log_text, "listens by NCCL's Socket"));
  write_trailer(handle, 1, 4, REMOTE, "Other");
  CHECK(net_connect(net, context, 0, handle, &comm) == ncclInvalidUsage);
  CHECK(fake->connects == before);
}

/* A path source that doesn't answer: NCCL's thread is never held, and goes on unsteered, or fails if strict. */
static void silent(void* context, int strict) {
  unsigned char handle[NCCL_NET_HANDLE_MAXSIZE] = {0};
  write_trailer(handle, 1, 4, REMOTE, "Fake");
  void* comm = NULL;
  ncclResult_t result = ncclSuccess;
  long polls = 0;
  while (!comm && result == ncclSuccess) {
    CHECK(++polls < 1000000000);
    result = net_connect(net, context, 0, handle, &comm);
    if (polls == 1000) CHECK(fake->connects == 0 && !comm);
  }
  CHECK(polls > 1000);
  if (strict) {
    CHECK(result == ncclSystemError && comm == NULL && fake->connects == 0);
    CHECK(strstr(log_text, "connection 2001:db8:1000::2 -> 2001:db8:1003::2 can't be steered: "));
  } else {
    CHECK(result == ncclSuccess && comm != NULL && fake->connects == 1);
    CHECK(strstr(log_text, "WARN NET/SRv6 : connection 2001:db8:1000::2 -> 2001:db8:1003::2 goes unsteered: "));
    OK(net->closeSend(comm));
  }
}

/* A second NCCL in the process: here, a logger in another library. */
static void second_nccl(void* context, void* other) {
  (void)context;
  ncclDebugLogger_t foreign = (ncclDebugLogger_t)dlsym(other, "fake_logger");
  CHECK(foreign != NULL);
  void* unused;
  CHECK(net_init(net, &unused, foreign) == ncclInvalidUsage && unused == NULL);
  CHECK(strstr(log_text, "two NCCLs"));
  OK(net_init(net, &unused, logger));
}

/* init must fail, with this in the log. */
static void refused(int code, const char* reason) {
  void* context;
  CHECK((int)net_init(net, &context, logger) == code && context == NULL);
  CHECK(strstr(log_text, reason) != NULL);
}

int main(int count_, char** argument) {
  CHECK(count_ >= 4);
  alarm(300);
  const char* scenario = argument[3];
  void* plugin = dlopen(argument[1], RTLD_NOW | RTLD_LOCAL);
  void* other = dlopen(argument[2], RTLD_NOW | RTLD_LOCAL);
  CHECK(plugin && other);
  net = dlsym(plugin, SYMBOL);
  fake = dlsym(other, "fake");
  other_table = dlsym(other, "ncclNetPlugin_v" STRING(INNER));
  CHECK(net && fake && other_table);
  if (strcmp(scenario, "refused") == 0) {
    CHECK(count_ == 6);
    refused(atoi(argument[4]), argument[5]);
    return 0;
  }
  if (strcmp(scenario, "nodevices") == 0) {
    fake->devices = 0;
    refused(ncclSystemError, "has no devices here");
    CHECK(fake->finalizes == (INNER >= 11));
    return 0;
  }
  void* context;
  OK(net_init(net, &context, logger));
  if (strcmp(scenario, "members") == 0) {
#if INNER == V
    equal(context);
#else
    adapted(context);
#endif
  }
  else if (strcmp(scenario, "contexts") == 0) contexts(context);
  else if (strcmp(scenario, "handles") == 0) handles(context);
  else if (strcmp(scenario, "steered") == 0) steered(context);
  else if (strcmp(scenario, "leaving") == 0) leaving(context);
  else if (strcmp(scenario, "peers") == 0) peers(context);
  else if (strcmp(scenario, "silent") == 0) silent(context, 0);
  else if (strcmp(scenario, "silent-strict") == 0) silent(context, 1);
  else if (strcmp(scenario, "second") == 0) second_nccl(context, other);
  else CHECK(!"a scenario of this name");
  return 0;
}

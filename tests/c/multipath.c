/* Drives the plugin's table of version V over the multipath transport on loopback, as NCCL's threads do.
 * Arguments: the plugin, a scenario. */
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "calls.h"

/* The plugin's allocator is the process's: these stand before libc's, because the program is linked -rdynamic. */
extern void* __libc_malloc(size_t);
extern void* __libc_calloc(size_t, size_t);
extern void* __libc_realloc(void*, size_t);
extern void* __libc_memalign(size_t, size_t);
static _Thread_local long allocations;

void* malloc(size_t size) {
  allocations++;
  return __libc_malloc(size);
}

void* calloc(size_t count, size_t size) {
  allocations++;
  return __libc_calloc(count, size);
}

void* realloc(void* old, size_t size) {
  allocations++;
  return __libc_realloc(old, size);
}

int posix_memalign(void** memory, size_t alignment, size_t size) {
  allocations++;
  *memory = __libc_memalign(alignment, size);
  return *memory ? 0 : 12;
}

void* aligned_alloc(size_t alignment, size_t size) {
  allocations++;
  return __libc_memalign(alignment, size);
}

/* A connection between two comms of this process. The handle is unaligned and filled with a pattern. */
struct pair {
  void *listener, *send, *receive;
  unsigned char buffer[1 + NCCL_NET_HANDLE_MAXSIZE + 8];
};

static void open_pair(table* net, void* context, struct pair* pair) {
  memset(pair->buffer, 0xab, sizeof(pair->buffer));
  unsigned char* handle = pair->buffer + 1;
  pair->listener = pair->send = pair->receive = (void*)0x5a;
  OK(net_listen(net, context, 0, handle, &pair->listener));
  CHECK(pair->listener != NULL);
  CHECK(memcmp(handle + 96, "SRv6", 4) == 0);
  CHECK(pair->buffer[0] == 0xab);
  for (int i = 0; i < 8; i++) CHECK(pair->buffer[1 + NCCL_NET_HANDLE_MAXSIZE + i] == 0xab);
  pair->send = pair->receive = NULL;
  for (long polls = 0; !pair->send || !pair->receive; polls++) {
    CHECK(polls < 10000000);
    if (!pair->send) OK(net_connect(net, context, 0, handle, &pair->send));
    if (!pair->receive) OK(net_accept(net, pair->listener, &pair->receive));
  }
  OK(net->closeListen(pair->listener));
}

/* Posts as NCCL does: a call that gives no request is made again. */
static void* post_send(table* net, void* comm, void* data, size_t size, int tag) {
  void* request = NULL;
  for (long polls = 0; !request; polls++) {
    CHECK(polls < 10000000);
    OK(net_isend(net, comm, data, size, tag, &request));
    if (!request) sched_yield();
  }
  return request;
}

/* `hint` is what NCCL 2.24 and later may leave in the place of the request. */
static void* post_receive(table* net, void* comm, void* data, size_t size, int tag, void* hint) {
  void* request = NULL;
  for (long polls = 0; !request; polls++) {
    CHECK(polls < 10000000);
    request = hint;
    OK(net_irecv(net, comm, data, size, tag, &request));
    if (!request) sched_yield();
  }
  CHECK(request != hint);
  return request;
}

/* Eight messages in flight each way round, of every kind of size. */
static void exchange(table* net, struct pair* pair, unsigned seed) {
  enum { COUNT = 8 };
  static const size_t sizes[COUNT] = {0, 1, 8, 4096, 65536, 100003, 0, 1 << 20};
  unsigned char *out[COUNT], *in[COUNT];
  void *sends[COUNT], *receives[COUNT];
  for (int i = 0; i < COUNT; i++) {
    out[i] = malloc(sizes[i] + 1);
    in[i] = malloc(sizes[i] + 100);
    memset(in[i], 0xee, sizes[i] + 100);
    for (size_t k = 0; k < sizes[i]; k++) out[i][k] = (unsigned char)(k * 7 + seed + (unsigned)i);
    receives[i] = post_receive(net, pair->receive, in[i], sizes[i] + 50, i, i % 2 ? (void*)0x1 : NULL);
    sends[i] = post_send(net, pair->send, out[i], sizes[i], i);
  }
  /* One thread moves both ends, so neither may be waited for alone. */
  int sent = 0, received = 0;
  for (long polls = 0; sent < COUNT || received < COUNT; polls++) {
    CHECK(polls < 100000000);
    int done = 0, size = -1;
    if (sent < COUNT) {
      OK(net->test(sends[sent], &done, polls % 2 ? &size : NULL));
      sent += done;
    }
    done = 0;
    if (received < COUNT) {
      OK(net->test(receives[received], &done, &size));
      if (done) {
        CHECK((size_t)size == sizes[received]);
        received++;
      }
    }
  }
  for (int i = 0; i < COUNT; i++) {
    CHECK(memcmp(in[i], out[i], sizes[i]) == 0);
    CHECK(in[i][sizes[i]] == 0xee);
    free(in[i]);
    free(out[i]);
  }
}

static void close_pair(table* net, struct pair* pair) {
  OK(net->closeSend(pair->send));
  OK(net->closeRecv(pair->receive));
}

static void whole_connection(table* net, void* context, unsigned seed) {
  struct pair pair;
  open_pair(net, context, &pair);
  exchange(net, &pair, seed);
  exchange(net, &pair, seed + 1);
  close_pair(net, &pair);
}

static table* load(const char* path, void** library) {
  *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!*library) fprintf(stderr, "%s\n", dlerror());
  CHECK(*library != NULL);
  table* net = dlsym(*library, SYMBOL);
  CHECK(net != NULL);
  CHECK(strcmp(net->name, "SRv6") == 0);
  return net;
}

static void data(table* net) {
  void* context;
  OK(net_init(net, &context, logger));
  CHECK((context != NULL) == (V >= 11));
  int devices = 0;
  OK(net->devices(&devices));
  CHECK(devices == 1);
  TYPE(ncclNetProperties) props;
  memset(&props, 0xff, sizeof(props));
  OK(net->getProperties(0, &props));
  CHECK(strcmp(props.name, "lo") == 0);
  CHECK(props.ptrSupport == NCCL_PTR_HOST);
  CHECK(props.maxRecvs == 1);
  CHECK(props.speed > 0);
  CHECK(net->getProperties(1, &props) == ncclInvalidArgument);
  CHECK(props.name == NULL);
#if V >= 7
  CHECK(props.netDeviceType == NCCL_NET_DEVICE_HOST);
  CHECK(net->getDeviceMr == NULL && net->irecvConsumed == NULL);
#endif
#if V >= 9
  CHECK(net->makeVDevice == NULL);
#endif
#if V >= 11
  CHECK(net->setNetAttr == NULL && net->finalize != NULL);
#endif
  CHECK(net->regMrDmaBuf == NULL);
  whole_connection(net, context, 1);

  void* mhandle = NULL;
  struct pair pair;
  open_pair(net, context, &pair);
  OK(net->regMr(pair.send, &pair, sizeof(pair), NCCL_PTR_HOST, &mhandle));
  OK(net->deregMr(pair.send, mhandle));
  CHECK(net->regMr(pair.send, &pair, sizeof(pair), NCCL_PTR_CUDA, &mhandle) != ncclSuccess);
  /* A receive that is too small, and a peer that goes away, are errors and not crashes. */
  char big[64] = {0}, small[8];
  void* receive = post_receive(net, pair.receive, small, sizeof(small), 0, NULL);
  post_send(net, pair.send, big, sizeof(big), 0);
  int done = 0, size = 0;
  ncclResult_t result = ncclSuccess;
  for (long polls = 0; result == ncclSuccess && polls < 10000000; polls++) result = net->test(receive, &done, &size);
  CHECK(result == ncclInvalidUsage && !done);
  close_pair(net, &pair);

  /* A second communicator outlives the first. */
  void* second;
  OK(net_init(net, &second, logger));
  OK(net_finalize(net, context));
  whole_connection(net, second, 3);
  OK(net_finalize(net, NULL));
  OK(net_finalize(net, second));
  OK(net_finalize(net, second)); /* one too many: some NCCLs do it after a failed init */
#if V >= 11
  void* listener = (void*)0x5a;
  unsigned char handle[NCCL_NET_HANDLE_MAXSIZE];
  CHECK(net->listen(second, 0, handle, &listener) == ncclInvalidArgument && listener == NULL);
#endif
  CHECK(strstr(log_text, "wraps multipath") != NULL);
}

static void reload(const char* path) {
  void* library;
  table* net = load(path, &library);
  for (unsigned round = 0; round < 3; round++) {
    void* context;
    OK(net_init(net, &context, logger));
    whole_connection(net, context, round);
    OK(net_finalize(net, context));
    CHECK(dlclose(library) == 0);
    table* again = load(path, &library);
    CHECK(again == net); /* linked nodelete */
  }
}

static table* shared;

/* Ends a child that hangs, too: it has no alarm of its parent's. */
static pid_t fork_child(void) {
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) alarm(60);
  return child;
}

static void reap(pid_t child) {
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void after_fork(table* net) {
  void* context;
  OK(net_init(net, &context, logger));
  struct pair pair, left;
  open_pair(net, context, &pair);
  open_pair(net, context, &left);
  exchange(net, &left, 4);
  pid_t child = fork_child();
  if (child == 0) {
    struct pair inherited = pair;
    OK(net_init(net, &context, logger));
    whole_connection(net, context, 5);
    /* What the parent has is of no use here, and closing it is not felt there. */
    close_pair(net, &inherited);
    OK(net_finalize(net, context));
    _exit(0);
  }
  reap(child);
  /* The second child lives on without a word, as data loaders do. */
  int end[2];
  CHECK(pipe(end) == 0);
  child = fork_child();
  if (child == 0) {
    char byte;
    close(end[1]);
    _exit(read(end[0], &byte, 1) != 0);
  }
  close(end[0]);
  exchange(net, &pair, 6);
  close_pair(net, &pair);
  /* It has no copy of the parent's sockets, so that the end of a connection is one. */
  char byte;
  void* receive = post_receive(net, left.receive, &byte, 1, 0, NULL);
  OK(net->closeSend(left.send));
  int done = 0, size = 0;
  ncclResult_t result = ncclSuccess;
  while (result == ncclSuccess && !done) result = net->test(receive, &done, &size);
  CHECK(!done && result == ncclRemoteError);
  OK(net->closeRecv(left.receive));
  close(end[1]);
  reap(child);
  OK(net_finalize(net, context));
}

static volatile int over;

static void* churn(void* context) {
  for (unsigned round = 0; !over; round++) whole_connection(shared, context, round);
  return NULL;
}

/* Forks at moments when other threads open, use and close connections. */
static void forks(table* net) {
  shared = net;
  void* context;
  OK(net_init(net, &context, logger));
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, churn, context) == 0);
  for (unsigned children = 0; children < 6; children++) {
    pid_t child = fork_child();
    if (child == 0) {
      OK(net_init(net, &context, logger));
      whole_connection(net, context, children);
      OK(net_finalize(net, context));
      _exit(0);
    }
    reap(child);
  }
  over = 1;
  for (int i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
  OK(net_finalize(net, context));
}

static void* one_rank(void* seed) {
  void* context;
  OK(net_init(shared, &context, logger));
  for (unsigned round = 0; round < 5; round++) whole_connection(shared, context, (unsigned)(uintptr_t)seed + round);
  OK(net_finalize(shared, context));
  return NULL;
}

static void threads(table* net) {
  shared = net;
  pthread_t ranks[4];
  for (uintptr_t i = 0; i < 4; i++) CHECK(pthread_create(&ranks[i], NULL, one_rank, (void*)(i * 100)) == 0);
  for (int i = 0; i < 4; i++) CHECK(pthread_join(ranks[i], NULL) == 0);
}

/* No call on the data path allocates: isend, irecv, test. */
static void quiet(table* net) {
  void* context;
  long before = allocations;
  OK(net_init(net, &context, logger));
  CHECK(allocations > before); /* the counter counts what the plugin does */
  struct pair pair;
  open_pair(net, context, &pair);
  static unsigned char out[1 << 20], in[1 << 20];
  /* On a machine that is busy enough a path is suspected without a reason, which is logged: then once more. */
  for (int round = 0, told = 1; told; round++) {
    CHECK(round < 50);
    size_t logged = strlen(log_text);
    before = allocations;
    for (int message = 0; message < 200; message++) {
      size_t size = message % 3 ? sizeof(out) : 8;
      void* receive = post_receive(net, pair.receive, in, size, 0, NULL);
      void* send = post_send(net, pair.send, out, size, 0);
      int sent = 0, received = 0, length = 0;
      while (!sent || !received) {
        if (!sent) OK(net->test(send, &sent, NULL));
        if (!received) OK(net->test(receive, &received, &length));
      }
      CHECK((size_t)length == size);
    }
    told = strlen(log_text) != logged;
    CHECK(told || allocations == before);
  }
  close_pair(net, &pair);
  OK(net_finalize(net, context));
}

static int descriptors(void) {
  int count = 0;
  DIR* folder = opendir("/proc/self/fd");
  CHECK(folder != NULL);
  while (readdir(folder)) count++;
  closedir(folder);
  return count;
}

/* Tests the requests from `at` on in turn until one fails; says how many are done. */
static int until_error(table* net, void** requests, int at, int count, ncclResult_t* result) {
  *result = ncclSuccess;
  for (long polls = 0; at < count; polls++) {
    CHECK(polls < 100000000);
    int done = 0, size = 0;
    *result = net->test(requests[at], &done, &size);
    if (*result != ncclSuccess) break;
    at += done;
  }
  return at;
}

/* What NCCL does on abort: comms are closed in the middle of everything, in either order, with no call or many between
 * the two. The memory is the caller's again from then on, and nothing stays open. */
static void abort_in_the_middle(table* net) {
  enum { SENDS = 16, RECEIVES = 18, SIZE = 8 << 20 }; /* four sockets may hold 80 MiB */
  unsigned char *out = calloc(SENDS, SIZE), *in = malloc(RECEIVES * (size_t)SIZE);
  CHECK(out && in);
  void* context;
  OK(net_init(net, &context, logger));
  whole_connection(net, context, 7);
  int before = descriptors();
  for (int order = 0; order < 8; order++) {
    int receiver_first = order & 1, at_once = order & 2, under_way = order & 4;
    struct pair pair;
    open_pair(net, context, &pair);
    void *sends[SENDS], *receives[RECEIVES];
    memset(in, 0xa5, RECEIVES * (size_t)SIZE);
    for (int i = 0; i < RECEIVES; i++) receives[i] = post_receive(net, pair.receive, in + i * (size_t)SIZE, SIZE, 0, NULL);
    for (int i = 0; i < SENDS; i++) sends[i] = post_send(net, pair.send, out + i * (size_t)SIZE, SIZE, 0);
    int sent = 0, come = 0;
    for (int polls = 0, size; under_way && polls < 300 && !sent && !come; polls++) {
      OK(net->test(sends[0], &sent, &size));
      OK(net->test(receives[0], &come, &size));
    }
    ncclResult_t result;
    if (receiver_first) {
      OK(net->closeRecv(pair.receive));
      memset(in, 0x5a, RECEIVES * (size_t)SIZE);
      if (!at_once) {
        /* More than sockets hold, so it is noticed. */
        CHECK(until_error(net, sends, sent, SENDS, &result) < SENDS);
        CHECK(result == ncclRemoteError || result == ncclSystemError);
      }
      OK(net->closeSend(pair.send));
      for (size_t i = 0; i < RECEIVES * (size_t)SIZE; i++) CHECK(in[i] == 0x5a);
    } else {
      OK(net->closeSend(pair.send));
      memset(out, 0x5a, SENDS * (size_t)SIZE);
      if (!at_once) {
        come = until_error(net, receives, come, RECEIVES, &result);
        CHECK(come <= SENDS && result == ncclRemoteError);
        /* What was done before is whole. */
        for (size_t i = 0; i < come * (size_t)SIZE; i++) CHECK(in[i] == 0);
      }
      OK(net->closeRecv(pair.receive));
      memset(out, 0, SENDS * (size_t)SIZE);
    }
  }
  /* A connection that nobody has accepted. */
  unsigned char handle[NCCL_NET_HANDLE_MAXSIZE] = {0};
  void *listener, *send = NULL;
  OK(net_listen(net, context, 0, handle, &listener));
  for (long polls = 0; !send; polls++) {
    CHECK(polls < 10000000);
    OK(net_connect(net, context, 0, handle, &send));
  }
  OK(net->closeListen(listener));
  OK(net->closeSend(send));
  whole_connection(net, context, 8);
  OK(net_finalize(net, context));
  /* Sockets are closed in the background once what they hold has arrived. */
  int after = 0;
  for (int wait = 0; wait < 500; wait++) {
    after = descriptors();
    if (after <= before) break;
    usleep(10000);
  }
  CHECK(after <= before);
  free(out);
  free(in);
}

/* Arguments that NCCL doesn't pass, and calls out of order. */
static void arguments(table* net) {
  int devices = 5;
  CHECK(net->devices(&devices) == ncclInternalError && devices == 0);
  void* context;
  CHECK(net_init(net, &context, NULL) == ncclInternalError && context == NULL);
  OK(net_init(net, &context, logger));
  CHECK(net->devices(NULL) == ncclInvalidArgument);
  CHECK(net->getProperties(0, NULL) == ncclInvalidArgument);
  void* comm = (void*)0x5a;
  CHECK(net_listen(net, context, 0, NULL, &comm) == ncclInvalidArgument && comm == NULL);
  unsigned char handle[NCCL_NET_HANDLE_MAXSIZE] = {0};
  CHECK(net_listen(net, context, 0, handle, NULL) == ncclInvalidArgument);
  comm = (void*)0x5a;
  CHECK(net_listen(net, context, 7, handle, &comm) == ncclInvalidArgument && comm == NULL);
  comm = (void*)0x5a;
  CHECK(net_connect(net, context, 0, NULL, &comm) == ncclInvalidArgument && comm == NULL);
  comm = (void*)0x5a;
  memset(handle, 0, sizeof(handle));
  CHECK(net_connect(net, context, 0, handle, &comm) == ncclInvalidUsage && comm == NULL);
  CHECK(net_accept(net, NULL, &comm) == ncclInvalidArgument);
  int done = 3;
  CHECK(net->test(NULL, &done, NULL) == ncclInvalidArgument && done == 0);
  void* request = (void*)0x1;
  char byte = 0;
  CHECK(net_irecv(net, NULL, &byte, 1, 0, &request) == ncclInvalidArgument && request == NULL);
  OK(net->closeSend(NULL));
  OK(net->closeRecv(NULL));
  OK(net->closeListen(NULL));
  OK(net_finalize(net, context));
}

int main(int count, char** argument) {
  CHECK(count == 3);
  const char* scenario = argument[2];
  alarm(60);
  if (strcmp(scenario, "reload") == 0) {
    reload(argument[1]);
    return 0;
  }
  void* library;
  table* net = load(argument[1], &library);
  if (strcmp(scenario, "data") == 0) data(net);
  else if (strcmp(scenario, "fork") == 0) after_fork(net);
  else if (strcmp(scenario, "forks") == 0) forks(net);
  else if (strcmp(scenario, "threads") == 0) threads(net);
  else if (strcmp(scenario, "quiet") == 0) quiet(net);
  else if (strcmp(scenario, "abort") == 0) abort_in_the_middle(net);
  else if (strcmp(scenario, "arguments") == 0) arguments(net);
  else CHECK(!"a scenario of this name");
  return 0;
}

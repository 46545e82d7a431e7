/* The data path of strict.c: credits, sends, receives, test. */
#ifndef STRICT_DATA_H
#define STRICT_DATA_H

#include "strict.h"

static void check_memory(struct comm* comm, struct mr* mr, char* data, size_t size) {
  WANT(mr && mr->live && mr->comm == comm, "memory handle of another comm, or a dead one");
  WANT(data >= mr->data && data + size <= mr->data + mr->size, "data outside of the registered memory");
}

/* 0: nothing now; -1: the peer is gone. */
static long transfer(struct comm* comm, int out, void* data, size_t size) {
  long moved = out ? send(comm->fd, data, size, MSG_NOSIGNAL) : recv(comm->fd, data, size, 0);
  if (moved < 0 && errno == EAGAIN) return 0;
  if (moved <= 0) { comm->failed = 1; return -1; }
  return moved;
}

static void move_credits(struct comm* comm) {
  for (;;) {
    unsigned index = comm->send ? comm->group_in : comm->group_out;
    struct group* group = &comm->groups[index % GROUPS];
    long moved;
    if (!comm->send && index == comm->group_in) return;
    if (comm->send && comm->credit_bytes == 0) memset(group, 0, sizeof *group);
    moved = transfer(comm, !comm->send, (char*)group + comm->credit_bytes, sizeof *group - comm->credit_bytes);
    if (moved <= 0) return;
    comm->credit_bytes += (size_t)moved;
    if (comm->credit_bytes < sizeof *group) return;
    comm->credit_bytes = 0;
    if (comm->send) comm->group_in++; else comm->group_out++;
  }
}

static void move_sends(struct comm* comm) {
  while (comm->ended < comm->begun) {
    struct request* request = &comm->requests[comm->ended % REQUESTS];
    struct header header = {request->tag, 0, request->size[0]};
    while (request->moved < sizeof header + request->size[0]) {
      int in_header = request->moved < sizeof header;
      void* data = in_header ? (char*)&header + request->moved : request->data[0] + (request->moved - sizeof header);
      size_t size = in_header ? sizeof header - request->moved : sizeof header + request->size[0] - request->moved;
      long moved = transfer(comm, 1, data, size);
      if (moved <= 0) return;
      request->moved += (size_t)moved;
    }
    request->done = 1;
    comm->ended++;
  }
}

static int take_header(struct comm* comm) {
  for (unsigned index = comm->ended; index < comm->begun; index++) {
    struct request* request = &comm->requests[index % REQUESTS];
    for (int at = 0; at < request->n; at++) {
      if (request->tags[at] != comm->header.tag || request->full[at]) continue;
      if (comm->header.size > request->size[at]) return 0;
      comm->filling = request;
      comm->filling_at = at;
      comm->payload_bytes = 0;
      return 1;
    }
  }
  return 0;
}

static void move_receives(struct comm* comm) {
  while (comm->ended < comm->begun && comm->ended < FREEZE) {
    struct request* request;
    long moved;
    if (!comm->filling) {
      moved = transfer(comm, 0, (char*)&comm->header + comm->header_bytes, sizeof comm->header - comm->header_bytes);
      if (moved <= 0) return;
      comm->header_bytes += (size_t)moved;
      if (comm->header_bytes < sizeof comm->header) return;
      comm->header_bytes = 0;
      if (!take_header(comm)) { comm->failed = 1; return; }
    }
    request = comm->filling;
    if (comm->payload_bytes < comm->header.size) {
      moved = transfer(comm, 0, request->data[comm->filling_at] + comm->payload_bytes,
                       comm->header.size - comm->payload_bytes);
      if (moved <= 0) return;
      comm->payload_bytes += (size_t)moved;
      if (comm->payload_bytes < comm->header.size) continue;
    }
    if (CORRUPT == 1 && comm->header.size >= 4) request->data[comm->filling_at][2] ^= 0x40;
    if (CORRUPT == 2 && comm->header.size >= 32) {
      char block[16], *data = request->data[comm->filling_at];
      memcpy(block, data, sizeof block);
      memcpy(data, data + sizeof block, sizeof block);
      memcpy(data + sizeof block, block, sizeof block);
    }
    request->got[comm->filling_at] = comm->header.size;
    request->full[comm->filling_at] = 1;
    comm->filling = NULL;
    for (;;) {
      int full = 1;
      request = &comm->requests[comm->ended % REQUESTS];
      for (int at = 0; at < request->n; at++) full &= request->full[at];
      if (comm->ended == comm->begun || !full) break;
      request->done = 1;
      comm->ended++;
    }
  }
}

static int outstanding(struct comm* comm, int tag, int* of_tag) {
  int all = 0;
  *of_tag = 0;
  for (int index = 0; index < REQUESTS; index++) {
    all += comm->requests[index].live;
    *of_tag += comm->requests[index].live && comm->requests[index].tag == tag;
  }
  return all;
}

/* Whether to say "not now", and that a retry brings the same arguments. */
static int refuse(struct comm* comm, const struct request* asked, int must) {
  if (comm->has_refused && comm->refused.tag == asked->tag) {
    WANT(comm->refused.n == asked->n && !memcmp(comm->refused.data, asked->data, sizeof asked->data) &&
             !memcmp(comm->refused.size, asked->size, sizeof asked->size),
         "a refused call came back with other arguments");
    if (!must) { comm->has_refused = 0; return 0; }
    return 1;
  }
  if (must || (++comm->calls % REFUSE_EVERY == 0 && !comm->has_refused)) {
    if (!comm->has_refused) { comm->refused = *asked; comm->has_refused = 1; }
    return 1;
  }
  return 0;
}

static struct request* begin(struct comm* comm, const struct request* asked) {
  struct request* request = &comm->requests[comm->begun % REQUESTS];
  WANT(!request->live, "more than %d requests", REQUESTS);
  *request = *asked;
  request->live = 1;
  request->comm = comm;
  comm->begun++;
  return request;
}

static ncclResult_t do_isend(void* send_comm, void* data, send_size size, int tag, void* mhandle, void** out) {
  struct comm* comm = send_comm;
  struct request asked = {.send = 1, .n = 1, .tag = tag, .data = {data}, .size = {(size_t)size}};
  struct group* group = NULL;
  int at = -1, of_tag;
  on_progress_thread(comm, "isend");
  WANT(comm->send, "isend on a receive comm");
  check_memory(comm, mhandle, data, (size_t)size);
  WANT(*out == NULL, "*request is not NULL");
  WANT(outstanding(comm, tag, &of_tag) < STEPS * MAX_RECVS && of_tag < STEPS, "more than %d sends outstanding", STEPS);
  move_credits(comm);
  if (comm->failed) return ncclRemoteError;
  if (comm->group_out < comm->group_in) {
    group = &comm->groups[comm->group_out % GROUPS];
    for (int index = 0; index < group->n && at < 0; index++)
      if (group->tags[index] == tag && !group->taken[index]) at = index;
  }
  if (refuse(comm, &asked, at < 0)) return ncclSuccess;
  *out = begin(comm, &asked);
  group->taken[at] = 1;
  for (at = 0; at < group->n && group->taken[at]; at++) {}
  if (at == group->n) comm->group_out++;
  move_sends(comm);
  return comm->failed ? ncclRemoteError : ncclSuccess;
}

static ncclResult_t do_irecv(void* recv_comm, int n, void** data, send_size* sizes, int* tags, void** mhandles,
                             void** out) {
  struct comm* comm = recv_comm;
  struct request asked = {.n = n, .tag = tags[0]};
  struct group group = {.n = n};
  int of_tag;
  on_progress_thread(comm, "irecv");
  WANT(!comm->send, "irecv on a send comm");
  WANT(n >= 1 && n <= MAX_RECVS, "irecv of %d, maxRecvs is %d", n, MAX_RECVS);
  WANT(*out == NULL || *out == (void*)1, "*request is neither NULL nor the hint");
  WANT(outstanding(comm, -1, &of_tag) < STEPS, "more than %d receives outstanding", STEPS);
  for (int at = 0; at < n; at++) {
    check_memory(comm, mhandles[at], data[at], (size_t)sizes[at]);
    asked.data[at] = data[at];
    asked.size[at] = (size_t)sizes[at];
    asked.tags[at] = group.tags[at] = tags[at];
    for (int other = 0; other < at; other++) WANT(tags[other] != tags[at], "tag %d twice in a group", tags[at]);
  }
  *out = NULL;
  if (comm->failed) return ncclRemoteError;
  if (refuse(comm, &asked, 0)) return ncclSuccess;
  *out = begin(comm, &asked);
  comm->groups[comm->group_in++ % GROUPS] = group;
  move_credits(comm);
  return ncclSuccess;
}

static ncclResult_t net_iflush(void* comm, int n, void** data, int* sizes, void** mhandles, void** out) {
  (void)comm; (void)n; (void)data; (void)sizes; (void)mhandles; (void)out;
  fail("iflush of host memory");
  return ncclInternalError;
}

static ncclResult_t net_test(void* raw, int* done, int* sizes) {
  struct request* request = raw;
  struct comm* comm = request->comm;
  WANT(comm && request->live, "test of a request that was done before");
  on_progress_thread(comm, "test");
  if (!request->send) WANT(sizes, "test of a receive without sizes");
  else if (V >= 8) WANT(sizes, "test of a send without a size, NCCL 2.20 and later give one");
  else WANT(!sizes, "test of a send with a size, NCCL before 2.20 gives none");
  move_credits(comm);
  if (comm->send) move_sends(comm); else move_receives(comm);
  *done = request->done;
  if (!*done) return comm->failed ? ncclRemoteError : ncclSuccess;
  for (int at = 0; sizes && at < request->n; at++) {
    WANT(sizes[at] == 0, "the array of sizes is not zeroed");
    sizes[at] = (int)(request->send ? request->size[at] : request->got[at]);
  }
  request->live = 0;
  return ncclSuccess;
}

#endif

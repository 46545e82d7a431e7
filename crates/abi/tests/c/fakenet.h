/* What the tests tell the fake net, and what it saw. The shared object exports one: `fake`. */
#ifndef FAKENET_H
#define FAKENET_H

#include <stdint.h>

struct fake {
  /* Set by the test. */
  int32_t devices;          /* what devices says */
  int32_t connect_pending;  /* so many connects say "not yet" first */
  int32_t accept_pending;   /* so many accepts say "not yet" first */
  int32_t init_result;      /* what init returns */
  int32_t connect_result;   /* what connect returns */
  int32_t listen_bytes;     /* how many bytes of the handle listen writes */
  uint8_t listener[28];     /* the socket address that listen writes first */
  uint32_t reserved;

  /* Seen. */
  int32_t inits, finalizes, listens, connects, accepts, close_sends, close_recvs, close_listens;
  int32_t dev, tag, type, count, fd, traffic_class, had_config, had_device;
  int64_t size, sizes[8], offset;
  uint64_t comm_id;
  void* context;
  void* comm;
  void* data;
  void* mhandle;
  void* phandle;
  void* request_in;
  void* logger;
  void* profiler;
  int32_t level, flags;
  char text[512];
};

#endif

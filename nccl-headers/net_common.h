/* What all versions of NCCL's net plugin interface share. Facts and sources: README.md. */
#ifndef NCCL_NET_COMMON_H
#define NCCL_NET_COMMON_H

#include <stddef.h>
#include <stdint.h>

/* What every call returns. NCCL's own check treats 0 and 7 as "no error". 8 exists since 2.30. */
typedef enum {
  ncclSuccess = 0,
  ncclUnhandledCudaError = 1,
  ncclSystemError = 2,
  ncclInternalError = 3,
  ncclInvalidArgument = 4,
  ncclInvalidUsage = 5,
  ncclRemoteError = 6,
  ncclInProgress = 7,
  ncclTimeout = 8
} ncclResult_t;

/* Severity of a log line. A WARN also becomes the text of ncclGetLastError. */
typedef enum {
  NCCL_LOG_NONE = 0,
  NCCL_LOG_VERSION = 1,
  NCCL_LOG_WARN = 2,
  NCCL_LOG_INFO = 3,
  NCCL_LOG_ABORT = 4,
  NCCL_LOG_TRACE = 5
} ncclDebugLogLevel;

/* The subsystem bits that every release knows and that concern a net plugin. */
#define NCCL_INIT 0x1
#define NCCL_NET 0x10
#define NCCL_ENV 0x80

/* NCCL's log function, handed to init. `where` is a file for WARN, a function for TRACE, unused for INFO. */
typedef void (*ncclDebugLogger_t)(ncclDebugLogLevel level, unsigned long flags, const char* where, int line,
                                  const char* fmt, ...);

/* Profiler hook, handed to init since v10. type: 0 start, 1 stop, 2 update, 3 update and stop. */
typedef ncclResult_t (*ncclProfilerCallback_t)(void** eHandle, int type, void* pHandle, int64_t pluginId,
                                               void* extData);

/* Bytes of the buffer that listen fills and connect reads, v5 and later. */
#define NCCL_NET_HANDLE_MAXSIZE 128

/* Memory kinds: regMr gets one of the first two; ptrSupport is a mask of all three. */
#define NCCL_PTR_HOST 0x1
#define NCCL_PTR_CUDA 0x2
#define NCCL_PTR_DMABUF 0x4

/* Requests that may be outstanding on one comm: 8 up to 2.18, 32 since 2.19. */
#define NCCL_NET_MAX_REQUESTS_V6 8
#define NCCL_NET_MAX_REQUESTS 32

/* Members of a virtual device: four in v9 to v11, eight in v12. */
#define NCCL_NET_MAX_DEVS_PER_NIC_V9 4
#define NCCL_NET_MAX_DEVS_PER_NIC_V12 8

#define NCCL_NET_TRAFFIC_CLASS_UNDEF (-1)
#define NCCL_NET_ID_UNDEF (-1)

#define NCCL_NET_DEVICE_INVALID_VERSION 0
#define NCCL_NET_DEVICE_UNPACK_VERSION 7

/* Who moves the data: the host's proxy thread, or a kernel that unpacks from the device's buffers. */
typedef enum {
  NCCL_NET_DEVICE_HOST = 0,
  NCCL_NET_DEVICE_UNPACK = 1
} ncclNetDeviceType;

/* Handle of a device-driven comm. The same bytes in every version since v7. */
typedef struct {
  ncclNetDeviceType netDeviceType;
  int netDeviceVersion;
  void* handle;
  size_t size;
  int needsProxyProgress;
} ncclNetDeviceHandle_v7_t;
typedef ncclNetDeviceHandle_v7_t ncclNetDeviceHandle_v8_t;
typedef ncclNetDeviceHandle_v7_t ncclNetDeviceHandle_v9_t;
typedef ncclNetDeviceHandle_v7_t ncclNetDeviceHandle_v10_t;
typedef ncclNetDeviceHandle_v7_t ncclNetDeviceHandle_v11_t;
typedef ncclNetDeviceHandle_v7_t ncclNetDeviceHandle_v12_t;

#endif

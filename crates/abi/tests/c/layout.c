/* The layout that NCCL relies on (LP64), asserted by the C compiler that reads nccl-headers/. */
#include <assert.h>
#include <stddef.h>

#include "net.h"

#define SIZE(type, bytes) static_assert(sizeof(type) == bytes, #type)
#define AT(type, field, bytes) static_assert(offsetof(type, field) == bytes, #type "." #field)

#define TABLE(type, bytes)                                                                              \
  SIZE(type, bytes); AT(type, name, 0); AT(type, init, 8); AT(type, devices, 16);                       \
  AT(type, getProperties, 24); AT(type, listen, 32); AT(type, connect, 40); AT(type, accept, 48);       \
  AT(type, regMr, 56); AT(type, regMrDmaBuf, 64); AT(type, deregMr, 72); AT(type, isend, 80);           \
  AT(type, irecv, 88); AT(type, iflush, 96); AT(type, test, 104); AT(type, closeSend, 112);             \
  AT(type, closeRecv, 120); AT(type, closeListen, 128)

TABLE(ncclNet_v6_t, 136);
TABLE(ncclNet_v7_t, 152);
TABLE(ncclNet_v8_t, 152);
TABLE(ncclNet_v9_t, 160);
TABLE(ncclNet_v10_t, 160);
TABLE(ncclNet_v11_t, 176);
TABLE(ncclNet_v12_t, 176);

#define SINCE_V7(type) AT(type, getDeviceMr, 136); AT(type, irecvConsumed, 144)
SINCE_V7(ncclNet_v7_t);
SINCE_V7(ncclNet_v8_t);
SINCE_V7(ncclNet_v9_t);
SINCE_V7(ncclNet_v10_t);
SINCE_V7(ncclNet_v11_t);
SINCE_V7(ncclNet_v12_t);
AT(ncclNet_v9_t, makeVDevice, 152);
AT(ncclNet_v10_t, makeVDevice, 152);
AT(ncclNet_v11_t, makeVDevice, 152);
AT(ncclNet_v12_t, makeVDevice, 152);
AT(ncclNet_v11_t, finalize, 160);
AT(ncclNet_v12_t, finalize, 160);
AT(ncclNet_v11_t, setNetAttr, 168);
AT(ncclNet_v12_t, setNetAttr, 168);

SIZE(ncclNetProperties_v6_t, 48);
SIZE(ncclNetProperties_v7_t, 56);
SIZE(ncclNetProperties_v8_t, 64);
SIZE(ncclNetProperties_v9_t, 104);
SIZE(ncclNetProperties_v10_t, 104);
SIZE(ncclNetProperties_v11_t, 112);
SIZE(ncclNetProperties_v12_t, 128);

/* The first fields never moved. */
#define PROPERTIES(type) AT(type, name, 0); AT(type, pciPath, 8); AT(type, guid, 16); AT(type, ptrSupport, 24)
PROPERTIES(ncclNetProperties_v6_t);
PROPERTIES(ncclNetProperties_v7_t);
PROPERTIES(ncclNetProperties_v8_t);
PROPERTIES(ncclNetProperties_v9_t);
PROPERTIES(ncclNetProperties_v11_t);
PROPERTIES(ncclNetProperties_v12_t);

/* From speed to maxRecvs five fields of four bytes follow each other. */
#define SPEED(type, bytes)                                                                    \
  AT(type, speed, bytes); AT(type, port, bytes + 4); AT(type, latency, bytes + 8);            \
  AT(type, maxComms, bytes + 12); AT(type, maxRecvs, bytes + 16)
SPEED(ncclNetProperties_v6_t, 28);
SPEED(ncclNetProperties_v7_t, 28);
SPEED(ncclNetProperties_v8_t, 32);
SPEED(ncclNetProperties_v9_t, 36);
SPEED(ncclNetProperties_v11_t, 36);
SPEED(ncclNetProperties_v12_t, 36);

#define DEVICE(type, bytes) AT(type, netDeviceType, bytes); AT(type, netDeviceVersion, bytes + 4)
DEVICE(ncclNetProperties_v7_t, 48);
DEVICE(ncclNetProperties_v8_t, 52);
DEVICE(ncclNetProperties_v9_t, 56);
DEVICE(ncclNetProperties_v11_t, 56);
DEVICE(ncclNetProperties_v12_t, 56);

AT(ncclNetProperties_v8_t, regIsGlobal, 28);
#define SINCE_V9(type, limits)                                                                      \
  AT(type, regIsGlobal, 28); AT(type, forceFlush, 32); AT(type, vProps, 64);                        \
  AT(type, maxP2pBytes, limits); AT(type, maxCollBytes, limits + 8)
SINCE_V9(ncclNetProperties_v9_t, 88);
SINCE_V9(ncclNetProperties_v11_t, 88);
SINCE_V9(ncclNetProperties_v12_t, 104);
AT(ncclNetProperties_v11_t, maxMultiRequestSize, 104);
AT(ncclNetProperties_v12_t, maxMultiRequestSize, 120);
AT(ncclNetProperties_v12_t, railId, 124);
AT(ncclNetProperties_v12_t, planeId, 126);

SIZE(ncclNetVDeviceProps_v9_t, 20);
SIZE(ncclNetVDeviceProps_v12_t, 36);
AT(ncclNetVDeviceProps_v12_t, devs, 4);
SIZE(ncclNetDeviceHandle_v12_t, 32);
AT(ncclNetDeviceHandle_v12_t, handle, 8);
AT(ncclNetDeviceHandle_v12_t, size, 16);
AT(ncclNetDeviceHandle_v12_t, needsProxyProgress, 24);
SIZE(ncclNetCommConfig_v12_t, 4);
SIZE(ncclNetCommAttr_v12_t, 16);
SIZE(ncclNetAttr_v12_t, 44);
AT(ncclNetAttr_v12_t, recvCommAttr, 16);
AT(ncclNetAttr_v12_t, op, 32);
AT(ncclNetAttr_v12_t, algo, 36);
AT(ncclNetAttr_v12_t, proto, 40);
SIZE(ncclResult_t, 4);

int main(void) { return 0; }

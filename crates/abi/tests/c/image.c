/* An image like a libnccl of release CODE whose own tables have layout V, with whatever else the test asks for:
 *
 * NO_SOCKET, NO_IB        that table is missing
 * DUPLICATE               a second table of the name Socket that fits
 * LOOKALIKES              what released NCCLs have around them: GIN and RMA tables, a name that is the tail of a
 *                         longer string, arrays of strings that begin with the name, an adapter's copy
 *                         with the name of a plugin that lives elsewhere
 * EXTRA_MEMBER            Socket has regMrDmaBuf
 * HIDDEN_VERSION          ncclGetVersion is not exported
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"

#define PASTE_(a, b, c) a##b##c
#define PASTE(a, b, c) PASTE_(a, b, c)
#define TABLE PASTE(ncclNet_v, V, _t)

#ifdef HIDDEN_VERSION
__attribute__((visibility("hidden")))
#endif
ncclResult_t ncclGetVersion(int* version) {
  *version = CODE;
  return ncclSuccess;
}

void ncclDebugLog(ncclDebugLogLevel level, unsigned long flags, const char* where, int line, const char* fmt, ...) {
  (void)level, (void)flags, (void)where, (void)line, (void)fmt;
}

#ifdef HIDDEN_VERSION
/* Keeps the hidden one linked, and gives the test an address in this image. */
ncclResult_t image_version(int* version) { return ncclGetVersion(version); }
#endif

static ncclResult_t member(void) { return ncclInternalError; }
#define F ((void*)member)

/* Members as words: their types don't matter to a scan. */
struct words {
  const char* name;
  void* members[21];
};
_Static_assert(sizeof(TABLE) <= sizeof(struct words), "no version has more than 21 members");

#define COMMON F, F, F, F, F, F, F
#define AFTER_DMABUF F, F, F, F, F, F, F, F
#if V == 6
#define SOCKET_TAIL
#define IB_TAIL
#elif V <= 8
#define SOCKET_TAIL , 0, 0
#define IB_TAIL , 0, 0
#elif V <= 10
#define SOCKET_TAIL , 0, 0, 0
#define IB_TAIL , 0, 0, F
#else
#define SOCKET_TAIL , 0, 0, 0, F, 0
#define IB_TAIL , 0, 0, F, F, F
#endif

#ifdef EXTRA_MEMBER
#define SOCKET_DMABUF F
#else
#define SOCKET_DMABUF 0
#endif

#ifndef NO_SOCKET
struct words image_socket = {"Socket", {COMMON, SOCKET_DMABUF, AFTER_DMABUF SOCKET_TAIL}};
#endif
#ifndef NO_IB
struct words image_ib = {"IB", {COMMON, F, AFTER_DMABUF IB_TAIL}};
#endif
#ifdef DUPLICATE
struct words image_socket_again = {"Socket", {COMMON, 0, AFTER_DMABUF SOCKET_TAIL}};
#endif

#ifdef LOOKALIKES
/* "IB" as the tail of a longer string, in writable data so that the linker can't merge it elsewhere. */
static char tail[] = "GIN_IB";
struct words image_gin = {"GIN_IB", {COMMON, F, F, F}};
struct words image_rma = {"RMA_SOCKET_PROXY", {COMMON, 0, AFTER_DMABUF}};
struct words image_tail_but_short = {tail + 4, {F, F, 0}};
const char* image_strings[] = {"IB", "mlx5", "bnxt", "irdma", "IB", "efa", "hns", "erdma", "ionic", "mana", "cxgb4",
                               "ocrdma", "qedr", "siw", "rxe", "vmw", "usnic", "IB"};
struct words image_other_case = {"SOCKET", {COMMON, 0, AFTER_DMABUF SOCKET_TAIL}};
struct words image_stub = {"Socket (stub)", {COMMON, 0, AFTER_DMABUF SOCKET_TAIL}};
/* The name points outside the image, as in an adapter for a plugin that calls itself Socket. */
struct words image_adapter = {0, {COMMON, 0, AFTER_DMABUF SOCKET_TAIL}};
__attribute__((constructor)) static void plugin_loaded(void) {
  char* name = malloc(7);
  memcpy(name, "Socket", 7);
  image_adapter.name = name;
}
#endif

/* All versions at once: what the bindings are generated from. */
#include "net_v6.h"
#include "net_v7.h"
#include "net_v8.h"
#include "net_v9.h"
#include "net_v12.h"

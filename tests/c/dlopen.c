/* Loads and unloads the plugin, looks at each table without calling anything, and looks for what must not be there. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static int look(void* library, int round) {
  for (int version = 0; version <= 20; version++) {
    char symbol[32];
    snprintf(symbol, sizeof(symbol), "ncclNetPlugin_v%d", version);
    const char** table = dlsym(library, symbol);
    if ((table != NULL) != (version >= 6 && version <= 12)) return printf("%s: %p\n", symbol, (void*)table);
    /* NCCL_NET selects by this name, before init. */
    if (table && strcmp(table[0], "SRv6") != 0) return printf("round %d: %s is called %s\n", round, symbol, table[0]);
    static const char* const others[] = {"ncclCollNetPlugin", "ncclTunerPlugin", "ncclProfiler", "ncclGinPlugin",
                                         "ncclRmaPlugin", "ncclEnvPlugin"};
    for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
      snprintf(symbol, sizeof(symbol), "%s_v%d", others[i], version);
      if (dlsym(library, symbol)) return printf("%s must not be there\n", symbol);
    }
  }
  return 0;
}

int main(int count, char** argument) {
  if (count != 2) return 2;
  for (int round = 0; round < 3; round++) {
    void* library = dlopen(argument[1], RTLD_NOW | RTLD_LOCAL);
    if (!library) return printf("%s\n", dlerror());
    if (look(library, round)) return 1;
    if (dlclose(library) != 0) return printf("%s\n", dlerror());
  }
  return 0;
}

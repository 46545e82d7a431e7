/* The C interface, of a library that is loaded by dlopen. Arguments: library, then destination, timeout and result of each call. */
#include "check.h"

int main(int count, char **arguments) {
  void *library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  int (*steer)(const char *, int) = (int (*)(const char *, int))dlsym(library, "srv6_shim_steer");
  const char *(*error)(void) = (const char *(*)(void))dlsym(library, "srv6_shim_error");
  CHECK(steer && error);
  CHECK(strcmp(error(), "") == 0);
  CHECK(steer(NULL, 0) == -EINVAL);
  for (int i = 2; i + 2 < count; i += 3) {
    int result = steer(arguments[i], atoi(arguments[i + 1]));
    if (result != atoi(arguments[i + 2])) {
      fprintf(stderr, "%s: %d, want %s: %s\n", arguments[i], result, arguments[i + 2], error());
      return 1;
    }
    if (result) printf("%s\n", error());
  }
  fflush(stdout);
  /* The route stays while the process does. */
  printf("done\n");
  fflush(stdout);
  getchar();
  return 0;
}

/* What the C programs share: checks that say where, and connections. */
#ifndef CHECK_H
#define CHECK_H

#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHECK(condition)                                                                     \
  do {                                                                                       \
    if (!(condition)) {                                                                      \
      fprintf(stderr, "%s:%d: not so: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno); \
      exit(1);                                                                               \
    }                                                                                        \
  } while (0)

static inline struct sockaddr_in6 at(const char *address, int port) {
  struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
  CHECK(inet_pton(AF_INET6, address, &name.sin6_addr) == 1);
  return name;
}

static inline int dial(int socket, const char *address, int port) {
  struct sockaddr_in6 name = at(address, port);
  return connect(socket, (struct sockaddr *)&name, sizeof name);
}

/* The server of the lab gives back what it gets. */
static inline void ping(int socket) {
  char answer[4];
  CHECK(write(socket, "ping", 4) == 4);
  CHECK(recv(socket, answer, 4, MSG_WAITALL) == 4);
  CHECK(memcmp(answer, "ping", 4) == 0);
}

static inline int entries(const char *folder) {
  int count = 0;
  DIR *listing = opendir(folder);
  CHECK(listing);
  while (readdir(listing)) count++;
  closedir(listing);
  return count;
}

static inline int threads(void) { return entries("/proc/self/task") - 2; }

/* "." and "..", and the listing itself. */
static inline int descriptors(void) { return entries("/proc/self/fd") - 3; }

/* A path API that takes connections and never says a word. The settings name it. */
static inline void silent_api(void) {
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in name = {
      .sin_family = AF_INET, .sin_port = htons(5999), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  CHECK(bind(listener, (struct sockaddr *)&name, sizeof name) == 0);
  CHECK(listen(listener, 64) == 0);
}

#endif
